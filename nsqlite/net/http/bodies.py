"""Reading a request's body: never more than was allowed, and never more than a budget by all together."""

from __future__ import annotations

from typing import Final

from aiohttp import ClientError, ClientPayloadError, http_exceptions, web

from nsqlite.net.http.answers import HttpError

SMALL_BYTES: Final = 64 * 1024  # what one read brings; a body up to here is not counted
BUDGET_BYTES: Final = 64 * 1024 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Bodies:
    """Reads the bodies of all requests of one server.

    Attributes:
        budget_bytes: What the bodies that are being read may hold together; the one that would
            pass it is refused with 503. Small ones are not counted, connections bound them.
    """

    def __init__(self, max_body_size: int) -> None:
        self.budget_bytes = max(BUDGET_BYTES, 2 * max_body_size)
        self._held_bytes = 0

    async def read(self, request: web.BaseRequest, limit: int, code: str) -> bytes:
        """A whole body of at most `limit` bytes.

        Raises:
            HttpError: 413 with `code` for more; 500 if it does not come whole; 503 if too much is being read.
        """
        body = await self.read_up_to(request, limit, code)
        if len(body) > limit:
            raise HttpError(413, code)
        return body

    async def read_up_to(self, request: web.BaseRequest, limit: int, code: str) -> bytes:
        """As `read`, but of a body whose length is not told, `limit` bytes and some of the rest are returned."""
        length = request.content_length
        if length is not None and length > limit:
            raise HttpError(413, code)
        if "Expect" in request.headers:
            await _go_on(request)
        content = request.content
        try:
            body = await content.readany()
            if content.at_eof():
                return body
            return await self._rest(request, body, limit)
        except (ClientError, ClientPayloadError, http_exceptions.HttpProcessingError) as error:
            raise HttpError(500, "INTERNAL_ERROR") from error

    async def _rest(self, request: web.BaseRequest, first: bytes, limit: int) -> bytes:
        content = request.content
        body = bytearray(first)
        held = 0
        try:
            while len(body) <= limit and not content.at_eof():
                more = len(body) - held
                if self._held_bytes + more > self.budget_bytes:
                    raise HttpError(503, "TOO_MANY_BODIES")
                self._held_bytes += more
                held += more
                body += await content.readany()
            return bytes(body)
        finally:
            self._held_bytes -= held


async def _go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for leave to send its body that it may."""
    if request.headers["Expect"].lower() == "100-continue" and request.transport is not None:
        request.transport.write(_CONTINUE)
