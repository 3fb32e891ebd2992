"""Tests of one connection: what clients may send, and how long it waits for them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from nsqlite.net.http.connection import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    QUEUE_LENGTH,
    Connection,
    Patience,
)
from nsqlite.net.http.router import Call
from tests.fakes.clock import PATIENCE_SECONDS
from tests.net.http.rig import Served, Talk, served, until
from tests.net.raw_http import request

GET = request("GET", "/hello")


def head(*lines: str) -> bytes:
    """A head with these lines, that is not complete."""
    return "\r\n".join(["GET /hello HTTP/1.1", "Host: 127.0.0.1", *lines, ""]).encode()


class Gate:
    """An endpoint that stands still until it is let go; how many have come to it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.count = 0

    async def wait(self, call: Call) -> web.Response:
        """Answer at last."""
        self.count += 1
        await self.opened.wait()
        return web.Response(body=b"at last")


# -- heads ------------------------------------------------------------------------------------


async def test_head_may_be_large() -> None:
    """All headers there may be, and one that is as long as it may be."""
    many = {f"X-{number}": "x" * 100 for number in range(MAX_HEADERS - 1)}
    async with served() as server:
        talk = await server.connect()

        assert (await talk.call("GET", "/hello", headers=many)).status == 200
        assert (await talk.call("GET", "/hello", headers={"X": "x" * (MAX_LINE_BYTES - 1)})).status == 200
        assert (await talk.call("GET", "/hello?" + "x" * (MAX_LINE_BYTES - 7))).status == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(head(*["X: y"] * MAX_HEADERS) + b"\r\n", id="many_headers"),
        pytest.param(head("X: " + "y" * (MAX_LINE_BYTES + 1)), id="long_header"),
        pytest.param(head("X" * (MAX_LINE_BYTES + 1)), id="long_name"),
        pytest.param(b"GET /" + b"x" * (MAX_LINE_BYTES + 1), id="long_target"),
    ],
)
async def test_head_that_is_too_large_is_refused(data: bytes) -> None:
    """Without waiting for the rest, and the connection ends."""
    async with served() as server:
        talk = await server.connect()
        await talk.send(data)

        assert (await talk.answer()).status == 400
        assert await talk.rest() == b""


async def test_head_that_does_not_end_is_refused() -> None:
    """However small its pieces, before it has cost much."""
    async with served() as server:
        talk = await server.connect()
        await talk.send(head())
        sent = 0
        while sent < 10 * MAX_HEAD_BYTES and server.server.connection_count:
            line = b"X: " + b"y" * 7_000 + b"\r\n"
            sent += len(line)
            await talk.send(line)
            await asyncio.sleep(0)
        answer = await talk.answer()

        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert answer.body == b"431 Request Header Fields Too Large"
        assert sent < 3 * MAX_HEAD_BYTES


async def test_head_in_pieces_is_a_head() -> None:
    """A byte at a time, one request after another."""
    async with served() as server:
        talk = await server.connect()
        for _ in range(3):
            for byte in GET:
                await talk.send(bytes([byte]))
                await asyncio.sleep(0)

            assert (await talk.answer()).body == b"hello"


async def test_bodies_are_not_counted_as_heads() -> None:
    """Any number of large ones on one connection."""
    async with served() as server:
        talk = await server.connect()
        for _ in range(5):
            assert len((await talk.call("POST", "/echo", bytes(3 * MAX_HEAD_BYTES))).body) == 3 * MAX_HEAD_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"GET /hello HTTP/1.1\r\n\r\n",  # without Host
        b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nSecret token: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_in_three_words(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is repeated, neither to the client nor in the log; then the connection ends."""
    async with served() as server:
        talk = await server.connect()
        await talk.send(data)
        answer = await talk.answer()

        assert (answer.status, answer.body, answer.headers["server"]) == (400, b"400 Bad Request", "nsqlite")
        assert await talk.rest() == b""
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


# -- many requests ----------------------------------------------------------------------------


async def test_requests_are_answered_in_order() -> None:
    """All that were sent without waiting for answers."""
    async with served() as server:
        talk = await server.connect()
        await talk.send(b"".join(request("POST", "/echo", b"%d" % number) for number in range(500)))

        assert [(await talk.answer()).body for _ in range(500)] == [b"%d" % number for number in range(500)]


async def test_requests_that_wait_are_few() -> None:
    """While one is answered only some more are read, however many are sent; then they come."""
    gate = Gate()
    async with served({"/": {"GET": gate.wait}}) as server:
        talk = await server.connect()
        data = request("GET", "/", headers={"X": "x" * 4_000})
        talk.writer.write(data * 5_000)
        await until(lambda: gate.count == 1)
        (connection,) = server.server._connections
        sizes = set()
        for _ in range(2_000):
            await asyncio.sleep(0)
            sizes.add(talk.writer.transport.get_write_buffer_size())

        assert gate.count == 1
        assert len(connection._messages) <= 32  # of one read; more are read when these are fewer than QUEUE_LENGTH
        assert min(sizes) > 5_000_000, "it is not read on and on"

        gate.opened.set()
        for _ in range(5_000):
            assert (await talk.answer()).body == b"at last"
        assert QUEUE_LENGTH < 32


# -- versions and odd requests ----------------------------------------------------------------


async def test_old_client_gets_one_answer() -> None:
    """HTTP/1.0 ends the connection, unless it is asked not to."""
    async with served() as server:
        talk = await server.connect()
        kept = await talk.call("GET", "/hello", version="1.0", headers={"Connection": "keep-alive"})
        answer = await talk.call("GET", "/hello", version="1.0")

        assert (kept.version, kept.headers["connection"], answer.body) == ("1.0", "keep-alive", b"hello")
        assert await talk.rest() == b""


async def test_connection_closes_when_asked() -> None:
    """After the answer, which says so."""
    async with served() as server:
        talk = await server.connect()
        answer = await talk.call("GET", "/hello", headers={"Connection": "close"})

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await talk.rest() == b""


async def test_upgrade_is_not_followed() -> None:
    """The request is answered as if it had not asked, and so is what stands behind it."""
    async with served() as server:
        talk = await server.connect()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        await talk.send(request("GET", "/hello", headers=upgrade) + request("POST", "/echo", bytes(200_000)))

        assert (await talk.answer()).status == 200
        assert len((await talk.answer()).body) == 200_000


async def test_body_that_is_not_read_is_thrown_away() -> None:
    """The answer comes at once; the next request is found behind a body that comes soon."""
    async with served() as server:
        talk = await server.connect()
        answer = await talk.call("POST", "/hello", length=100_000)

        assert (answer.body, "connection" in answer.headers) == (b"hello", False)

        await talk.send(bytes(100_000) + GET)

        assert (await talk.answer()).body == b"hello"


async def gone(server: Served, connection: Connection) -> None:
    """Return when a connection is no more, however long its time is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while connection in server.server._connections:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)


# -- patience ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"GET /hel", GET, GET + b"GET /hel"])
async def test_head_that_does_not_come_is_given_up(first: bytes) -> None:
    """A connection without a whole request ends when its time is up, from the start or from the last answer."""
    async with served(patience=Patience(head=0.01)) as server:
        talk = await server.connect()
        await talk.send(first)

        assert (await talk.rest()).count(b"hello") == first.count(b"hello")


async def test_body_that_is_not_wanted_is_not_waited_for() -> None:
    """When its time is up the connection ends."""
    async with served(patience=Patience(lingering=0.01)) as server:
        talk = await server.connect()
        await talk.send(request("POST", "/hello", length=1_000_000))

        assert (await talk.answer()).headers["connection"] == "close"
        assert await talk.rest() == b""


async def paused(server_talk: Talk) -> None:
    """Let a client read nothing more."""
    server_talk.writer.transport.pause_reading()  # type: ignore[attr-defined]


async def test_client_that_reads_nothing_is_left() -> None:
    """Though each of its answers is small, as soon as they fill the sockets."""
    async with served(patience=Patience(sending=0.01)) as server:
        talk = await server.connect(limit=1024)
        await paused(talk)
        body = bytes(60_000)
        for _ in range(1_000):
            talk.writer.write(request("POST", "/echo", body))
        await until(lambda: server.server.connection_count == 1)
        (connection,) = server.server._connections
        await gone(server, connection)

        assert connection._link.get_write_buffer_size() == 0


async def test_client_that_leaves_its_last_answer_is_left() -> None:
    """An answer that ends the connection is not waited for for ever, however small the rest."""
    async with served(handler=_large, patience=Patience(sending=0.01)) as server:
        talk = await server.connect(limit=1024)
        await paused(talk)
        await talk.send(request("GET", "/", headers={"Connection": "close"}))
        await until(lambda: server.server.connection_count == 1)
        (connection,) = server.server._connections
        await gone(server, connection)


async def _large(call: web.BaseRequest) -> web.Response:
    return web.Response(body=bytes(8_000_000))


# -- failures ---------------------------------------------------------------------------------


async def test_failure_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails is our fault: the client hears that much, the log why."""

    async def fail(request: web.BaseRequest) -> web.Response:
        raise ZeroDivisionError

    async with served(handler=fail) as server:
        talk = await server.connect()
        answer = await talk.call("GET", "/")

        assert (answer.status, answer.body) == (500, b"500 Internal Server Error")
        assert await talk.rest() == b""
    assert [getattr(each, "event", "") for each in caplog.records if each.levelno >= logging.ERROR] == ["http_failed"]


async def test_reset_in_a_body_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Clients go when they like, also while a body that nobody wants is thrown away."""
    async with served() as server:
        for path in ("/echo", "/hello"):
            talk = await server.connect()
            await talk.send(request("POST", path, length=1_000_000) + b"x")
            if path == "/hello":
                await talk.answer()
            else:
                await until(lambda: server.server.connection_count == 1)
            talk.writer.transport.abort()
            await until(lambda: server.server.connection_count == 0)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_broken_chunks_behind_an_answer_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The client is at fault, so the log has nothing of it."""
    async with served() as server:
        talk = await server.connect()
        chunked = {"Transfer-Encoding": "chunked"}
        await talk.send(request("POST", "/hello", headers=chunked, chunks=(b"abc",))[:-5])
        await talk.answer()
        await talk.send(b"zz\r\n")

        assert await talk.rest() == b""
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
