"""The HTTP API of an nsqlookupd, to the byte."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nsqlite.clock import VirtualClock
from nsqlite.net.http.budget import Budget
from nsqlite.net.http.connection import Patience
from nsqlite.net.http.guard import Guard
from nsqlite.net.http.router import Router
from nsqlite.net.http.sending import MAX_SENDING_BYTES, Sending
from nsqlite.net.http.server import HttpServer
from nsqlite.net.lookupd.http_api import LookupdApi
from nsqlite.net.lookupd.registry import NEVER_NS, Producer, Registry
from tests.net.lookupd.client import identify, request
from tests.net.lookupd.rig import Rig, rigged

JSON = "application/json; charset=utf-8"
NSQ = "nsq; version=1.0"
LOOKS = 1_000_000


def test_ping_is_plain(rig: Rig) -> None:
    """OK, as text, without NSQ's header."""
    answer = rig.get("/ping")

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"OK", "text/plain; charset=utf-8")
    assert "x-nsq-content-type" not in answer.headers


def test_info_has_the_version(rig: Rig) -> None:
    """That of the NSQ it is compatible with."""
    answer = rig.get("/info")

    assert (answer.body, answer.headers["content-type"]) == (b'{"version":"1.3.0"}', JSON)
    assert answer.headers["x-nsq-content-type"] == NSQ


def test_lookup_tells_channels_and_producers(rig: Rig) -> None:
    """In nsqlookupd's order of keys; an unknown topic is 404, one without producers is not."""
    client = rig.producer("t c", topology_zone="z")

    answer = rig.get("/lookup?topic=t")

    assert answer.status == 200
    assert answer.body == (
        b'{"channels":["c"],"producers":[{"remote_address":"%s","hostname":"host","broadcast_address":"here",'
        b'"tcp_port":4150,"http_port":4151,"version":"1.3.0"}]}' % client.name.encode()
    )
    assert rig.get("/lookup?topic=u").body == b'{"message":"TOPIC_NOT_FOUND"}'

    client.close()
    rig.until(lambda: rig.get("/lookup?topic=t").body == b'{"channels":["c"],"producers":[]}')


def test_topics_and_channels_are_listed(rig: Rig) -> None:
    """Those without producers, too; an unknown topic has no channels."""
    rig.producer("t c", "t d")
    rig.post("/topic/create?topic=u")

    assert rig.get("/topics").json == {"topics": ["t", "u"]}
    assert rig.get("/channels?topic=t").json == {"channels": ["c", "d"]}
    assert rig.get("/channels?topic=u").body == b'{"channels":[]}'
    assert rig.get("/channels?topic=no").body == b'{"channels":[]}'


def test_nodes_have_as_many_tombstones_as_topics(rig: Rig) -> None:
    """In the same order; nsqadmin fails otherwise. A tombstoned topic is flagged until its time is up."""
    client = rig.producer("t c", "u")
    rig.post("/topic/tombstone?topic=u&node=here:4151")

    assert rig.get("/nodes").body == (
        b'{"producers":[{"remote_address":"%s","hostname":"host","broadcast_address":"here","tcp_port":4150,'
        b'"http_port":4151,"version":"1.3.0","tombstones":[false,true],"topics":["t","u"]}]}' % client.name.encode()
    )
    assert rig.get("/lookup?topic=u").json["producers"] == []

    rig.advance(45)

    assert rig.get("/nodes").json["producers"][0]["tombstones"] == [False, False]
    assert len(rig.get("/lookup?topic=u").json["producers"]) == 1


def test_silent_producers_are_not_shown(rig: Rig) -> None:
    """After the timeout; one PING brings them back."""
    client = rig.producer("t")

    rig.advance(301)

    assert rig.get("/nodes").body == b'{"producers":[]}'
    assert rig.get("/lookup?topic=t").json["producers"] == []
    assert client.ask(b"PING\n") == b"OK"
    assert len(rig.get("/nodes").json["producers"]) == len(rig.get("/lookup?topic=t").json["producers"]) == 1


def test_debug_shows_what_has_producers(rig: Rig) -> None:
    """Keys sorted, keys of each producer, too; a tombstone stays in sight when it has expired."""
    client = rig.producer("t c")
    rig.post("/topic/create?topic=alone")
    heard = rig.clock.wall_ns()
    rig.post("/topic/tombstone?topic=t&node=here:4151")
    rig.advance(100)

    answer = rig.get("/debug")

    found = {
        "broadcast_address": "here",
        "hostname": "host",
        "http_port": 4151,
        "id": client.name,
        "last_update": heard,
        "tcp_port": 4150,
        "tombstoned": False,
        "tombstoned_at": NEVER_NS,
        "version": "1.3.0",
    }
    buried = found | {"tombstoned": True, "tombstoned_at": heard}
    expected = {"channel:t:c": [found], "client::": [found], "topic:t:": [buried]}
    assert answer.body == json.dumps(expected, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "target,status,code",
    [
        ("/topic/create", 400, "MISSING_ARG_TOPIC"),
        ("/topic/create?topic=a$", 400, "INVALID_ARG_TOPIC"),
        ("/topic/create?topic=", 400, "INVALID_ARG_TOPIC"),
        ("/topic/create?topic=%zz", 400, "INVALID_REQUEST"),
        ("/topic/create?topic=a;b", 400, "INVALID_REQUEST"),
        ("/topic/delete", 400, "MISSING_ARG_TOPIC"),
        ("/channel/create?channel=c", 400, "MISSING_ARG_TOPIC"),
        ("/channel/create?topic=a$", 400, "INVALID_ARG_TOPIC"),
        ("/channel/create?topic=a", 400, "MISSING_ARG_CHANNEL"),
        ("/channel/create?topic=a&channel=c$", 400, "INVALID_ARG_CHANNEL"),
        ("/channel/delete?topic=a&channel=*", 400, "INVALID_ARG_CHANNEL"),
        ("/channel/delete?topic=a&channel=no", 404, "CHANNEL_NOT_FOUND"),
        ("/topic/tombstone?node=n", 400, "MISSING_ARG_TOPIC"),
        ("/topic/tombstone?topic=t", 400, "MISSING_ARG_NODE"),
        ("/topics", 405, "METHOD_NOT_ALLOWED"),
        ("/stats", 404, "NOT_FOUND"),
    ],
)
def test_wrong_posts_are_refused(rig: Rig, target: str, status: int, code: str) -> None:
    """With nsqlookupd's status and word, and nothing is made."""
    answer = rig.post(target)

    assert (answer.status, answer.json) == (status, {"message": code})
    assert (answer.headers["content-type"], answer.headers["x-nsq-content-type"]) == (JSON, NSQ)
    assert rig.get("/topics").json == {"topics": []}


@pytest.mark.parametrize("target", ["/lookup", "/channels"])
def test_wrong_gets_are_refused(rig: Rig, target: str) -> None:
    """A topic is needed, and a query that is one."""
    assert rig.get(target).body == b'{"message":"MISSING_ARG_TOPIC"}'
    assert rig.get(target + "?topic=%zz").body == b'{"message":"INVALID_REQUEST"}'


def test_creating_and_deleting_are_silent(rig: Rig) -> None:
    """200, no body and no type, also for what is there, or is not."""
    targets = [
        "/topic/create?topic=a",
        "/topic/create?topic=a",
        "/channel/create?topic=b&channel=c%23ephemeral",
        "/channel/create?topic=b&channel=d",
        "/channel/delete?topic=b&channel=d",
        "/topic/delete?topic=nobody",
        "/topic/tombstone?topic=nobody&node=n",
    ]

    answers = [rig.post(each) for each in targets]

    assert [(each.status, each.body) for each in answers] == [(200, b"")] * len(targets)
    assert {each.headers["x-nsq-content-type"] for each in answers} == {NSQ}
    assert rig.get("/topics").json == {"topics": ["a", "b"]}
    assert rig.get("/channels?topic=b").json == {"channels": ["c#ephemeral"]}

    rig.post("/topic/delete?topic=b")

    assert rig.get("/topics").json == {"topics": ["a"]}
    assert rig.get("/channels?topic=b").json == {"channels": []}


def test_star_is_a_name_like_any_other(rig: Rig) -> None:
    """nsqlookupd takes it for all topics, and deletes them."""
    rig.producer("t c")

    assert rig.get("/lookup?topic=*").status == 404
    assert rig.get("/channels?topic=*").json == {"channels": []}
    rig.post("/topic/tombstone?topic=*&node=here:4151")
    rig.post("/topic/delete?topic=*")

    assert len(rig.get("/lookup?topic=t").json["producers"]) == 1


def test_bodies_are_never_used(rig: Rig) -> None:
    """Whatever stands there, and however much: parameters are in the query only."""
    answer = request(rig.lookupd.http_address, "/topic/create?topic=a", "POST", body=b"topic=b" * 100_000)

    assert answer.status == 200
    assert rig.get("/topics").json == {"topics": ["a"]}


def test_pages_of_other_sites_change_nothing(rig: Rig) -> None:
    """A browser says where a request comes from; nsqadmin and curl say nothing, and may."""
    refused = rig.post("/topic/create?topic=a", Origin="http://evil.example")

    assert (refused.status, rig.get("/topics").json) == (403, {"topics": []})


def test_full_registry_makes_nothing() -> None:
    """It is the server's fault, not the request's."""
    with rigged(max_registrations=1) as (rig, _):
        assert rig.post("/topic/create?topic=a").status == 200
        answer = rig.post("/channel/create?topic=a&channel=c")

        assert (answer.status, answer.json) == (503, {"message": "TOO_MANY_REGISTRATIONS"})
        assert rig.post("/topic/create?topic=a").status == 200


def test_names_of_producers_are_escaped_as_go_does(rig: Rig) -> None:
    """What HTML would mind; and bytes that were no UTF-8 are U+FFFD."""
    client = rig.connect()
    client.ask(identify(hostname="<&>\u2028é"))

    body = rig.get("/nodes").body

    assert b'"hostname":"\\u003c\\u0026\\u003e\\u2028\xc3\xa9"' in body


# -- long answers --------------------------------------------------------------------------


@asynccontextmanager
async def long_answers(
    max_bytes: int = MAX_SENDING_BYTES, patience: Patience | None = None
) -> AsyncIterator[tuple[Budget, tuple[str, int]]]:
    """An API whose /debug is 15 MB long, more than sockets hold: the budget of its answers, and its address."""
    registry = Registry(
        inactive_producer_timeout_ns=1,
        tombstone_lifetime_ns=1,
        max_registrations=1 << 20,
        max_producer_registrations=1 << 20,
    )
    producer = Producer("127.0.0.1:1", "h", "b", 1, 1, "1.3.0")
    registry.identify(producer, 0, 0)
    for number in range(60_000):
        registry.register(producer, f"topic{number}")
    sending = Sending(max_bytes)
    api = LookupdApi(registry, VirtualClock())
    server = HttpServer(Router(api.routes(), Guard(), sending).handle, patience=patience)
    await server.start("127.0.0.1:0")
    try:
        address: Any = server.address
        yield sending.budget, address
    finally:
        await server.close()


async def until(has_come: Callable[[], bool]) -> None:
    """Return when something has come about, or fail."""
    for _ in range(LOOKS):
        if has_come():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came about")


async def asked(budget: Budget, address: tuple[str, int]) -> socket.socket:
    """A client that has asked for everything, and does not read."""
    client = socket.create_connection(address)
    client.sendall(b"GET /debug HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: budget.held_bytes > 0)
    return client


async def test_answers_that_nobody_takes_are_bounded() -> None:
    """One may be of any length; another has to wait until there is room. Short ones are not counted."""
    async with long_answers(max_bytes=1) as (budget, address):
        client = await asked(budget, address)

        refused = await asyncio.to_thread(request, address, "/debug")
        short = await asyncio.to_thread(request, address, "/info")

        assert (refused.status, refused.json, short.status) == (503, {"message": "TOO_MANY_ANSWERS"}, 200)

        client.close()
        await until(lambda: budget.held_bytes == 0)
        found = await asyncio.to_thread(request, address, "/debug")

        assert len(found.json) == 60_001
        assert list(found.json) == sorted(found.json)
        assert budget.held_bytes == 0


async def test_client_that_takes_no_answer_is_left() -> None:
    """When its time is up, its connection is cut in the middle of the answer."""
    async with long_answers(patience=Patience(sending=0)) as (budget, address):
        client = socket.create_connection(address)
        client.sendall(b"GET /debug HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(20)
        size = 0
        try:
            while data := await asyncio.to_thread(client.recv, 1 << 20):
                size += len(data)
        except ConnectionError:
            pass
        client.close()

        assert size < 14_000_000
        assert budget.held_bytes == 0
