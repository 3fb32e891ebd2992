"""nsqd's HTTP API, whose requests meet faults."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.router import Call, Endpoint, Routes
from nsqlite.net.http_api.servers import HttpServers
from nsqlite.testing.faults import DELAY, DROP, FAIL, Faults, Place
from nsqlite.testing.faulty_peer import sever

if TYPE_CHECKING:
    from nsqlite.net.nsqd import Nsqd


class FaultyHttpServers(HttpServers):
    """The servers of a listener, with a fault in front of each endpoint."""

    def __init__(self, nsqd: Nsqd, faults: Faults) -> None:
        super().__init__(nsqd)
        self._faults = faults

    def _routes(self) -> Routes:
        routes = super()._routes()
        self._faults.paths = tuple(routes)
        return {
            path: {method: partial(self._answer, path, endpoint) for method, endpoint in methods.items()}
            for path, methods in routes.items()
        }

    async def _answer(self, path: str, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        fault = self._faults.meet(Place(path, _topic(call))) if self._faults.concern(path) else None
        if fault is None:
            return await endpoint(call)
        if fault.kind == FAIL:
            raise HttpError(fault.status, fault.code)
        if fault.kind == DELAY:
            if not await self._faults.pause(fault.seconds):
                raise ConnectionResetError
            return await endpoint(call)
        if fault.is_carried_out:
            response = await endpoint(call)
            if fault.kind != DROP:
                _send_half(call, response)
                raise ConnectionResetError
        sever(call.request.transport)
        raise ConnectionResetError  # nobody is there to be answered


def _topic(call: Call) -> str:
    with suppress(HttpError):
        return call.params().get("topic", "")
    return ""


def _send_half(call: Call, response: web.StreamResponse) -> None:
    """Send the head and half of the body, as far as there is one, and hang up."""
    if not isinstance(response, web.Response):
        response = answers.text(b"OK")  # what it is that was put together before, for speed
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Content-Length"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    transport = call.request.transport
    if transport is not None:
        transport.write(head + body[: len(body) // 2] if body else head[: len(head) // 2])
        transport.close()
