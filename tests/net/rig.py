"""A listener that is watched: real sockets, virtual time, its loop within reach, every complaint kept."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nsqlite
import nsqlite.net
from nsqlite.net.peer import Peer
from nsqlite.net.tcp_server import TcpServer
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS

MAGIC = b"  V2"
RESPONSE, ERROR, MESSAGE = range(3)
OK = (RESPONSE, b"OK")
HEARTBEAT = (RESPONSE, b"_heartbeat_")
ROUNDS = 6  # of a loop, in which it reads what is there, does what that sets off, and writes
LOOKS = 4000
_RST_AT_CLOSE = struct.pack("ii", 1, 0)


class Client:
    """A client without manners: it says only what it is told to say, and reads only when it is asked."""

    def __init__(self, address: tuple[str, int] | str, *, magic: bool = True) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(address)
        if family == socket.AF_INET:  # else the system keeps a command back until the one before it is acknowledged
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if magic:
            self.send(MAGIC)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def try_send(self, data: bytes) -> int:
        """Send as much as the system takes without waiting; how much that was."""
        sent = 0
        self.socket.setblocking(False)
        try:
            while sent < len(data):
                sent += self.socket.send(data[sent : sent + 65536])
        except OSError:
            pass
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)
        return sent

    def frame(self) -> tuple[int, bytes]:
        """The next frame."""
        size, kind = struct.unpack(">II", self._exactly(8))
        return kind, self._exactly(size - 4)

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send, and the next frame."""
        self.send(data)
        return self.frame()

    def message(self) -> tuple[bytes, bytes]:
        """The next frame's id and body; it is a message."""
        kind, data = self.frame()
        assert kind == MESSAGE, data
        return data[10:26], data[26:]

    def rest(self) -> bytes:
        """All that comes until the server hangs up, politely or not."""
        found = b""
        try:
            while data := self.socket.recv(1 << 16):
                found += data
        except ConnectionError:
            pass
        return found

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            data = self.socket.recv(size - len(found))
            assert data, f"the server hung up after {found!r}"
            found += data
        return found

    def half_close(self) -> None:
        """Send nothing more."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def reset(self) -> None:
        """Hang up in the middle of everything: the other side is told by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_AT_CLOSE)
        self.socket.close()


class Complaints(logging.Handler):
    """Everything that nsqlite and asyncio have logged, from INFO up."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.unexpected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        text = self.format(record)
        if record.name.startswith("nsqlite"):
            if getattr(record, "event", "") != "listening":
                self.lines.append(text)
        elif record.levelno >= logging.WARNING:
            self.unexpected.append(text)


class Rig:
    """One node with one listener.

    Attributes:
        lines: What nsqlite has logged, but that it listens.
    """

    def __init__(self, node: nsqlite.Node, clock: nsqlite.VirtualClock, listener: nsqlite.net.Listener) -> None:
        self.node = node
        self.clock = clock
        self.listener = listener
        self.lines: list[str] = []
        self.loop: asyncio.AbstractEventLoop = listener._loop
        self.server: TcpServer = node.engine.producers[-1].__self__  # type: ignore[attr-defined]
        self._clients: list[Client] = []

    def connect(self, *, magic: bool = True) -> Client:
        """A new client."""
        client = Client(self.listener.tcp_address, magic=magic)
        self._clients.append(client)
        return client

    def subscriber(self, topic: str = "t", channel: str = "c", rdy: int | None = None) -> Client:
        """A new client that has subscribed."""
        client = self.connect()
        assert client.ask(f"SUB {topic} {channel}\n".encode()) == OK
        if rdy is not None:
            client.send(b"RDY %d\n" % rdy)
        return client

    def peers(self) -> list[Peer]:
        """The server's side of all connections."""
        return list(self.server._peers)

    def only_peer(self) -> Peer:
        """The server's side, once there is one connection and no more."""
        self.until(lambda: len(self.peers()) == 1)
        return self.peers()[0]

    def settle(self) -> None:
        """Return when the loop has done all that it could do by now."""
        asyncio.run_coroutine_threadsafe(_rounds(), self.loop).result(PATIENCE_SECONDS)

    def until(self, has_come: Callable[[], bool]) -> None:
        """Return when something has come about that may need other threads or much work, or fail."""
        limit = time.monotonic() + PATIENCE_SECONDS  # for a disk that is busy with others; nobody waits for it
        while time.monotonic() < limit:
            self.settle()
            if has_come():
                return
        raise AssertionError("it never came about")

    def held_bytes(self) -> int:
        """What the only connection holds of what its client has sent, and of what it has not taken."""
        (peer,) = self.peers()
        return (
            peer.connection.buffered_bytes
            + peer.layers.buffered_bytes
            + int(peer.transport.get_write_buffer_size())
            + sum(map(len, peer.outgoing._pieces))
        )

    def advance(self, seconds: float) -> None:
        """Let time pass; all that was sent before has been handled, and what the time sets off is done."""
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    def is_served(self) -> None:
        """Fail unless somebody else can publish and consume at once."""
        other = self.subscriber("served", "c", rdy=1)
        other.send(b"PUB served\n\x00\x00\x00\x01x")
        frames = [other.frame(), other.frame()]  # the answer and the message, in either order
        assert OK in frames
        message = next(data for kind, data in frames if kind == MESSAGE)
        other.send(b"FIN " + message[10:26] + b"\n")
        other.close()
        self.settle()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the loop stand still, so that several things come to it at once."""
        is_standing, may_go = threading.Event(), threading.Event()

        def stand() -> None:
            is_standing.set()
            may_go.wait(PATIENCE_SECONDS)

        self.loop.call_soon_threadsafe(stand)
        assert is_standing.wait(PATIENCE_SECONDS), "the loop hangs"
        try:
            yield
        finally:
            may_go.set()

    def close(self) -> None:
        """Close the listener, in as much virtual time as it takes."""
        closing = Caller(self.listener.close)
        for _ in range(LOOKS):
            closing._thread.join(0.005)
            if not closing._thread.is_alive():
                break
            self.clock.advance(0.5)
        closing.outcome()

    def hang_up(self) -> None:
        """Let all clients hang up."""
        for client in self._clients:
            client.close()


async def _rounds() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


@contextmanager
def rigged(
    node: nsqlite.Node | None = None, clock: nsqlite.VirtualClock | None = None, **options: Any
) -> Iterator[Rig]:
    """Open a node in memory unless there is one, listen, and end the test sound and without a complaint."""
    address = options.pop("tcp_address", "127.0.0.1:0")
    clock = clock or nsqlite.VirtualClock()
    gc.freeze()  # so that the collection at the end looks only at what came after
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("nsqlite", "asyncio", "concurrent.futures")]
    for logger in loggers:
        logger.addHandler(complaints)
    loggers[0].setLevel(logging.INFO)
    made = node or nsqlite.open(clock=clock)
    try:
        rig = Rig(made, clock, nsqlite.net.listen(made, tcp_address=address, **options))
        rig.lines = complaints.lines
        try:
            yield rig
            if made.engine.state.value == "open":
                made.check()
        finally:
            rig.hang_up()
            rig.close()
        del rig
        if made.engine.state.value == "open":
            made.check()
            assert _consumers(made) == []
    finally:
        made.close()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            gc.collect()
        gc.unfreeze()
        for logger in loggers:
            logger.removeHandler(complaints)
        loggers[0].setLevel(logging.NOTSET)
    assert complaints.unexpected == [], complaints.unexpected
    assert [str(each.message) for each in warned] == []


def _consumers(node: nsqlite.Node) -> list[Any]:
    return [each for channel in node.engine.broker.channels() for each in channel.consumers]
