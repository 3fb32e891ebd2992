"""Tests of a server: how many connections it has, over what, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from nsqlite.errors import ListenError
from nsqlite.net.http.connection import Patience
from nsqlite.net.http.router import Call
from nsqlite.net.http.server import CLOSE_SECONDS, HttpServer
from tests.net.conftest import PemFiles
from tests.net.http.rig import Talk, served, until
from tests.net.raw_http import request

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def tls(server_certificate: PemFiles, certificate_authority: str) -> Contexts:
    """A server's context, and that of a client who trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate.cert, server_certificate.key)
    return context, ssl.create_default_context(cafile=certificate_authority)


class Gate:
    """An endpoint that stands still until it is let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.count = 0
        self.cancelled_count = 0

    async def wait(self, call: Call) -> web.Response:
        """Answer at last."""
        self.count += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled_count += 1
            raise
        return web.Response(body=b"at last")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged that somebody should see."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


# -- addresses --------------------------------------------------------------------------------


async def test_server_tells_where_it_listens(caplog: pytest.LogCaptureFixture) -> None:
    """The real port, as a log line of nsqd says it."""
    caplog.set_level(logging.INFO)
    async with served() as server:
        address: Any = server.server.address

        assert address[0] == "127.0.0.1"
        assert address[1] > 0
        assert server.server.name == f"127.0.0.1:{address[1]}"
        assert f"HTTP: listening on {server.server.name}" in caplog.messages
    assert caplog.messages[-1] == f"HTTP: closing {server.server.name}"


async def test_unix_socket_serves_and_goes(tmp_path: Path) -> None:
    """As a port does; its file is gone when it closes."""
    path = tmp_path / "http.sock"
    async with served(address=str(path)) as server:
        answer = await server.call("POST", "/echo", b"hello")

        assert (answer.body, server.server.address) == (b"hello", str(path))
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


async def test_address_that_is_taken_is_refused() -> None:
    """With an error that names it; the server can be closed, and nothing of it is open."""
    async with served() as server:
        second = HttpServer(lambda request: None)  # type: ignore[arg-type,return-value]
        with pytest.raises(ListenError, match=server.server.name):
            await second.start(server.server.name)
        await second.close()

        assert (await server.call("GET", "/hello")).status == 200


async def test_tls_serves(tls: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    """The same, encrypted; it says so where it listens."""
    caplog.set_level(logging.INFO)
    async with served(tls=tls) as server:
        talk = await server.connect()
        answers = [await talk.call("POST", "/echo", bytes(size)) for size in (1, 300_000)]

        assert [len(each.body) for each in answers] == [1, 300_000]
        assert f"HTTPS: listening on {server.server.name}" in caplog.messages
    assert warnings_of(caplog) == []


async def test_plain_http_is_no_tls(tls: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    """The connection ends, and nobody is bothered."""
    async with served(tls=tls) as server:
        reader, writer = await asyncio.open_connection(*_host_port(server.server))
        talk = Talk(reader, writer)
        await talk.send(request("GET", "/hello"))

        assert b"200" not in await talk.rest()
        talk.close()
        assert (await server.call("GET", "/hello")).status == 200
    assert warnings_of(caplog) == []


async def test_handshake_that_does_not_come_is_given_up(tls: Contexts) -> None:
    """When its time is up."""
    async with served(tls=tls, patience=Patience(handshake=0.05)) as server:
        reader, writer = await asyncio.open_connection(*_host_port(server.server))
        talk = Talk(reader, writer)

        assert await talk.rest() == b""
        talk.close()


def _host_port(server: HttpServer) -> tuple[str, int]:
    address: Any = server.address
    return address  # type: ignore[no-any-return]


# -- how many ---------------------------------------------------------------------------------


async def test_connection_too_many_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """At once; the log says so once, until there is much room again."""
    async with served(max_connections=2) as server:
        kept = [await server.connect() for _ in range(2)]
        for talk in kept:
            assert (await talk.call("GET", "/hello")).status == 200
        for _ in range(3):
            assert await (await server.connect()).rest() == b""

        assert warnings_of(caplog) == ["refusing HTTP connections: max_http_connections=2 are open"]

        for talk in kept:
            talk.close()
        await until(lambda: server.server.connection_count == 0)

        assert (await server.call("GET", "/hello")).status == 200

        await until(lambda: server.server.connection_count == 0)
        for _ in range(3):
            await (await server.connect()).call("GET", "/hello") if server.server.connection_count < 2 else None
        assert await (await server.connect()).rest() == b""
        assert len(warnings_of(caplog)) == 2


async def test_many_at_once_are_no_more_than_may_be() -> None:
    """Also when they all come in one round of the loop."""
    async with served(max_connections=5) as server:
        talks = [await server.connect() for _ in range(30)]
        for talk in talks:
            talk.writer.write(request("GET", "/hello", headers={"Connection": "close"}))
        answers = [(await talk.rest()).count(b"hello") for talk in talks]

        assert sum(answers) == 5


# -- the end ----------------------------------------------------------------------------------


@asynccontextmanager
async def closing(gate: Gate, **details: Any) -> AsyncIterator[tuple[HttpServer, Talk]]:
    """A server with one request that is being answered; it closes in the block."""
    async with served({"/": {"GET": gate.wait}, "/hello": {"GET": gate.wait}}, **details) as server:
        talk = await server.connect()
        await talk.send(request("GET", "/"))
        await until(lambda: gate.count == 1)
        yield server.server, talk


async def test_close_lets_answers_go_out() -> None:
    """Who is being answered gets the answer, and then the end; the next request is not begun."""
    gate = Gate()
    async with closing(gate) as (server, talk):
        await talk.send(request("GET", "/hello"))
        (connection,) = server._connections
        end = asyncio.create_task(server.close())
        await until(lambda: connection._close)
        gate.opened.set()

        assert (await talk.answer()).body == b"at last"
        assert await talk.rest() == b""
        await end
        assert gate.count == 1


async def test_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still not answered when the time is up ends unanswered."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.04)
    gate = Gate()
    async with closing(gate) as (server, talk):
        await server.close()

        assert await talk.rest() == b""
        assert gate.cancelled_count == 1
        assert server.connection_count == 0


async def test_close_is_quick_for_those_who_wait() -> None:
    """Idle connections, and those in the middle of a head, cost no time."""
    async with served() as server:
        talks = [await server.connect() for _ in range(20)]
        for number, talk in enumerate(talks):
            await talk.call("GET", "/hello")
            if number % 2:
                await talk.send(b"GET /hel")
        before = asyncio.get_running_loop().time()
        await server.server.close()
        taken = asyncio.get_running_loop().time() - before

        assert [await talk.rest() for talk in talks] == [b""] * 20
        assert taken < CLOSE_SECONDS / 4  # as long as one that is being answered may take


async def test_close_ends_bodies_that_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a body is none; nothing complains."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.04)
    async with served() as server:
        talk = await server.connect()
        await talk.send(request("POST", "/echo", length=1_000_000) + bytes(10_000))
        await until(lambda: server.server.connection_count == 1)
        await server.server.close()

        assert await talk.rest() == b""


async def test_close_ends_answers_that_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays in the loop."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.04)

    async def large(call: Call) -> web.Response:
        return web.Response(body=bytes(30_000_000))

    async with served({"/": {"GET": large}}) as server:
        talk = await server.connect(limit=1024)
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await talk.send(request("GET", "/"))
        await until(lambda: server.server.connection_count == 1)
        (connection,) = server.server._connections
        await until(lambda: connection._link.get_write_buffer_size() > 0)
        await server.server.close()

        assert (server.server.connection_count, connection._link.get_write_buffer_size()) == (0, 0)


async def test_close_does_not_wait_for_the_end_of_tls(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not say good-bye is cut."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.04)
    async with served(tls=tls) as server:
        talk = await server.connect()
        await talk.call("GET", "/hello")
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await server.server.close()

        assert server.server.connection_count == 0


async def test_closing_twice_is_fine() -> None:
    """Also before it was started."""
    async with served() as server:
        await server.server.close()
        await server.server.close()
    await HttpServer(lambda request: None).close()  # type: ignore[arg-type,return-value]
