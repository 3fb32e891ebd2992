"""Tests of /stats as JSON."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest

import nsqlite
from nsqlite.net.http_api import statistics
from nsqlite.net.http_api.statistics import Wanted, client_fields, slowly
from nsqlite.stats import ClientStats, PubCount
from tests.interop.transcripts.wire import pub
from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import HttpClient, http, request
from tests.net.rig import OK, Rig, rigged

CHANNEL_KEYS = [
    "channel_name",
    "depth",
    "backend_depth",
    "in_flight_count",
    "deferred_count",
    "message_count",
    "requeue_count",
    "timeout_count",
    "client_count",
    "clients",
    "paused",
    "e2e_processing_latency",
]


def test_empty_node_tells_little(rig: Rig, client: HttpClient) -> None:
    """In nsqd's order of keys."""
    answer = client.get("/stats?format=json&include_mem=false")

    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    start_time = rig.node.engine.start_time_ns // 1_000_000_000
    assert answer.body == (
        b'{"version":"1.3.0","health":"OK","start_time":%d,"topics":[],"producers":null}' % start_time
    )


def test_topics_and_channels_are_told(rig: Rig, client: HttpClient) -> None:
    """By name, with all counters, in nsqd's order of keys."""
    for name in ("b", "a"):
        rig.node.topic("t").channel(name)
    rig.node.topic("s")
    consumer = rig.subscriber("t", "a", rdy=1)
    assert rig.connect().ask(pub("t", b"123")) == OK
    rig.node.topic("t").publish(b"4567", delay=60)
    rig.node.topic("s").pause()
    message_id, _ = consumer.message()
    consumer.send(b"REQ " + message_id + b" 0\n")
    consumer.message()

    told = client.get("/stats?format=json&include_clients=false&include_mem=false").json
    assert [topic["topic_name"] for topic in told["topics"]] == ["s", "t"]
    empty, topic = told["topics"]
    assert (empty["channels"], empty["paused"]) == ([], True)
    assert (topic["message_count"], topic["message_bytes"], topic["depth"], topic["paused"]) == (2, 7, 0, False)
    assert [each["channel_name"] for each in topic["channels"]] == ["a", "b"]
    first, second = topic["channels"]
    assert list(first) == CHANNEL_KEYS
    assert (first["in_flight_count"], first["deferred_count"], first["requeue_count"]) == (1, 1, 1)
    assert (first["client_count"], first["clients"], second["depth"]) == (1, None, 1)
    assert first["e2e_processing_latency"] == {"count": 0, "percentiles": None}
    assert told["producers"] is None


def test_clients_and_producers_are_told(rig: Rig, client: HttpClient) -> None:
    """Consumers with their channel, who publishes at the end."""
    rig.subscriber("t", "c", rdy=5)
    producer = rig.connect()
    producer.ask(pub("t", b"x"))
    producer.ask(pub("u", b"x"))
    rig.settle()
    with rig.node.topic("t").channel("c").consume():
        told = client.get("/stats?format=json").json
    far, here = told["topics"][0]["channels"][0]["clients"]
    (found,) = told["producers"]
    of_topic = client.get("/stats?format=json&topic=u").json["producers"][0]

    assert (far["ready_count"], here["remote_address"]) == (5, "127.0.0.1:0")
    assert (here["hostname"], here["user_agent"]) == (socket.gethostname(), f"nsqlite/{nsqlite.__version__}")
    assert here["connect_ts"] == far["connect_ts"] > 0
    assert far["remote_address"].startswith("127.0.0.1:")
    assert "pub_counts" not in far
    assert found["pub_counts"] == [{"topic": "t", "count": 1}, {"topic": "u", "count": 1}]
    assert of_topic["pub_counts"] == [{"topic": "u", "count": 1}]
    assert "memory" in told
    assert all(isinstance(each, int) for each in told["memory"].values())


def test_topic_and_channel_are_filters(rig: Rig, client: HttpClient) -> None:
    """A topic without the channel is left out; one that is not there is null, as in nsqd."""
    rig.node.topic("t").channel("c")
    rig.node.topic("t").channel("d")
    rig.node.topic("u").channel("d")

    def names(query: str) -> list[tuple[str, list[str]]] | None:
        topics = client.get(f"/stats?format=json&{query}").json["topics"]
        if topics is None:
            return None
        return [(each["topic_name"], [channel["channel_name"] for channel in each["channels"]]) for each in topics]

    assert names("topic=t") == [("t", ["c", "d"])]
    assert names("topic=t&channel=c") == [("t", ["c"])]
    assert names("channel=c") == [("t", ["c"])]
    assert names("channel=d") == [("t", ["d"]), ("u", ["d"])]
    assert names("channel=e") == []
    assert names("topic=v") is None


def test_latencies_are_told() -> None:
    """Those of the percentiles that are kept, the highest first."""
    clock = nsqlite.VirtualClock()
    node = nsqlite.open(clock=clock, e2e_processing_latency_percentiles=(0.5, 0.99))
    with rigged(node, clock, http_address=LOCAL) as rig:
        channel = node.topic("t").channel("c")
        node.topic("t").publish(b"x")
        clock.advance(2)
        with channel.receive(timeout=0):  # type: ignore[union-attr]
            pass
        topic = http(rig).get("/stats?format=json").json["topics"][0]

    latency = topic["channels"][0]["e2e_processing_latency"]
    assert latency["count"] == 1
    assert [each["quantile"] for each in latency["percentiles"]] == [0.99, 0.5]
    assert latency["percentiles"][0]["value"] == pytest.approx(2e9, rel=0.05)


def test_query_that_is_none_is_refused(client: HttpClient) -> None:
    """As everywhere."""
    answer = client.get("/stats?format=json;")

    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "params,wanted",
    [
        ({}, Wanted("", "", True, True)),
        ({"topic": "t", "channel": "c"}, Wanted("t", "c", True, True)),
        ({"include_clients": "false", "include_mem": "0"}, Wanted("", "", False, False)),
        ({"include_clients": "no", "include_mem": ""}, Wanted("", "", True, True)),
    ],
)
def test_parameters_are_read_as_nsqd_reads_them(params: dict[str, str], wanted: Wanted) -> None:
    """What is no boolean is true."""
    assert Wanted.of(params) == wanted


def test_client_is_told_in_full() -> None:
    """Who is in the process is shown with an address; what an auth server said only if it did."""
    here = ClientStats("1", 2, 3, 4, 5, 6)
    far = ClientStats(
        "2",
        0,
        0,
        0,
        0,
        0,
        hostname="h",
        version="V2",
        remote_address="1.2.3.4:5",
        authed=True,
        auth_identity="bob",
        auth_identity_url="http://x",
        pub_counts=(PubCount("t", 1), PubCount("u", 2)),
    )

    assert client_fields(here)["remote_address"] == "127.0.0.1:0"
    assert client_fields(here)["version"] == "V2"
    assert not {"authed", "auth_identity", "auth_identity_url", "pub_counts"} & set(client_fields(here))
    assert client_fields(far, "u")["pub_counts"] == [{"topic": "u", "count": 2}]
    assert (client_fields(far)["authed"], client_fields(far)["auth_identity"]) == (True, "bob")


@pytest.fixture
def many() -> Iterator[Rig]:
    """A node with a page of statistics that is no trifle."""
    with rigged(http_address=LOCAL) as rig:
        for number in range(300):
            rig.node.topic(f"t{number:03}").channel("c")
        yield rig


def test_few_are_made_at_once(many: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait; everybody gets an answer, and the loop serves clients in between."""
    monkeypatch.setattr(statistics, "SLICE_SECONDS", 0)
    clients = [http(many) for _ in range(10)]
    for client in clients:
        client.send(request("GET", "/stats?format=json"))
    many.is_served()
    answers = [client.answer() for client in clients]

    assert [len(json.loads(each.body)["topics"]) >= 300 for each in answers] == [True] * 10


def test_topics_may_go_while_they_are_told(many: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is told is whole."""
    monkeypatch.setattr(statistics, "SLICE_SECONDS", 0)
    client = http(many)
    client.send(request("GET", "/stats?format=json"))
    for number in range(300):
        many.node.delete_topic(f"t{number:03}")

    assert len(client.answer().json["topics"]) <= 300


async def test_parts_are_made_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn between two slices."""
    monkeypatch.setattr(statistics, "SLICE_SECONDS", -1)
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    whole = await slowly(b"%d" % number for number in range(10))
    task.cancel()

    assert whole == b"0123456789"
    assert len(turns) >= 9


def test_closed_node_has_no_statistics(rig: Rig, client: HttpClient) -> None:
    """It says that it is exiting; the log is quiet however often it is asked."""
    rig.node.topic("t")
    client.get("/ping")
    rig.node.close()

    for target in ("/stats", "/stats?format=json"):
        answer = client.get(target)
        assert (answer.status, answer.code) == (503, "EXITING")
    assert rig.lines == []
