"""Tests of long answers."""

from __future__ import annotations

import pytest
from aiohttp import web

from nsqlite.net.http.connection import Patience
from nsqlite.net.http.router import Call
from nsqlite.net.http.sending import SMALL_ANSWER_BYTES, Sending
from tests.net.http.rig import Served, Talk, served, until
from tests.net.raw_http import request

LONG = 30_000_000  # more than sockets hold


async def long_answer(call: Call) -> web.Response:
    """More than a client gets without reading."""
    return web.Response(body=bytes(LONG))


async def short_answer(call: Call) -> web.Response:
    """As much as is not counted."""
    return web.Response(body=bytes(SMALL_ANSWER_BYTES))


ROUTES = {"/long": {"GET": long_answer}, "/short": {"GET": short_answer}}


async def asked(server: Served, sending: Sending, path: str = "/long") -> Talk:
    """A client that has asked, and reads little."""
    talk = await server.connect(limit=1024)
    talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
    held = sending.budget.held_bytes
    await talk.send(request("GET", path))
    await until(lambda: sending.budget.held_bytes > held)
    return talk


async def test_long_answer_is_counted_until_it_is_taken() -> None:
    """All of it, for as long as its client has not taken it."""
    sending = Sending()
    async with served(ROUTES, sending=sending) as server:
        talk = await asked(server, sending)

        assert sending.budget.held_bytes == LONG

        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await talk.answer()

        assert answer.body == bytes(LONG)
        await until(lambda: sending.budget.held_bytes == 0)


async def test_one_answer_too_many_is_refused() -> None:
    """It is told so at once; short ones are always sent, and the connection is none the worse."""
    sending = Sending(max_bytes=LONG)
    async with served(ROUTES, sending=sending) as server:
        await asked(server, sending)
        talk = await server.connect()
        refused, short = await talk.call("GET", "/long"), await talk.call("GET", "/short")

        assert (refused.status, refused.code) == (503, "TOO_MANY_ANSWERS")
        assert (short.status, len(short.body)) == (200, SMALL_ANSWER_BYTES)


async def test_client_that_hangs_up_frees_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Without a word in the log."""
    sending = Sending()
    async with served(ROUTES, sending=sending) as server:
        talk = await asked(server, sending)
        talk.writer.transport.abort()
        await until(lambda: sending.budget.held_bytes == 0)

    assert [each for each in caplog.records if each.levelname != "INFO"] == []


async def test_client_that_takes_nothing_is_left() -> None:
    """When its time is up it is cut in the middle, and its place is free."""
    sending = Sending()
    async with served(ROUTES, sending=sending, patience=Patience(sending=0)) as server:
        talk = await asked(server, sending)
        await until(lambda: sending.budget.held_bytes == 0)
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]

        assert len(await talk.rest()) < LONG
