"""Tests of the way from a request to its endpoint, as httprouter goes it for nsqd."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web

from nsqlite.errors import NodeClosedError
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.connection import Patience
from nsqlite.net.http.router import Call
from tests.net.http.rig import Served, served
from tests.net.raw_http import Answer, request


async def told(call: Call) -> web.Response:
    """What arrived here."""
    return web.Response(body=f"{call.request.method} {call.path} {call.suffix} {call.params()}".encode())


async def refusing(call: Call) -> web.Response:
    """Refuse."""
    raise HttpError(418, "TEAPOT", {"X-Why": "tea"})


async def failing(call: Call) -> web.Response:
    """Fail."""
    raise ZeroDivisionError("of a secret")


async def closed(call: Call) -> web.Response:
    """Find the node closed."""
    raise NodeClosedError


ROUTES = {
    "/": {"GET": told},
    "/ping": {"GET": told},
    "/pub": {"POST": told},
    "/both": {"GET": told, "POST": told},
    "/topic/create": {"POST": told},
    "/config/*": {"GET": told, "PUT": told},
    "/refusing": {"GET": refusing},
    "/failing": {"GET": failing},
    "/closed": {"GET": closed},
}


async def ask(*targets: str, method: str = "GET") -> list[Answer]:
    """The answers to several."""
    async with served(ROUTES) as server:
        talk = await server.connect()
        return [await talk.call(method, each) for each in targets]


@pytest.mark.parametrize(
    "method,target,body",
    [
        ("GET", "/ping", b"GET /ping  {}"),
        ("GET", "/ping?", b"GET /ping  {}"),
        ("GET", "/ping?a=b%20c&d", b"GET /ping  {'a': 'b c', 'd': ''}"),
        ("GET", "/", b"GET /  {}"),
        ("GET", "/?a=1", b"GET /  {'a': '1'}"),
        ("POST", "/topic/create?topic=t", b"POST /topic/create  {'topic': 't'}"),
        ("GET", "/p%69ng?a", b"GET /ping  {'a': ''}"),
        ("GET", "/topic%2Fcreate", b""),
        ("GET", "/ping#there", b""),
        ("GET", "/ping?a=1#there", b"GET /ping  {'a': '1#there'}"),
        ("GET", "http://any.example/ping?a=1", b"GET /ping  {'a': '1'}"),
        ("GET", "http://any.example", b"GET /  {}"),
        ("GET", "http://any.example?a=1", b"GET /  {'a': '1'}"),
        ("GET", "/config/log_level?x", b"GET /config/log_level log_level {'x': ''}"),
        ("PUT", "/config/log%5Flevel", b"PUT /config/log_level log_level {}"),
        ("GET", "/config/http%3A%2F%2Fx", b""),
        ("GET", "/config/x:?y", b"GET /config/x: x: {'y': ''}"),
    ],
)
async def test_request_finds_its_endpoint(method: str, target: str, body: bytes) -> None:
    """By its path without escapes, the query left out; a target may name the server, too."""
    async with served(ROUTES) as server:
        answer = await server.call(method, target)

    assert (answer.status, answer.body) == (200, body) if body else answer.status in (301, 404, 405)


async def test_path_that_is_not_there_is_not_found() -> None:
    """With nsqd's word for it, whatever the method."""
    unknown = ("/nope", "/pingpong", "/pin", "/topic", "/topic/", "/config", "/config/", "/config/a/b", "/a?b", "//")

    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"):
        targets = ("any.example:1",) if method == "CONNECT" else unknown
        for answer in await ask(*targets, method=method):
            assert (answer.status, answer.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "method,target,allow",
    [
        ("POST", "/ping", "GET, OPTIONS"),
        ("DELETE", "/ping", "GET, OPTIONS"),
        ("GET", "/pub", "OPTIONS, POST"),
        ("PUT", "/both", "GET, OPTIONS, POST"),
        ("POST", "/config/x", "GET, OPTIONS, PUT"),
        ("POST", "/", "GET, OPTIONS"),
        ("TRACE", "/ping", "GET, OPTIONS"),
    ],
)
async def test_wrong_method_is_told_the_right_ones(method: str, target: str, allow: str) -> None:
    """In Allow, by name."""
    (answer,) = await ask(target, method=method)

    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", allow)


async def test_head_is_a_wrong_method_without_a_body() -> None:
    """As in nsqd; the next answer is not mistaken for its body."""
    head, get = await ask("/ping", method="HEAD"), await ask("/ping")

    assert (head[0].status, head[0].headers["allow"], get[0].status) == (405, "GET, OPTIONS", 200)


async def test_options_tell_the_methods() -> None:
    """Of a path, with nothing else; of the server as a whole, nothing at all."""
    ping, both, every = await ask("/ping", "/both", "*", method="OPTIONS")

    assert (ping.status, ping.headers["allow"], ping.body) == (200, "GET, OPTIONS", b"")
    assert both.headers["allow"] == "GET, OPTIONS, POST"
    assert (every.status, every.body, "allow" in every.headers) == (200, b"", False)


@pytest.mark.parametrize(
    "target,location",
    [
        ("/ping/", "/ping"),
        ("//ping", "/ping"),
        ("/PING", "/ping"),
        ("/Ping/", "/ping"),
        ("/a/../ping", "/ping"),
        ("/./ping?a=1&b", "/ping?a=1&b"),
        ("/../../ping", "/ping"),
        ("/%70ING/?a=%20", "/ping?a=%20"),
        ("/CONFIG/x", "/config/x"),
        ("/config/x/", "/config/x"),
        ("/CONFIG/%0D%0AX:y", "/config/%0D%0AX:y"),
        ("/CONFIG/%22%3E", "/config/%22%3E"),
        ('/ping//?"><script>', '/ping?"><script>'),
    ],
)
async def test_near_miss_is_redirected(target: str, location: str) -> None:
    """If slashes, dots or case are all that is wrong, for good; nothing of it can end a header or a tag."""
    (answer,) = await ask(target)

    assert (answer.status, answer.headers["location"]) == (301, location)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body.startswith(b'<a href="/')
    assert answer.body.count(b"<") == 2


async def test_near_miss_of_another_method_keeps_it() -> None:
    """It is redirected for this once, and without a body."""
    (answer,) = await ask("/PUB/?topic=t", method="POST")

    assert (answer.status, answer.headers["location"], answer.body) == (307, "/pub?topic=t", b"")


async def test_near_miss_of_a_wrong_method_is_none() -> None:
    """Only what would be answered there is sent there."""
    assert [each.status for each in await ask("/PING", "/pub/", method="DELETE")] == [404, 404]


@pytest.mark.parametrize("query", ["a;b", "%", "a=%zz"])
async def test_query_that_is_none_is_refused(query: str) -> None:
    """With nsqd's word for it, as soon as the endpoint asks for parameters."""
    (answer,) = await ask(f"/ping?{query}")

    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


async def test_refusal_is_told() -> None:
    """Its status, its word and its headers; the connection stays."""
    first, second = await ask("/refusing", "/ping")

    assert (first.status, first.code, first.headers["x-why"], second.status) == (418, "TEAPOT", "tea", 200)


async def test_failure_is_told_without_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    """The log has it; neither has the target, which may have what is secret."""
    (answer,) = await ask("/failing?secret=s3cret")

    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert record.event == "http_failed"  # type: ignore[attr-defined]
    assert "s3cret" not in caplog.text


async def test_closed_node_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """With nsqd's word for it, and nothing in the log: whoever polls would fill it."""
    (answer,) = await ask("/closed")

    assert (answer.status, answer.code) == (503, "EXITING")
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "length,is_over",
    [(262_144, False), (262_145, True)],
)
async def test_connection_ends_behind_a_large_body_that_is_not_wanted(length: int, is_over: bool) -> None:
    """The answer says so, as nsqd's does."""
    async with served(ROUTES) as server:
        talk = await server.connect()
        answer = await talk.call("POST", "/both", length=length)

        assert (answer.headers.get("connection") == "close") is is_over


async def test_client_that_waits_for_leave_is_not_misunderstood() -> None:
    """If its body is not wanted the connection ends: what comes next might be the body, or a request."""
    async with served(ROUTES, patience=Patience(lingering=0.01)) as server:
        await _next_is_no_body(server)


async def _next_is_no_body(server: Served) -> None:
    talk = await server.connect()
    answer = await talk.call("POST", "/both", length=50, headers={"Expect": "100-continue"})

    assert (answer.status, answer.headers["connection"]) == (200, "close")

    await talk.send(request("GET", "/ping"))

    assert await talk.rest() == b""
