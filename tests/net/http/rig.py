"""A server of a few endpoints in the test's own loop, and clients of it without manners."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web

from nsqlite.net.http.connection import Patience
from nsqlite.net.http.guard import Guard
from nsqlite.net.http.router import Call, Endpoint, Router, Routes
from nsqlite.net.http.sending import Sending
from nsqlite.net.http.server import HttpServer
from tests.fakes.clock import PATIENCE_SECONDS
from tests.net.raw_http import BODILESS, Answer, parse_head, request

LOOKS = 200_000


class Talk:
    """One connection, as its client has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.writer.drain()

    async def answer(self, *, is_head: bool = False) -> Answer:
        """The next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = parse_head(await self.reader.readuntil(b"\r\n\r\n"))
            if is_head or answer.status in BODILESS:
                return answer
            body = await self.reader.readexactly(int(answer.headers.get("content-length", "0")))
        return attrs.evolve(answer, body=body)

    async def call(self, method: str, target: str, body: bytes = b"", **details: Any) -> Answer:
        """Send a request, and the next answer."""
        await self.send(request(method, target, body, **details))
        return await self.answer(is_head=method == "HEAD")

    async def rest(self) -> bytes:
        """All that comes until the server hangs up, politely or not."""
        found = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while data := await self.reader.read(1 << 16):
                    found += data
            except ConnectionError:
                pass
        return found

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


class Served:
    """A server, and its clients."""

    def __init__(self, server: HttpServer, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self._tls = tls
        self._talks: list[Talk] = []

    async def connect(self, limit: int = 1 << 16) -> Talk:
        """A new client; it reads `limit` bytes ahead."""
        address: Any = self.server.address
        if isinstance(address, str):
            streams = await asyncio.open_unix_connection(address, limit=limit)
        else:
            name = "localhost" if self._tls else None
            streams = await asyncio.open_connection(*address, limit=limit, ssl=self._tls, server_hostname=name)
        self._talks.append(Talk(*streams))
        return self._talks[-1]

    async def call(self, method: str, target: str, body: bytes = b"", **details: Any) -> Answer:
        """A request on a connection of its own."""
        talk = await self.connect()
        try:
            return await talk.call(method, target, body, **details)
        finally:
            talk.close()

    async def hang_up(self) -> None:
        """Let all clients hang up, whatever they have not sent."""
        for talk in self._talks:
            talk.writer.transport.abort()
        await until(lambda: self.server.connection_count == 0)


async def until(has_come: Callable[[], bool]) -> None:
    """Return when something has come about, or fail."""
    for _ in range(LOOKS):
        if has_come():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came about")


async def echo(call: Call) -> web.Response:
    """Answer with the body."""
    return web.Response(body=await call.request.read())


async def hello(call: Call) -> web.Response:
    """Answer at once, whatever the body."""
    return web.Response(body=b"hello", headers={"Server": "test"})


ROUTES: Mapping[str, Mapping[str, Endpoint]] = {"/hello": {"GET": hello, "POST": hello}, "/echo": {"POST": echo}}


@asynccontextmanager
async def served(
    routes: Routes | None = None,
    *,
    guard: Guard | None = None,
    sending: Sending | None = None,
    max_connections: int = 0,
    patience: Patience | None = None,
    address: str = "127.0.0.1:0",
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None,
) -> AsyncIterator[Served]:
    """A server of these endpoints, or of a few; `tls` has its context and that of its clients."""
    router = Router(routes or ROUTES, guard or Guard(), sending)
    server = HttpServer(handler or router.handle, max_connections=max_connections, patience=patience)
    await server.start(address, tls[0] if tls else None)
    made = Served(server, tls[1] if tls else None)
    try:
        yield made
    finally:
        await made.hang_up()
        await server.close()
