"""Tests of reading bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from nsqlite.net.http import bodies as bodies_module
from nsqlite.net.http.bodies import Bodies
from nsqlite.net.http.router import Call
from tests.net.http.rig import Served, Talk, served, until
from tests.net.raw_http import request

LIMIT = 300_000


class Reader:
    """An endpoint that reads a body, and holds it for as long as it is told to."""

    def __init__(self, **details: Any) -> None:
        self.bodies = Bodies(LIMIT, **details)
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.read: list[bytes] = []

    @property
    def held_bytes(self) -> int:
        """What is held of the budget."""
        return self.bodies.budget.held_bytes

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


async def begun(server: Served, first: bytes = b"x", length: int = LIMIT) -> Talk:
    """A client that has sent the first of its body only."""
    talk = await server.connect()
    await talk.send(request("POST", "/", length=length) + first)
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
    """What is told of its length is taken from the budget before it comes, and given back at the end."""
    async with reading() as (reader, server):
        talk = await begun(server, length=200_000)
        await until(lambda: reader.held_bytes == 200_000)

        reader.may_end.clear()
        await talk.send(b"x" * 199_999)
        await until(lambda: bool(reader.read))

        assert reader.held_bytes == 200_000

        reader.may_end.set()

        assert (await talk.answer()).body == b"200000"


async def test_chunks_hold_all_they_may_become() -> None:
    """Who does not tell a length is counted with the limit."""
    async with reading() as (reader, server):
        talk = await server.connect()
        await talk.send(request("POST", "/", headers={"Transfer-Encoding": "chunked"}, chunks=(b"abc",))[:-5])
        await until(lambda: reader.held_bytes == LIMIT)
        await talk.send(b"0\r\n\r\n")

        assert (await talk.answer()).body == b"3"


async def test_body_waits_for_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the budget used up a body waits until others are done; one that came with its head does not."""
    monkeypatch.setattr(bodies_module, "BUDGET_BYTES", 1)
    async with reading() as (reader, server):
        first, second, third = [await begun(server) for _ in range(3)]
        await until(lambda: reader.held_bytes == 2 * LIMIT)
        for talk in (third, second, first):
            await talk.send(b"x" * (LIMIT - 1))
        small = await server.call("POST", "/", b"abc")
        answers = [(await talk.answer()).body for talk in (first, second, third)]

    assert small.body == b"3"
    assert answers == [b"%d" % LIMIT] * 3


async def test_body_that_finds_no_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is up it is told so, and those that have one are not disturbed."""
    monkeypatch.setattr(bodies_module, "BUDGET_BYTES", 1)
    async with reading() as (reader, server):
        holders = [await begun(server) for _ in range(2)]
        await until(lambda: reader.held_bytes == 2 * LIMIT)
        reader.bodies._body_seconds = 0
        refused = await begun(server)
        answer = await refused.answer()
        reader.bodies._body_seconds = 60
        for talk in holders:
            await talk.send(b"x" * (LIMIT - 1))
            assert (await talk.answer()).status == 200

    assert (answer.status, answer.code, answer.headers["connection"]) == (503, "TOO_MANY_BODIES", "close")


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
        await until(lambda: reader.held_bytes == LIMIT)
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
        await talk.send(request("POST", "/", headers={"Transfer-Encoding": "chunked"}, chunks=(b"abc",))[:-5])
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
    async with reading() as (reader, server):
        talk = await server.connect()
        await talk.send(request("POST", "/", length=3, version="1.0", headers={"Expect": "100-continue"}))
        await until(lambda: reader.held_bytes > 0)
        await talk.send(b"abc")

        assert (await talk.answer()).status == 200
