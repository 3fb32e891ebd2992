"""Tests of the answers' form."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from aiohttp import web

from nsqlite.errors import NsqliteError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.connection import Patience
from nsqlite.net.http.router import Call
from tests.net.http.rig import hello, served, until
from tests.net.raw_http import request


def test_text_and_json_are_typed() -> None:
    """Both go out as they are, with nsqd's two headers."""
    text, json = answers.text(b"OK"), answers.json(b"{}")

    assert (text.status, text.body, json.status, json.body) == (200, b"OK", 200, b"{}")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert json.headers["Content-Type"] == "application/json; charset=utf-8"
    assert text.headers["X-NSQ-Content-Type"] == json.headers["X-NSQ-Content-Type"] == "nsq; version=1.0"


def test_empty_has_nothing_to_say() -> None:
    """Neither a body nor a type, but nsqd's header."""
    answer = answers.empty()

    assert (answer.status, answer.body) == (200, None)
    assert answer.headers["X-NSQ-Content-Type"] == "nsq; version=1.0"
    assert "Content-Type" not in answer.headers


def test_error_is_told_as_json() -> None:
    """Status, NSQ's word in a message, and whatever headers it brings."""
    answer = answers.refusal(HttpError(405, "METHOD_NOT_ALLOWED", {"Allow": "GET"}))

    assert (answer.status, answer.body) == (405, b'{"message":"METHOD_NOT_ALLOWED"}')
    assert (answer.headers["Allow"], answer.headers["Content-Type"]) == ("GET", "application/json; charset=utf-8")


def test_error_is_one_of_ours() -> None:
    """Its sentence is status and word; two of them share no headers."""
    error = HttpError(404, "NOT_FOUND")

    assert isinstance(error, NsqliteError)
    assert str(error) == "404 NOT_FOUND"
    assert error.headers == {}
    assert error.headers is not HttpError(404, "NOT_FOUND").headers


def test_answers_share_no_headers() -> None:
    """What is added to one answer is not in the next."""
    answers.text(b"").headers["X"] = "y"

    assert "X" not in answers.text(b"").headers


@pytest.mark.parametrize("version,keeps", [("1.1", True), ("1.1", False), ("1.0", True), ("1.0", False)])
async def test_ok_is_told_to_everybody(version: str, keeps: bool) -> None:
    """The same, whether it was put together before or not; the connection ends when it should."""
    async with served({"/": {"POST": _ok}, "/hello": {"GET": hello}}) as server:
        talk = await server.connect()
        headers = {"Connection": "keep-alive" if keeps else "close"}
        answers_made = [await talk.call("POST", "/", b"x", version=version, headers=headers)]
        if keeps:
            answers_made.append(await talk.call("POST", "/", b"x", version=version, headers=headers))
            assert (await talk.call("GET", "/hello")).body == b"hello"
        else:
            assert await talk.rest() == b""

    for answer in answers_made:
        assert (answer.status, answer.body, answer.version) == (200, b"OK", version)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-nsq-content-type"] == "nsq; version=1.0"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])


async def test_ok_may_be_the_last_word() -> None:
    """If the rest of a body is not wanted, it says that the connection ends."""
    async with served({"/": {"POST": _ok}}, patience=Patience(lingering=0.01)) as server:
        talk = await server.connect()
        answer = await talk.call("POST", "/", length=1_000_000)

        assert (answer.body, answer.headers["connection"]) == (b"OK", "close")
        assert await talk.rest() == b""


async def test_ok_comes_in_order() -> None:
    """It is sent a little later than other answers, and still before those to later requests."""
    async with served({"/": {"POST": _ok}}) as server:
        talk = await server.connect()
        await talk.send(b"".join(request("POST", "/" if number % 3 else "/none", b"x") for number in range(30)))

        assert [(await talk.answer()).status for _ in range(30)] == [200 if number % 3 else 404 for number in range(30)]


async def test_ok_to_nobody_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A client that is gone when its answer is ready has it no more."""
    opened = asyncio.Event()

    async def late(call: Call) -> web.StreamResponse:
        await opened.wait()
        return answers.ok(call.request)

    async with served({"/": {"POST": late}}) as server:
        talk = await server.connect()
        await talk.send(request("POST", "/", b"x"))
        await until(lambda: server.server.connection_count == 1)
        talk.writer.transport.abort()
        await until(lambda: server.server.connection_count == 0)
        opened.set()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def _ok(call: Call) -> web.StreamResponse:
    return answers.ok(call.request)
