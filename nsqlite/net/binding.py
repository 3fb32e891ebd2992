"""A listening socket: host and port, or the path of a unix socket."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from nsqlite.errors import ListenError
from nsqlite.net.options import parse_address

if TYPE_CHECKING:
    import ssl

BACKLOG: Final = 1024
HANDSHAKE_SECONDS: Final = 10.0
Address = tuple[str, int] | str


def port_of(address: Address) -> int:
    """A bound port; 0 for what is not bound, -1 for a unix socket, as nsqd tells them."""
    if isinstance(address, str):
        return -1 if address else 0
    return address[1]


def shown(address: Address) -> str:
    """An address as a log line, or a peer, has it: an IPv6 host in brackets."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Binding:
    """What accepts connections at one address.

    Attributes:
        address: (host, real port), or the path of a unix socket; empty before it is bound.
    """

    def __init__(self) -> None:
        self.address: Address = ""
        self._server: Any = None
        self._socket_inode = 0

    @property
    def name(self) -> str:
        """The address as a log line shows it."""
        return shown(self.address)

    @property
    def is_open(self) -> bool:
        """Whether it accepts connections."""
        return self._server is not None

    async def start(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        address: str,
        tls: ssl.SSLContext | None = None,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        """Bind and accept.

        Args:
            make: Makes a connection's protocol.
            address: See `parse_address`.
            tls: What connections begin with, if they do.
            handshake_seconds: Of real time, in which TLS is agreed or the connection ends.

        Raises:
            ListenError: The address cannot be had.
        """
        secure: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": handshake_seconds} if tls else {}
        binding = asyncio.ensure_future(self._bind(make, address, secure))
        try:
            await asyncio.shield(binding)
        except asyncio.CancelledError:
            await binding  # it may listen by now, and asyncio would leave it so
            await self.close()
            raise
        except (OSError, UnicodeError) as error:
            raise ListenError(address, str(error)) from error

    async def _bind(self, make: Callable[[], asyncio.BaseProtocol], address: str, secure: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        where = parse_address(address)
        if isinstance(where, str):
            await self._bind_unix(make, where, secure)
            return
        host, port = where
        for is_last in (False, False, True):
            some_port = port or _free_port(host)
            try:
                self._server = await loop.create_server(
                    make, host or None, some_port, backlog=BACKLOG, reuse_address=True, **secure
                )
                break
            except OSError:
                if is_last or some_port == port:
                    raise  # else somebody was quicker to take the port
        self.address = self._server.sockets[0].getsockname()[:2]

    async def _bind_unix(self, make: Callable[[], asyncio.BaseProtocol], path: str, secure: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and await _is_answered(path):
                raise OSError("another process listens there")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(make, path, backlog=BACKLOG, **secure)
        self.address = path
        self._socket_inode = os.stat(path).st_ino

    async def close(self) -> None:
        """Accept nothing more. Connections go on.

        The readers go first: asyncio loses, open, a connection whose server closes before its
        own task runs.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        loop = asyncio.get_running_loop()
        for each in server.sockets:
            with suppress(NotImplementedError):  # where loops have no readers, nothing waits in between
                loop.remove_reader(each.fileno())
        await rounds()
        server.close()
        await rounds()
        if isinstance(self.address, str):
            with suppress(OSError):
                if os.stat(self.address).st_ino == self._socket_inode:  # nobody has taken its place
                    os.unlink(self.address)


def _free_port(host: str) -> int:
    """A port for a host that may be several addresses, each of which the system would give another; else 0."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return 0
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


async def rounds() -> None:
    """Let the loop go on with the connections that it opens or closes, which takes it up to four rounds."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _is_answered(path: str) -> bool:
    """Whether somebody listens on a unix socket; asyncio would take its place all the same."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True
