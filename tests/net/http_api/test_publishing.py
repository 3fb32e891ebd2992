"""Tests of /pub and /mpub."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.net.http_api import publishing
from tests.fakes.gated import GatedStorage, open_gated
from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import Answer, HttpClient, http, request
from tests.net.rig import Rig, rigged

MAX_MSG_SIZE, MAX_BODY_SIZE = 1000, 5000  # of the fixture's node
SECOND_NS = 1_000_000_000


def sized(*bodies: bytes, count: int | None = None) -> bytes:
    """A batch as MPUB has it."""
    told = len(bodies) if count is None else count
    return struct.pack(">I", told) + b"".join(struct.pack(">I", len(each)) + each for each in bodies)


@pytest.fixture
def channel(rig: Rig) -> nsqlite.Channel:
    """A channel that gets what is published."""
    return rig.node.topic("t").channel("c")


def received(channel: nsqlite.Channel) -> list[bytes]:
    """What is there."""
    return [each.body for each in channel.receive_many(10_000, timeout=0)]


def refused(answer: Answer) -> tuple[int, str]:
    """How a request was refused."""
    return answer.status, answer.code


# -- one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"x", b"\0\xff\r\n\r\n", bytes(MAX_MSG_SIZE)])
def test_body_is_the_message(client: HttpClient, channel: nsqlite.Channel, body: bytes) -> None:
    """Any bytes, up to the limit."""
    answer = client.post("/pub?topic=t", body)

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"OK", "text/plain; charset=utf-8")
    assert received(channel) == [body]


def test_chunks_and_encodings_are_the_message(client: HttpClient, channel: nsqlite.Channel) -> None:
    """However it comes; what looks packed is not unpacked."""
    client.call("POST", "/pub?topic=t", chunks=(b"ab", b"c"))
    client.post("/pub?topic=t", b"no gzip", **{"Content-Encoding": "gzip"})
    client.post("/pub?topic=t", b"a=b", **{"Content-Type": "application/x-www-form-urlencoded"})

    assert received(channel) == [b"abc", b"no gzip", b"a=b"]


def test_body_that_comes_late_is_the_message(rig: Rig, client: HttpClient, channel: nsqlite.Channel) -> None:
    """It is waited for."""
    client.send(request("POST", "/pub?topic=t", length=6) + b"abc")
    rig.settle()
    client.send(b"def")

    assert client.answer().status == 200
    assert received(channel) == [b"abcdef"]


def test_topic_is_made(rig: Rig, client: HttpClient) -> None:
    """By the first who publishes to it."""
    client.post("/pub?topic=new", b"x")

    assert rig.node.topic("new").depth == 1


@pytest.mark.parametrize(
    "target,body,status,code",
    [
        ("/pub?topic=t", b"", 400, "MSG_EMPTY"),
        ("/pub", b"", 400, "MSG_EMPTY"),
        ("/pub", b"x", 400, "MISSING_ARG_TOPIC"),
        ("/pub?topic=", b"x", 400, "INVALID_TOPIC"),
        ("/pub?topic=a+b", b"x", 400, "INVALID_TOPIC"),
        ("/pub?topic=%", b"x", 400, "INVALID_REQUEST"),
        ("/pub?topic=t;u", b"x", 400, "INVALID_REQUEST"),
        ("/pub?topic=%", bytes(MAX_MSG_SIZE + 1), 413, "MSG_TOO_BIG"),
        ("/pub?topic=t&defer=", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=1s", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=1.5", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=-1", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=3600001", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=1%0A", b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=" + "9" * 5_000, b"x", 400, "INVALID_DEFER"),
        ("/pub?topic=t&defer=%D9%A1", b"x", 400, "INVALID_DEFER"),
    ],
)
def test_publishing_is_refused(rig: Rig, client: HttpClient, target: str, body: bytes, status: int, code: str) -> None:
    """With nsqd's words, in nsqd's order; nothing is published, and the connection stays."""
    assert refused(client.post(target, body)) == (status, code)
    assert client.post("/pub?topic=t", b"x").status == 200
    assert rig.node.topic("t").depth == 1


def test_chunks_over_the_limit_are_refused(client: HttpClient, channel: nsqlite.Channel) -> None:
    """However many come in one read."""
    assert refused(client.call("POST", "/pub?topic=t", chunks=(bytes(MAX_MSG_SIZE), b"x"))) == (413, "MSG_TOO_BIG")
    assert received(channel) == []


@pytest.mark.parametrize("defer,seconds", [("1500", 1.5), ("+1500", 1.5), ("0", 0), ("-0", 0), ("3600000", 3600)])
def test_message_is_deferred(
    rig: Rig, client: HttpClient, channel: nsqlite.Channel, defer: str, seconds: float
) -> None:
    """By so many milliseconds."""
    assert client.post(f"/pub?topic=t&defer={defer.replace('+', '%2B')}", b"later").status == 200
    if seconds:
        rig.clock.advance(seconds - 0.001)

        assert (channel.deferred_count, received(channel)) == (1, [])

        rig.clock.advance(0.001)
    assert received(channel) == [b"later"]


# -- many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body,messages",
    [
        (b"a\nb\nc", [b"a", b"b", b"c"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"\n\na\n\n\nb", [b"a", b"b"]),
        (b"a\r\nb", [b"a\r", b"b"]),
        (b"", []),
        (b"\n\n\n", []),
        (bytes(MAX_MSG_SIZE) + b"\n" + bytes(MAX_MSG_SIZE), [bytes(MAX_MSG_SIZE)] * 2),
    ],
)
def test_lines_are_messages(client: HttpClient, channel: nsqlite.Channel, body: bytes, messages: list[bytes]) -> None:
    """Those that are not empty; it is fine if none is left."""
    for target in ("/mpub?topic=t", "/mpub?topic=t&binary=0", "/mpub?topic=t&binary=false"):
        assert client.post(target, body).body == b"OK"
        assert received(channel) == messages


@pytest.mark.parametrize("binary", ["true", "1", "yes", ""])
def test_sized_batch_is_messages(client: HttpClient, channel: nsqlite.Channel, binary: str) -> None:
    """Any bytes; what is behind the last is not looked at."""
    assert client.post(f"/mpub?topic=t&binary={binary}", sized(b"a\nb", b"\0") + b"rest").body == b"OK"
    assert received(channel) == [b"a\nb", b"\0"]


@pytest.mark.parametrize(
    "target,body,status,code",
    [
        ("/mpub", b"a", 400, "MISSING_ARG_TOPIC"),
        ("/mpub?topic=a+b", b"a", 400, "INVALID_TOPIC"),
        ("/mpub?topic=%", bytes(MAX_BODY_SIZE + 1), 413, "BODY_TOO_BIG"),
        ("/mpub?topic=t", b"a\n" + bytes(MAX_MSG_SIZE + 1) + b"\nb", 413, "MSG_TOO_BIG"),
        ("/mpub?topic=t&binary=1", b"", 413, "BAD_BODY"),
        ("/mpub?topic=t&binary=1", b"\0\0\0", 413, "BAD_BODY"),
        ("/mpub?topic=t&binary=1", sized(), 413, "BAD_BODY"),
        ("/mpub?topic=t&binary=1", sized(b"a", count=0xFFFFFFFF), 413, "BAD_BODY"),
        ("/mpub?topic=t&binary=1", sized(b"a", count=2), 413, "BAD_MESSAGE"),
        ("/mpub?topic=t&binary=1", sized(b"a", b""), 413, "BAD_MESSAGE"),
        ("/mpub?topic=t&binary=1", sized(b"a", bytes(MAX_MSG_SIZE + 1)), 413, "BAD_MESSAGE"),
        ("/mpub?topic=t&binary=1", sized(b"a", b"abc")[:-1], 413, "BAD_MESSAGE"),
    ],
)
def test_batch_is_refused_as_a_whole(
    rig: Rig, client: HttpClient, target: str, body: bytes, status: int, code: str
) -> None:
    """With nsqd's words; none of its messages is published."""
    assert refused(client.post(target, body)) == (status, code)
    assert rig.node.topic("t").depth == 0


def test_batch_in_chunks_is_bounded(client: HttpClient, channel: nsqlite.Channel) -> None:
    """The first line that is too long, or ends too late, is told."""
    line = bytes(499) + b"\n"

    assert client.call("POST", "/mpub?topic=t", chunks=(line,) * 10).status == 200
    assert len(received(channel)) == 10
    assert refused(client.call("POST", "/mpub?topic=t", chunks=(line * 11,))) == (413, "BODY_TOO_BIG")
    assert refused(client.call("POST", "/mpub?topic=t", chunks=(bytes(1001) + line * 11,))) == (413, "MSG_TOO_BIG")
    assert received(channel) == []


def test_batches_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what their messages take until they are kept: the next waits for its turn, and is published then."""
    monkeypatch.setattr(publishing, "BATCHES_BYTES", 1)
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock, max_body_size=1000, max_msg_size=1000)
    with rigged(node, clock, http_address=LOCAL) as rig:
        channel = node.topic("t").channel("c")
        clients = [http(rig) for _ in range(3)]
        storage.sync_gate.shut()
        for number, client in enumerate(clients):
            client.send(request("POST", "/mpub?topic=t", b"%d\n" % number * 300))
            rig.settle()
        storage.sync_gate.await_arrival()
        rig.settle()

        assert not select.select([each.socket for each in clients], [], [], 0)[0]

        storage.sync_gate.open()

        assert [each.answer().status for each in clients] == [200] * 3
        assert received(channel) == [b"0"] * 300 + [b"1"] * 300 + [b"2"] * 300


# -- durability -------------------------------------------------------------------------------


def test_answer_waits_for_the_disk(gated: tuple[Rig, GatedStorage]) -> None:
    """OK means that it is on stable storage."""
    rig, storage = gated
    client = HttpClient(rig.listener.http_address)
    storage.sync_gate.shut()
    client.send(request("POST", "/pub?topic=t", b"x"))
    storage.sync_gate.await_arrival()
    rig.settle()

    assert not select.select([client.socket], [], [], 0)[0]

    storage.sync_gate.open()

    assert client.answer().body == b"OK"
    client.close()


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Rig, GatedStorage]]:
    """A listener at a node that waits for a sync, and the gate before its syncs."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("t").channel("c")
    with rigged(node, clock, http_address=LOCAL) as made:
        yield made, storage
        storage.sync_gate.open()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Rig, GatedStorage]]:
    """A node at "commit" whose store is full, and does not get empty until it is let."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock, "commit", max_store_bytes=64 << 20)
    storage.settle_gate.shut()
    with rigged(node, clock, http_address=LOCAL) as rig:
        topic = node.topic("t")
        topic.channel("c")
        client = http(rig)
        try:
            while not rig.server.door._is_waiting:
                client.send(request("POST", "/pub?topic=t", bytes(1_000_000)))
                rig.until(lambda: bool(select.select([client.socket], [], [], 0)[0]) or rig.server.door._is_waiting)
                if not rig.server.door._is_waiting:
                    assert client.answer().status == 200
            yield rig, storage
        finally:
            storage.settle_gate.open()


def test_full_store_refuses_when_its_time_is_up(full: tuple[Rig, GatedStorage]) -> None:
    """Ten seconds, unless full_timeout says something else; others are served meanwhile."""
    rig, _ = full
    client, other = rig._clients[-1], http(rig)

    assert other.get("/stats?format=json").status == 200

    rig.advance(9)

    assert not select.select([client.socket], [], [], 0)[0]

    rig.advance(1)

    assert isinstance(client, HttpClient)
    assert refused(client.answer()) == (503, "EXITING")


def test_batches_wait_for_room_as_messages_do(full: tuple[Rig, GatedStorage]) -> None:
    """They are not refused at once where there is none now."""
    rig, storage = full
    other = http(rig)
    other.send(request("POST", "/mpub?topic=t", b"\n".join([bytes(1000)] * 2000)))
    rig.settle()

    assert not select.select([other.socket], [], [], 0)[0]

    rig.node.topic("t").channel("c").empty()
    storage.settle_gate.open()

    assert other.answer().status == 200


def test_full_store_goes_on_when_room_is_made(full: tuple[Rig, GatedStorage]) -> None:
    """What waits is published as if nothing had been."""
    rig, storage = full
    client = rig._clients[-1]
    rig.node.topic("t").channel("c").empty()
    storage.settle_gate.open()

    assert isinstance(client, HttpClient)
    assert client.answer().status == 200


def test_listener_closes_though_publishers_wait(
    full: tuple[Rig, GatedStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are given up: their connections end, and their messages are whole or nowhere."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.04)
    rig, _ = full
    rig.listener.close()

    assert rig._clients[-1].rest() == b""


def test_closed_node_takes_nothing() -> None:
    """It says so, and the log is quiet."""
    with rigged(http_address=LOCAL) as rig:
        rig.node.topic("t")
        client = http(rig)
        client.get("/ping")
        rig.node.close()

        for target in ("/pub?topic=t", "/pub?topic=new", "/mpub?topic=t", "/pub?topic=t&defer=1"):
            assert refused(client.post(target, b"x")) == (503, "EXITING")
        assert rig.lines == []
