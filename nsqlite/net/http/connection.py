"""One HTTP connection: aiohttp's, with bounds for what a client sends, and for what it does not take.

What it holds at most: the head of the request that is answered, and what was read behind it (a head
is 64 headers of 8 KiB each, and 64 KiB in all unless one read of up to 256 KiB brings more; Python
keeps it twice, in wide characters five times); 128 KiB of a body, whose rest `shares` counts, and
128 KiB and one read ahead of it; 64 KiB and one answer that its client has not taken. A head that is
not complete after 64 KiB ends the connection; so does one that is not after 75 seconds, counted from
the last answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import attrs
from aiohttp import StreamReader, web

from nsqlite.net.http.answers import NSQ

MAX_LINE_BYTES: Final = 8190
MAX_HEADERS: Final = 64
MAX_HEAD_BYTES: Final = 64 * 1024  # of a head that does not end
READ_AHEAD_BYTES: Final = 64 * 1024  # reading stops at twice as many
QUEUE_LENGTH: Final = 2  # requests that wait for the one before them; then nothing more is read
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nServer: nsqlite\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 35\r\n\r\n431 Request Header Fields Too Large"
)
_PLAIN: Final = {"Content-Type": "text/plain; charset=utf-8", "Server": NSQ["Server"]}
_CLIENTS_FAULTS: Final = (web.RequestPayloadError, ConnectionError)
log: Final = logging.getLogger("nsqlite")


@attrs.frozen(kw_only=True)
class Patience:
    """How long a connection waits for its client, in seconds of real time.

    Attributes:
        head: For the next request's head.
        lingering: For the rest of a body that nobody wants, so that the answer to it is read.
        sending: For the client to take an answer.
        handshake: For its part of TLS.
    """

    head: float = 75.0
    lingering: float = 2.0
    sending: float = 60.0
    handshake: float = 10.0


class Connection(web.RequestHandler):
    """See the module.

    aiohttp bounds a queue of requests by their number only, and waits for ever for a client that
    takes nothing; both are set right here.

    Attributes:
        is_lost: Whether it has ended.
    """

    __slots__ = ("_admit", "_alarm", "_body", "_forget", "_head_bytes", "_link", "_patience", "_seen_count", "is_lost")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        patience: Patience,
        admit: Callable[[Connection], bool],
        forget: Callable[[Connection], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is how one does without it
            logger=log,
            keepalive_timeout=patience.head,
            lingering_time=patience.lingering,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_AHEAD_BYTES,
            auto_decompress=False,  # a message is what was sent, whatever Content-Encoding says
        )
        self._max_msg_queue_size = QUEUE_LENGTH
        self._msg_queue_resume_size = QUEUE_LENGTH // 2
        self._patience = patience
        self._admit = admit
        self._forget = forget
        self._link: Any = None
        self._alarm: asyncio.TimerHandle | None = None
        self.is_lost = False
        self._seen_count = 0
        self._head_bytes = 0
        self._body: StreamReader | None = None  # of the last request whose head is complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stay, if it may."""
        self._link = transport
        if self._admit(self):
            super().connection_made(transport)
        else:
            self.transport = transport  # type: ignore[assignment]  # it is one to write to
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End whatever goes on."""
        self.is_lost = True
        self._disarm()
        self._forget(self)
        super().connection_lost(exc)
        self._body = None  # which knows its connection: together they would wait for the garbage collector

    def abort(self) -> None:
        """End it now, whatever was not sent."""
        if not self.is_lost and self._link is not None:
            self._link.abort()

    # -- what comes in --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what has come; a head that does not end is not taken for ever."""
        body, count = self._body, self._request_count
        # behind an upgrade that is not followed aiohttp keeps what comes, and counts on its own
        is_in_head = not self._upgraded and count == self._seen_count and (body is None or body.is_eof())
        super().data_received(data)
        if self._request_count != count:
            self._seen_count = self._request_count
            self._head_bytes = 0
            self._body = self._messages[-1][1] if self._messages else None
            if body is not None and not body.is_eof():  # its chunks are broken, and aiohttp tells nobody who waits
                body.set_exception(web.RequestPayloadError("broken chunks"))
        elif is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def _refuse_head(self) -> None:
        if self.transport is not None and not self._messages and not self._request_in_progress:
            self.transport.write(_HEAD_TOO_LARGE)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is answered to a request that is none: nothing of it comes back, or gets into the log.

        Raises:
            ConnectionError: An answer was begun; nothing can be told any more.
        """
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError
        if status != 400:
            self.log_exception("a request could not be answered", exc_info=exc)
        response = web.Response(status=status, headers=_PLAIN)
        response.body = f"{status} {response.reason}".encode()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what is no client's fault."""
        error = kw.get("exc_info")
        if not isinstance(error, _CLIENTS_FAULTS):
            log.error("an HTTP connection failed", exc_info=error, extra={"event": "http_failed"})

    # -- what goes out --------------------------------------------------------------------

    def send_soon(self, data: bytes) -> None:
        """Send a whole answer after all that this round of the loop carries out, unless more requests wait here.

        Sent at once, each answer of a round would wake its client alone: a small publish is a
        twentieth slower then (benchmarks/http). Nothing of this connection comes ahead of it: what it
        does next, it does in a later round.
        """
        if self._messages:
            self._send(data)
        else:
            self._loop.call_soon(self._send, data)

    def _send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        super().pause_writing()
        self._arm()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._disarm()

    async def start(self) -> None:
        """Answer one request after another; then the client has so long to take the last answer."""
        try:
            await super().start()
        finally:
            self._arm()

    def _arm(self) -> None:
        if self._alarm is None and not self.is_lost:
            self._alarm = self._loop.call_later(self._patience.sending, self.abort)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
