"""One HTTP server in a running loop, on aiohttp's low level: no application, no middleware, one handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from nsqlite.net.binding import Binding
from nsqlite.net.http.answers import NSQ

if TYPE_CHECKING:
    import ssl

CLOSE_SECONDS: Final = 2.0  # of real time, for requests that are being answered when the server closes
LINGER_SECONDS: Final = 2.0  # for a client that goes on sending a body which was refused
KEEPALIVE_SECONDS: Final = 75.0
HANDLING: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_SECONDS,
    "lingering_time": LINGER_SECONDS,
    "auto_decompress": False,  # a message is what was sent; and a few bytes would become any number
}
log: Final = logging.getLogger("nsqlite")
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """Connections of one address.

    A connection holds at most 16 KiB of a request's head and 128 KiB that were read ahead of a body.
    """

    def __init__(self, handler: Handler, *, max_connections: int = 0) -> None:
        self._server = web.Server(handler)
        self._binding = Binding()
        self._max_connections = max_connections
        self._is_full_told = False

    @property
    def address(self) -> tuple[str, int] | str:
        """(host, real port), or the path of a unix socket."""
        return self._binding.address

    @property
    def name(self) -> str:
        """The address as a log line shows it."""
        return self._binding.name

    async def start(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        """Bind and accept.

        Raises:
            ListenError: The address cannot be had.
        """
        await self._binding.start(self._make, address, tls)
        kind = "HTTP" if tls is None else "HTTPS"
        log.info("%s: listening on %s", kind, self.name, extra={"event": "listening", "address": self.name})

    def _make(self) -> asyncio.BaseProtocol:
        open_count = len(self._server.connections)
        if self._max_connections and open_count >= self._max_connections:
            if not self._is_full_told:
                self._is_full_told = True
                log.warning(
                    "refusing HTTP connections: max_http_connections=%d are open",
                    self._max_connections,
                    extra={"event": "full"},
                )
            return _Refused()
        if 2 * open_count <= self._max_connections:
            self._is_full_told = False
        return _Connection(self._server, loop=asyncio.get_running_loop(), **HANDLING)

    async def close(self) -> None:
        """Accept nothing more, and end all connections; who is being answered has two seconds."""
        await self._binding.close()
        await self._server.shutdown(CLOSE_SECONDS)


class _Connection(web.RequestHandler):
    """What is no request is answered as nsqd does, and not logged: anybody can send it, any number of times."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See RequestHandler; here with no word of the library's."""
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is sent")
        headers = {"Server": NSQ["Server"], "Connection": "close"}
        answer = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}", headers=headers)
        answer.force_close()
        return answer


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: Any) -> None:
        """Close it at once."""
        transport.close()
