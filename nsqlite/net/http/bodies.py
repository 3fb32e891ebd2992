"""Reading a request's body: no more than was allowed, in no more than a minute, and within a budget of all together.

Bytes count as they arrive, but for the first 64 KiB of each body. When the budget is used up, bodies
wait and the one that began first gets on, and whoever has sent nothing for longest loses its place.

With 40 clients that send 5 MiB each but a byte and go, 15 times, a process of 47 MiB takes 172 MiB at
most, and 48 MiB two seconds later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, HttpVersion11, http_exceptions, web

from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.shares import PIECE_BYTES, Share, Shares
from nsqlite.storage.allocator import find_trim

BUDGET_BYTES: Final = 64 * 1024 * 1024
BODY_SECONDS: Final = 60.0  # of real time: it is about the socket
TRIM_BYTES: Final = 8 * 1024 * 1024  # of bodies that are gone, after which memory is given back
TRIM_SECONDS: Final = 1.0  # of real time, between that and the next
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# A connection that is lost makes aiohttp's stream raise RuntimeError.
_BROKEN: Final = (ClientError, web.RequestPayloadError, http_exceptions.HttpProcessingError, OSError, RuntimeError)


class Bodies:
    """Reads the bodies of all requests of one listener.

    A body that came with its head, and what is read ahead of one, is bounded by its connection. All
    others are in the budget, from their second 64 KiB until they are used up.

    Attributes:
        shares: Of 64 MiB, or two bodies.
    """

    def __init__(
        self,
        max_body_size: int,
        *,
        body_seconds: float = BODY_SECONDS,
        shares: Shares | None = None,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self.shares = shares or Shares(max(BUDGET_BYTES, 2 * max_body_size))
        self._body_seconds = body_seconds
        self._trim = trim or find_trim()
        self._gone_bytes = 0
        self._is_trim_due = False

    def arrived(self, request: web.BaseRequest) -> bytes | None:
        """The body, if it came with the head; None if it must be waited for. Hot (benchmarks/http)."""
        content = request.content
        return content.read_nowait() if content.is_eof() else None

    async def read(self, request: web.BaseRequest, limit: int, code: str) -> bytes:
        """A whole body of at most `limit` bytes.

        Raises:
            HttpError: As `reading`, and 413 with `code` for one whose length was not told.
        """
        async with self.reading(request, limit, code) as body:
            if len(body) > limit:
                raise HttpError(413, code)
            return body

    @asynccontextmanager
    async def reading(self, request: web.BaseRequest, limit: int, code: str) -> AsyncIterator[bytes]:
        """A body, in the budget until the block ends.

        Of one that is longer than `limit` and did not say so, it is `limit` bytes and some of the rest.

        Raises:
            HttpError: 413 with `code` for more than `limit`; 408 if a minute does not bring it; 503 if
                it finds no place in the budget meanwhile, or loses it; 417 for an Expect that is not
                met; 500 if it breaks off.
        """
        length = request.content_length
        if length is not None and length > limit:
            raise HttpError(413, code)
        body = self.arrived(request)
        if body is not None:
            yield body
            return
        if "Expect" in request.headers:
            _go_on(request)
        timeout = asyncio.timeout(self._body_seconds)
        share = self.shares.begin(lambda: timeout.reschedule(asyncio.get_running_loop().time()))
        try:
            yield await self._read(request, limit, share, timeout)
        finally:
            self._let_go(share)

    async def _read(self, request: web.BaseRequest, limit: int, share: Share, timeout: asyncio.Timeout) -> bytes:
        content = request.content
        body = bytearray()
        try:
            async with timeout:
                while len(body) <= limit and not content.at_eof():
                    body += await content.read(PIECE_BYTES)
                    await self.shares.hold(share, len(body))
            self.shares.settle(share)
            return bytes(body)
        except TimeoutError as error:
            raise self._late(share) from error
        except _BROKEN as error:
            # the stream keeps the error, and the error's traceback would keep the stream, and this body
            raise HttpError(500, "INTERNAL_ERROR") from error.with_traceback(None)
        finally:
            del body

    def _late(self, share: Share) -> HttpError:
        if share.is_waiting:
            self.shares.warn()
        return HttpError(503, "TOO_MANY_BODIES") if share.is_waiting or share.is_lost else HttpError(408, "TIMEOUT")

    def _let_go(self, share: Share) -> None:
        """Give a share back; and, after many large ones, the memory that they leave in pieces."""
        self._gone_bytes += share.held_bytes
        self.shares.end(share)
        if self._gone_bytes >= TRIM_BYTES and not self._is_trim_due:
            self._is_trim_due = True
            asyncio.get_running_loop().call_later(TRIM_SECONDS, self._give_memory_back)

    def _give_memory_back(self) -> None:
        self._is_trim_due = False
        self._gone_bytes = 0
        self._trim()


def _go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for leave to send its body that it may."""
    if request.headers["Expect"].lower() != "100-continue":
        raise HttpError(417, "EXPECTATION_FAILED")
    if request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(_CONTINUE)
