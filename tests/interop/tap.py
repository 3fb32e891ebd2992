"""A wire-tap: it passes on every byte between clients and a server, and keeps a copy."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final

import attrs

_CHUNK_BYTES: Final = 65_536


@attrs.define
class Tap:
    """What went over the wire.

    Attributes:
        port: Where clients connect instead, on 127.0.0.1.
        connections: How many did.
        from_clients: All they sent, whichever connection it was.
        from_server: All they got.
    """

    port: int
    connections: int = 0
    from_clients: bytearray = attrs.Factory(bytearray)
    from_server: bytearray = attrs.Factory(bytearray)


@contextlib.contextmanager
def tapped(host: str, port: int) -> Iterator[Tap]:
    """Stand between clients and a server."""
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listening:
        tap = Tap(listening.getsockname()[1])
        accepting = threading.Thread(target=_accept, args=(listening, (host, port), tap, stack))
        accepting.start()
        try:
            yield tap
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(
    listening: socket.socket, server: tuple[str, int], tap: Tap, stack: contextlib.ExitStack[bool | None]
) -> None:
    """Take connections until the tap is taken off; leave on the stack what ends them."""
    with contextlib.suppress(OSError):
        while True:
            client = listening.accept()[0]
            there = socket.create_connection(server)
            tap.connections += 1
            directions = ((client, there, tap.from_clients), (there, client, tap.from_server))
            for each in (client, there):
                stack.enter_context(each)
            for source, target, copy in directions:
                thread = threading.Thread(target=_pass_on, args=(source, target, copy))
                thread.start()
                stack.callback(thread.join)
            for each in (client, there):
                stack.callback(_hang_up, each)


def _pass_on(source: socket.socket, target: socket.socket, copy: bytearray) -> None:
    """Pass on one direction to its end, and the end too."""
    with contextlib.suppress(OSError):
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while got := source.recv(_CHUNK_BYTES):
            copy += got
            target.sendall(got)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
