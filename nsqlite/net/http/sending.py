"""Sending long answers: all that clients have not taken yet is bounded."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.budget import Budget

SMALL_ANSWER_BYTES: Final = 64 * 1024  # not counted, connections bound them
MAX_SENDING_BYTES: Final = 64 * 1024 * 1024


class Sending:
    """The long answers of one server. Who does not take one is left by its Connection.

    Attributes:
        budget: For all of them; a single one may be longer.
    """

    def __init__(self, max_bytes: int = MAX_SENDING_BYTES) -> None:
        self.budget = Budget(max_bytes)

    async def send(self, request: web.BaseRequest, response: web.Response, size_bytes: int) -> None:
        """Send it and wait until it is gone, but for what a connection may hold.

        Raises:
            HttpError: 503; too much is being sent. Nothing of this one is.
            ConnectionError: The client is gone.
        """
        if not self.budget.try_take(size_bytes):
            raise HttpError(503, "TOO_MANY_ANSWERS")
        try:
            await response.prepare(request)
            await response.write_eof()
        finally:
            self.budget.give_back(size_bytes)
