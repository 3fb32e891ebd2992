"""Reading a request's body: no more than was allowed, in no more than a minute, and within a budget of all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, HttpVersion11, http_exceptions, web

from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.budget import Budget

BUDGET_BYTES: Final = 64 * 1024 * 1024
BODY_SECONDS: Final = 60.0  # of real time: it is about the socket
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# A connection that is lost makes aiohttp's stream raise RuntimeError.
_BROKEN: Final = (ClientError, web.RequestPayloadError, http_exceptions.HttpProcessingError, OSError, RuntimeError)


class Bodies:
    """Reads the bodies of all requests of one listener.

    A body that came with its head, and what is read ahead of one, is bounded by its connection. All
    others are in the budget, from their first byte until they are used up: who would pass it waits.

    Attributes:
        budget: Of 64 MiB, or two bodies.
    """

    def __init__(self, max_body_size: int, *, body_seconds: float = BODY_SECONDS) -> None:
        self.budget = Budget(max(BUDGET_BYTES, 2 * max_body_size))
        self._body_seconds = body_seconds

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
            HttpError: 413 with `code` for more than `limit`; 408 and 503 if a minute does not bring
                it, or a place in the budget; 417 for an Expect that is not met; 500 if it breaks off.
        """
        length = request.content_length
        if length is not None and length > limit:
            raise HttpError(413, code)
        body = self.arrived(request)
        if body is not None:
            yield body
            return
        size_bytes = limit if length is None else length
        try:
            async with asyncio.timeout(self._body_seconds):
                await self.budget.take(size_bytes)
        except TimeoutError as error:
            raise HttpError(503, "TOO_MANY_BODIES") from error
        try:
            yield await self._read(request, limit)
        finally:
            self.budget.give_back(size_bytes)

    async def _read(self, request: web.BaseRequest, limit: int) -> bytes:
        if "Expect" in request.headers:
            _go_on(request)
        content = request.content
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while len(body) <= limit and not content.at_eof():
                    body += await content.readany()
        except TimeoutError as error:
            raise HttpError(408, "TIMEOUT") from error
        except _BROKEN as error:
            raise HttpError(500, "INTERNAL_ERROR") from error
        return bytes(body)


def _go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for leave to send its body that it may."""
    if request.headers["Expect"].lower() != "100-continue":
        raise HttpError(417, "EXPECTATION_FAILED")
    if request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(_CONTINUE)
