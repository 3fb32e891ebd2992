"""Tests of reading bodies."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import StreamReader, web

from nsqlite.net.binding import rounds
from nsqlite.net.http import bodies as bodies_module
from nsqlite.net.http.bodies import Bodies
from nsqlite.net.http.router import Call
from nsqlite.net.http.shares import PIECE_BYTES, Shares
from tests.net.http.rig import Served, Talk, served, until
from tests.net.raw_http import request

LIMIT = 300_000
BODIES = (web.BaseRequest, StreamReader)
HALF = 150_000  # of that; two pieces are counted for it


class Reader:
    """An endpoint that reads a body, and holds it for as long as it is told to."""

    def __init__(self, **details: Any) -> None:
        self.bodies = Bodies(LIMIT, **details)
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.read: list[bytes] = []

    @property
    def held_bytes(self) -> int:
        """What is held of the budget: what has arrived, in pieces, but for the first."""
        return self.bodies.shares.held_bytes

    async def answer(self, call: Call) -> web.Response:
        """How long the body was."""
        async with self.bodies.reading(call.request, LIMIT, "TOO_LONG") as body:
            self.read.append(body)
            await self.may_end.wait()
        return web.Response(body=b"%d" % len(body))

    async def answer_whole(self, call: Call) -> web.Response:
        """The same, by `read`."""
        body = await self.bodies.read(call.request, LIMIT, "TOO_LONG")
        self.read.append(body)
        return web.Response(body=b"%d" % len(body))


@asynccontextmanager
async def reading(**details: Any) -> AsyncIterator[tuple[Reader, Served]]:
    """A server that reads bodies."""
    reader = Reader(**details)
    routes = {"/": {"POST": reader.answer}, "/whole": {"POST": reader.answer_whole}}
    async with served(routes) as server:
        yield reader, server
        assert reader.held_bytes == 0


async def begun(server: Served, size: int = HALF) -> Talk:
    """A client that has sent the beginning of its body only."""
    talk = await server.connect()
    await talk.send(request("POST", "/", length=LIMIT) + b"x" * size)
    return talk


@pytest.mark.parametrize("size", [0, 1, 65_536, LIMIT])
async def test_body_is_read(size: int) -> None:
    """Up to the limit, with a length."""
    body = bytes(size)
    async with reading() as (reader, server):
        answer = await server.call("POST", "/", body)

    assert (answer.status, answer.body, reader.read) == (200, b"%d" % size, [body])


@pytest.mark.parametrize("path", ["/", "/whole"])
async def test_chunks_are_put_together(path: str) -> None:
    """However small they are."""
    async with reading() as (reader, server):
        await server.call("POST", path, chunks=tuple(b"%d" % (number % 10) for number in range(5_000)))
        await server.call("POST", path, chunks=(b"a" * 100_000, b"b" * 200_000))

    assert reader.read == [b"0123456789" * 500, b"a" * 100_000 + b"b" * 200_000]


async def test_body_is_what_was_sent() -> None:
    """Content-Encoding is its sender's business: nothing is unpacked."""
    async with reading() as (reader, server):
        answer = await server.call("POST", "/", b"no gzip", headers={"Content-Encoding": "gzip"})

    assert (answer.status, reader.read) == (200, [b"no gzip"])


async def test_length_over_the_limit_is_refused_at_once() -> None:
    """Not a byte of it is waited for, and the client is told that the connection ends."""
    async with reading() as (reader, server):
        talk = await server.connect()
        answer = await talk.call("POST", "/", length=LIMIT + 1)

        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "TOO_LONG", "close")
        assert reader.read == []


async def test_chunks_over_the_limit_are_refused() -> None:
    """As soon as there are more; what the client goes on sending is thrown away."""
    async with reading() as (reader, server):
        talk = await server.connect()
        answer = await talk.call("POST", "/whole", chunks=(b"x" * (LIMIT + 1),))

        assert (answer.status, answer.code) == (413, "TOO_LONG")

        cut = await server.call("POST", "/", chunks=(b"x" * LIMIT, b"y" * 2_000_000))

    assert cut.status == 200
    assert [len(each) > LIMIT for each in reader.read] == [True]
    assert len(reader.read[0]) < LIMIT + 1_000_000


async def test_body_is_held_until_it_is_used_up() -> None:
    """Nothing is taken from the budget for what was only announced; what has come is given back at the end."""
    async with reading() as (reader, server):
        talk = await begun(server, 65_536)
        await server.call("POST", "/", b"another")

        assert reader.held_bytes == 0

        reader.may_end.clear()
        await talk.send(b"x" * 100_000)
        await until(lambda: reader.held_bytes == 2 * PIECE_BYTES)
        await talk.send(b"x" * (LIMIT - 165_536))
        await until(lambda: len(reader.read) == 2)

        assert reader.held_bytes == 4 * PIECE_BYTES

        reader.may_end.set()

        assert (await talk.answer()).body == b"%d" % LIMIT


async def test_announced_bodies_are_in_nobodys_way() -> None:
    """However many say that they will send something, and do not, others are read at once."""
    async with reading(shares=Shares(1)) as (_reader, server):
        for _ in range(20):
            await begun(server, 0)
        answers = [await server.call("POST", "/", bytes(size)) for size in (1, 65_536, LIMIT)]

    assert [each.status for each in answers] == [200] * 3


async def test_bodies_of_more_than_there_is_come_one_after_another() -> None:
    """All are read, though together they are more than may be held."""
    async with reading(shares=Shares(3 * PIECE_BYTES, idle_seconds=1000)) as (reader, server):
        talks = [await begun(server) for _ in range(5)]
        await until(lambda: len(reader.bodies.shares._line) > 2)
        for talk in talks:
            await talk.send(b"x" * (LIMIT - HALF))
        answers = [(await talk.answer()).status for talk in talks]

    assert answers == [200] * 5


async def test_who_sends_nothing_makes_room_for_others() -> None:
    """It is told so, and that the connection ends; whoever goes on sending gets on."""
    async with reading(shares=Shares(2 * PIECE_BYTES, idle_seconds=0)) as (reader, server):
        stalled = []
        for _ in range(2):  # the second passes the bound
            stalled.append(await begun(server))
            await until(lambda: reader.held_bytes == 2 * len(stalled) * PIECE_BYTES)
        answer = await server.call("POST", "/", bytes(LIMIT))
        refused = [await talk.answer() for talk in stalled]

    assert answer.status == 200
    assert {(each.status, each.code) for each in refused} == {(503, "TOO_MANY_BODIES")}
    assert {each.headers["connection"] for each in refused} == {"close"}


async def test_body_that_finds_no_place_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """When its time is up it is told so, and those that have one are not disturbed."""
    async with reading(shares=Shares(2 * PIECE_BYTES, idle_seconds=1000)) as (reader, server):
        holders = []
        for _ in range(2):
            holders.append(await begun(server))
            await until(lambda: reader.held_bytes == 2 * len(holders) * PIECE_BYTES)
        talk = await begun(server)
        await until(lambda: bool(reader.bodies.shares._line))
        reader.bodies.shares._line[0][2].lose()  # as the end of its time does
        answer = await talk.answer()
        for talk in reversed(holders):  # the second passes the bound
            await talk.send(b"x" * (LIMIT - HALF))
            assert (await talk.answer()).status == 200

    assert (answer.status, answer.code, answer.headers["connection"]) == (503, "TOO_MANY_BODIES", "close")
    assert [record.event for record in caplog.records] == ["bodies_full"]  # type: ignore[attr-defined]


async def test_body_that_broke_off_is_let_go() -> None:
    """At once: no error keeps it until the garbage is collected."""
    gc.collect()
    gc.disable()
    try:
        async with reading() as (reader, server):
            talk = await begun(server)
            await until(lambda: reader.held_bytes == 2 * PIECE_BYTES)
            talk.writer.transport.abort()
            await until(lambda: reader.held_bytes == 0 and server.server.connection_count == 0)
            await rounds()

            assert not [each for each in gc.get_objects() if type(each) in BODIES]
    finally:
        gc.enable()


async def test_memory_of_large_bodies_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for many of them, when they are gone."""
    monkeypatch.setattr(bodies_module, "TRIM_BYTES", 4 * PIECE_BYTES)
    monkeypatch.setattr(bodies_module, "TRIM_SECONDS", 0)
    given_back: list[int] = []
    async with reading(trim=lambda: given_back.append(len(reader.read))) as (reader, server):
        await server.call("POST", "/", bytes(HALF))
        assert not reader.bodies._is_trim_due

        await server.call("POST", "/", bytes(HALF))
        await until(lambda: bool(given_back))

    assert given_back == [2]


async def test_body_that_does_not_come_is_given_up() -> None:
    """When its time is up, whatever its client still means to send."""
    async with reading(body_seconds=0) as (reader, server):
        talk = await begun(server)
        answer = await talk.answer()

        assert (answer.status, answer.code, answer.headers["connection"]) == (408, "TIMEOUT", "close")
        assert reader.held_bytes == 0


@pytest.mark.parametrize("is_polite", [True, False])
async def test_body_that_breaks_off_frees_its_place(is_polite: bool) -> None:
    """Whether its client hangs up in the middle, or only sends nothing more."""
    async with reading() as (reader, server):
        talk = await begun(server)
        await until(lambda: reader.held_bytes == 2 * PIECE_BYTES)
        if is_polite:
            talk.writer.write_eof()
            assert await talk.rest() == b""
        else:
            talk.writer.transport.abort()
        await until(lambda: reader.held_bytes == 0)

        assert reader.read == []


async def test_broken_chunks_are_an_error() -> None:
    """A body that cannot be read whole is not used."""
    async with reading() as (reader, server):
        talk = await server.connect()
        chunks = (b"x" * HALF,)
        await talk.send(request("POST", "/", headers={"Transfer-Encoding": "chunked"}, chunks=chunks)[:-5])
        await until(lambda: reader.held_bytes > 0)
        await talk.send(b"zz\r\n")
        answer = await talk.answer()

        assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
        assert reader.read == []


async def test_client_that_asks_for_leave_gets_it() -> None:
    """Expect is answered when the body is wanted, and only then."""
    async with reading() as (_reader, server):
        talk = await server.connect()
        await talk.send(request("POST", "/", length=3, headers={"Expect": "100-Continue"}))

        assert (await talk.answer()).status == 100

        await talk.send(b"abc")

        assert (await talk.answer()).body == b"3"

        refused = await talk.call("POST", "/", length=LIMIT + 1, headers={"Expect": "100-continue"})

        assert (refused.status, refused.headers["connection"]) == (413, "close")


async def test_client_that_expects_something_else_is_refused() -> None:
    """There is nothing else to expect."""
    async with reading() as (reader, server):
        answer = await server.call("POST", "/", length=3, headers={"Expect": "a miracle"})

        assert (answer.status, reader.read) == (417, [])


async def test_old_client_is_not_told_to_go_on() -> None:
    """HTTP/1.0 knows no answer before the answer."""
    async with reading() as (_reader, server):
        talk = await server.connect()
        await talk.send(request("POST", "/", length=3, version="1.0", headers={"Expect": "100-continue"}))
        await talk.send(b"abc")

        assert (await talk.answer()).status == 200
