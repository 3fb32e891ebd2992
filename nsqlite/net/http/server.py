"""One HTTP server in a running loop, on aiohttp's low level: no application, no middleware, one handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from nsqlite.net.binding import Binding, rounds
from nsqlite.net.connection_limit import ConnectionLimit
from nsqlite.net.http.connection import Connection, Patience

if TYPE_CHECKING:
    import ssl

CLOSE_SECONDS: Final = 2.0  # of real time, for requests that are being answered when the server closes
log: Final = logging.getLogger("nsqlite")
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """Connections of one address; see `connection` for what each may hold.

    TLS handshakes that are not complete are not counted, and have ten seconds.
    """

    def __init__(self, handler: Handler, *, max_connections: int = 0, patience: Patience | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = web.Server(handler, access_log=None)
        self._patience = patience or Patience()
        self._binding = Binding()
        self._connections: set[Connection] = set()
        self._limit = ConnectionLimit(max_connections, "max_http_connections", "HTTP connections")
        self._is_closing = False
        self._kind = "HTTP"
        self._is_empty = asyncio.Event()

    @property
    def address(self) -> tuple[str, int] | str:
        """(host, real port), or the path of a unix socket."""
        return self._binding.address

    @property
    def name(self) -> str:
        """The address as a log line shows it."""
        return self._binding.name

    @property
    def connection_count(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def start(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        """Bind and accept.

        Raises:
            ListenError: The address cannot be had.
        """
        await self._binding.start(self._make, address, tls, handshake_seconds=self._patience.handshake)
        self._kind = "HTTP" if tls is None else "HTTPS"
        log.info("%s: listening on %s", self._kind, self.name, extra={"event": "listening", "address": self.name})

    def _make(self) -> Connection:
        return Connection(self._server, self._loop, self._patience, self._admit, self._forget)

    def _admit(self, connection: Connection) -> bool:
        """Whether a new connection may stay."""
        if self._is_closing:
            return False  # it came at the last moment
        if not self._limit.has_room(len(self._connections)):
            return False
        self._connections.add(connection)
        return True

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._limit.left(len(self._connections))
        if not self._connections:
            self._is_empty.set()

    async def close(self) -> None:
        """Accept nothing more, and end all connections.

        Who is being answered has half of two seconds for that and to take the answer, who does
        not listen to the end of TLS the rest; then they are cut.
        """
        was_open = self._binding.is_open
        self._is_closing = True
        await self._binding.close()
        until = self._loop.time() + CLOSE_SECONDS
        self._server.pre_shutdown()  # those that wait for a request
        await self._server.shutdown(CLOSE_SECONDS / 4)  # to answer, and as long to notice that it is over
        if self._connections:
            self._is_empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._is_empty.wait()
        for each in list(self._connections):
            each.abort()
        await rounds()  # they are told so
        if was_open:
            log.info("%s: closing %s", self._kind, self.name, extra={"event": "closing", "address": self.name})
