"""Addresses of what runs beside a test: text that any client takes, on ports that stay one's own."""

from __future__ import annotations

import socket
import sys
from typing import Final

from nsqlite.net.binding import Address as Bound
from nsqlite.net.binding import shown
from nsqlite.net.options import parse_address

LOOPBACK: Final = "127.0.0.1"


class Address(str):
    """host:port as text; the path of a unix socket; "" where nothing is served.

    Example:
        >>> address = Address("127.0.0.1:4150")
        >>> address.host, address.port
        ('127.0.0.1', 4150)
    """

    __slots__ = ()

    @classmethod
    def of(cls, bound: Bound) -> Address:
        """An address as a server tells it."""
        return cls(shown(bound) if bound else "")

    @property
    def host(self) -> str:
        """What is in front of the port; "" if there is none."""
        return self._parts[0]

    @property
    def port(self) -> int:
        """The port; 0 if there is none."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, int]:
        parts = parse_address(self) if self else ""
        return ("", 0) if isinstance(parts, str) else parts


class Ports:
    """Free ports of this machine that nobody else is given while a server of the test is down.

    A client that tries to reach it meanwhile is refused, and not, as may happen with a free
    port, connected to somebody else, or to itself.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> Address:
        """One more, on loopback."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, 0))
        address = Address.of(held.getsockname())
        if sys.platform == "linux":
            self._held.append(held)  # never listens, so that a server may bind beside it
        else:
            held.close()
        return address

    def close(self) -> None:
        """Give all back. Twice is fine."""
        while self._held:
            self._held.pop().close()
