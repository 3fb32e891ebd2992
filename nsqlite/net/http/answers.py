"""Answers in nsqd's form: text as it is, JSON compact, errors as ``{"message":"CODE"}``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

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


class Ready(web.StreamResponse):
    """An answer that was put together before: OK, to a client that keeps its connection.

    A response of aiohttp's costs a fifth of what a small publish takes altogether (benchmarks/http).
    """

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__()
        self._request: web.BaseRequest | None = request
        self._is_last = False

    @property
    def keep_alive(self) -> bool:
        """See StreamResponse."""
        return not self._is_last

    def force_close(self) -> None:
        """See StreamResponse."""
        self._is_last = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See StreamResponse; head and body go out together."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it, once.

        Raises:
            ConnectionResetError: The client is gone.
        """
        request, self._request = self._request, None
        if request is None:
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        data = _ready(int(time.time()), self._is_last)
        if self._is_last:
            transport.write(data)
        else:
            connection: Any = request.protocol  # see nsqlite.net.http.connection
            connection.send_soon(data)
        await request.writer.drain()


@lru_cache(maxsize=2)
def _ready(now_seconds: int, is_last: bool) -> bytes:
    headers = TEXT | {"Content-Length": "2", "Date": formatdate(now_seconds, usegmt=True)}
    if is_last:
        headers["Connection"] = "close"
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", "OK"]).encode()


def ok(request: web.BaseRequest) -> web.StreamResponse:
    """The word OK. Hot (benchmarks/http)."""
    if request.version == HttpVersion11 and request.keep_alive:
        return Ready(request)
    return text(b"OK")
