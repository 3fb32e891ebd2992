"""From a request to its endpoint, as httprouter does it for nsqd: exact paths, 405, redirects of near misses."""

from __future__ import annotations

import html
import logging
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote

import attrs
from aiohttp import HttpVersion10, HttpVersion11, web

from nsqlite.errors import ClosedError, NodeFailedError
from nsqlite.net.http.answers import NSQ, HttpError, refusal
from nsqlite.net.http.guard import Guard
from nsqlite.net.http.query import parse_query
from nsqlite.net.http.sending import SMALL_ANSWER_BYTES, Sending

VERSIONS: Final = (HttpVersion11, HttpVersion10)
LINGER_BYTES: Final = 256 * 1024
LINGERING_BYTES: Final = 256 * 1024  # of a body that nobody wants: more is not waited for, as in nsqd
log: Final = logging.getLogger("nsqlite")


@attrs.define
class Call:
    """One request on its way to its endpoint.

    Attributes:
        request: As aiohttp has it.
        path: The part of its target before the query, without escapes.
        query_text: The part behind it, as it came.
        suffix: What stands in the place of a route's "*".
    """

    request: web.BaseRequest
    path: str
    query_text: str
    suffix: str = ""

    def params(self) -> dict[str, str]:
        """The query's parameters.

        Raises:
            HttpError: 400 for a query that is none.
        """
        try:
            return parse_query(self.query_text)
        except ValueError as error:
            raise HttpError(400, "INVALID_REQUEST") from error


Endpoint = Callable[[Call], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Mapping[str, Endpoint]]


class Router:
    """All endpoints of one server: a path to its methods. A path may end in "/*", for one more segment."""

    def __init__(self, routes: Routes, guard: Guard, sending: Sending | None = None) -> None:
        self._routes = {path: dict(methods) for path, methods in routes.items() if not path.endswith("/*")}
        self._open_routes = {path[:-1]: dict(methods) for path, methods in routes.items() if path.endswith("/*")}
        self._guard = guard
        self._sending = sending or Sending()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever it is. Hot (benchmarks/http).

        Raises:
            ConnectionError: The client is gone.
        """
        response: web.StreamResponse
        try:
            path, _, query_text = request.raw_path.partition("?")
            methods = self._routes.get(path)
            if methods is None:
                path, query_text = _split(request)
                methods = self._routes.get(path)
            self._guard.admit(request, path)
            endpoint = None if methods is None else methods.get(request.method)
            if endpoint is not None:
                response = await endpoint(Call(request, path, query_text))
            else:
                response = await self._look_further(Call(request, path, query_text))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the client hears of it
            response = refusal(_refused(error, request))
        if not request.content.is_eof():
            _tell_end(request, response)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            size_bytes = len(response.body)
            if size_bytes > SMALL_ANSWER_BYTES:
                return await self._send(request, response, size_bytes)
        return response

    async def _send(self, request: web.BaseRequest, response: web.Response, size_bytes: int) -> web.Response:
        try:
            await self._sending.send(request, response, size_bytes)
        except HttpError as error:
            return refusal(error)
        return response

    async def _look_further(self, call: Call) -> web.StreamResponse:
        if call.path == "*" and call.request.method == "OPTIONS":
            return web.Response(headers={"Server": NSQ["Server"]})  # of the server as a whole; Go answers that itself
        head, _, call.suffix = call.path.rpartition("/")
        endpoint = self._open_routes.get(head + "/", {}).get(call.request.method) if call.suffix else None
        if endpoint is not None:
            return await endpoint(call)
        return self._unrouted(call)

    def _unrouted(self, call: Call) -> web.Response:
        method = call.request.method
        exact = self._near_miss(call.path, method) if call.path != "/" else None
        if exact is not None:
            return _redirect(call, exact)
        allowed = sorted({each for each in self._methods(call.path) if each != method} | {"OPTIONS"})
        if len(allowed) > 1:
            allow = {"Allow": ", ".join(allowed)}
            if method == "OPTIONS":
                return web.Response(headers=allow | {"Server": NSQ["Server"]})
            raise HttpError(405, "METHOD_NOT_ALLOWED", allow)
        raise HttpError(404, "NOT_FOUND")

    def _methods(self, path: str) -> set[str]:
        head, _, suffix = path.rpartition("/")
        return set(self._routes.get(path, {})) | set(self._open_routes.get(head + "/", {}) if suffix else ())

    def _near_miss(self, path: str, method: str) -> str | None:
        """The path that was meant, if it differs in slashes or case only."""
        clean = posixpath.normpath(path) if path else "/"
        clean = "/" + clean.lstrip("/")
        for known, methods in self._routes.items():
            if known != "/" and known.lower() == clean.lower() and method in methods:
                return known
        head, _, suffix = clean.rpartition("/")
        for known, methods in self._open_routes.items():
            if suffix and known.lower() == head.lower() + "/" and method in methods:
                return known + suffix
        return None


def _refused(error: Exception, request: web.BaseRequest) -> HttpError:
    """What a client hears of an error."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, ClosedError | NodeFailedError):
        return HttpError(503, "EXITING")
    told = "a request could not be answered: %s"
    log.error(told, request.method, exc_info=error, extra={"event": "http_failed"})
    return HttpError(500, "INTERNAL_ERROR")


def _tell_end(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Say that the connection ends, if what is left of the request's body is not waited for.

    Who was not told to send it may send the next request instead, and that may not be taken for a body.
    """
    length = request.content_length
    if length is None or length > LINGERING_BYTES or "Expect" in request.headers:
        response.force_close()


def _split(request: web.BaseRequest) -> tuple[str, str]:
    """Path and query of a target that has escapes, or a scheme and a host."""
    target, _, query_text = request.raw_path.partition("?")
    if not target.startswith("/") and "://" in target:
        target = "/" + target.partition("://")[2].partition("/")[2]
    return unquote(target), query_text


def _redirect(call: Call, exact: str) -> web.Response:
    location = quote(exact, safe="$&+,/:;=@") + ("?" + call.query_text if call.query_text else "")
    is_get = call.request.method == "GET"
    headers = {"Location": location, "Server": NSQ["Server"]}
    if not is_get:
        return web.Response(status=307, headers=headers)
    shown = html.escape(location).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")  # as Go spells them
    body = f'<a href="{shown}">Moved Permanently</a>.\n\n'.encode()
    return web.Response(status=301, body=body, headers=headers | {"Content-Type": "text/html; charset=utf-8"})
