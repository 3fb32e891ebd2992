"""Answers in nsqd's form: text as it is, JSON compact, errors as ``{"message":"CODE"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from nsqlite.errors import NsqliteError
from nsqlite.net.protocol import go_json

NSQ: Final = {"X-Nsq-Content-Type": "nsq; version=1.0", "Server": "nsqlite"}
TEXT: Final = NSQ | {"Content-Type": "text/plain; charset=utf-8"}
JSON: Final = NSQ | {"Content-Type": "application/json; charset=utf-8"}


class HttpError(NsqliteError):
    """A request that is refused.

    Attributes:
        status: Of HTTP.
        code: What the client reads: NSQ's word for it, such as ``INVALID_TOPIC``.
        headers: What the answer has besides.
    """

    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(f"{status} {code}")

    @property
    def body(self) -> bytes:
        """What the client reads."""
        return go_json.encode({"message": self.code})


def text(body: bytes) -> web.Response:
    """A body that is no JSON."""
    return web.Response(body=body, headers=TEXT)


def json(body: bytes) -> web.Response:
    """A body that is JSON already."""
    return web.Response(body=body, headers=JSON)


def empty() -> web.Response:
    """Done, and nothing to say."""
    return web.Response(headers=NSQ)


def refusal(error: HttpError) -> web.Response:
    """What a client reads of an error."""
    return web.Response(status=error.status, body=error.body, headers=JSON | error.headers)
