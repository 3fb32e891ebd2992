"""Tests of /stats as text."""

from __future__ import annotations

import re
import socket
from typing import Any, TypeVar

import attrs

from nsqlite._version import __version__
from nsqlite.net.http_api.statistics_text import client_line, text_parts
from nsqlite.net.memory_stats import MemoryStats
from nsqlite.stats import ChannelStats, ClientStats, Latency, Percentile, PubCount, TopicStats
from tests.interop.transcripts.wire import pub
from tests.net.raw_http import HttpClient
from tests.net.rig import Rig

T = TypeVar("T")
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def page(*topics: TopicStats, memory: MemoryStats | None = None, producers: tuple[ClientStats, ...] = ()) -> str:
    """The page of these."""
    parts = text_parts(
        health="OK",
        start_time_ns=START_NS,
        now_ns=START_NS + 3_723 * SECOND_NS,
        memory=memory,
        topics=topics,
        producers=producers,
    )
    return b"".join(parts).decode()


def test_empty_page_says_so() -> None:
    """What there is not is named."""
    assert page() == (
        f"nsqd v1.3.0 (built w/nsqlite {__version__})\n"
        "start_time 2023-11-14T22:13:20Z\n"
        "uptime 1h2m3s\n"
        "\nHealth: OK\n"
        "\nTopics: None\n"
        "\nProducers: None\n"
    )


def test_client_is_a_line() -> None:
    """One that publishes by what it published, any other by what it consumes."""
    consumer = ClientStats("1", 5, 4, 3, 2, 1, hostname="h", user_agent="ua", version="V2", remote_address="[::1]:77")
    counts = (PubCount("t", 1), PubCount("u", 2))
    producer = ClientStats(
        "2", 0, 0, 0, 0, 0, hostname="p", remote_address="@", connect_ts=1_700_000_000, pub_counts=counts
    )

    assert client_line(consumer, 60 * SECOND_NS) == (
        "[V2 h:77 ua              ] state: 3 inflt: 4    rdy: 5    fin: 2        re-q: 1        msgs: 3        "
        "connected: 1m0s"
    )
    assert client_line(producer, START_NS + SECOND_NS) == (
        "[V2 p:@                  ] msgs: 3        topics: t=1,u=2 connected: 1s"
    )


def test_client_in_the_process_is_shown() -> None:
    """As in the JSON: it is on this host, and its library is this one."""
    line = client_line(ClientStats("1", 0, 0, 0, 0, 0), 0)

    assert line.startswith(f"[V2 {socket.gethostname()}:0 nsqlite/{__version__}")


def test_page_of_a_node_lists_everything(rig: Rig, client: HttpClient) -> None:
    """Topics, their channels, those channels' clients, and who publishes; what is paused is marked."""
    rig.subscriber("t", "c", rdy=1)
    rig.connect().ask(pub("t", b"x"))
    rig.node.topic("t").channel("d").pause()
    rig.node.topic("u").pause()
    rig.settle()
    answer = client.get("/stats")
    text = answer.body.decode()

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.search(r"^   \[t {14}\] depth: 0     be-depth: 0     msgs: 1        e2e%: $", text, re.MULTILINE)
    assert re.search(r"^\*P \[u", text, re.MULTILINE)
    assert re.search(
        r"^      \[c {24}\] depth: 0     be-depth: 0     inflt: 1    def: 0    re-q: 0 ", text, re.MULTILINE
    )
    assert re.search(r"^   \*P \[d", text, re.MULTILINE)
    assert re.search(r"^        \[V2 127\.0\.0\.1:[0-9]+ +\] state: 3 inflt: 1    rdy: 1 ", text, re.MULTILINE)
    assert re.search(r"^Producers:\n   \[V2 .*\] msgs: 1 .* topics: t=1 connected: 0s$", text, re.MULTILINE)
    assert re.search(r"^Memory:\n   heap_objects {13}\t[0-9]+$", text, re.MULTILINE)


def test_page_leaves_out_what_is_not_wanted(rig: Rig, client: HttpClient) -> None:
    """By the parameters of the JSON; a format that is none is text."""
    rig.subscriber("t", "c")
    rig.node.topic("u")
    text = client.get("/stats?format=xml&topic=t&include_clients=false&include_mem=false").body.decode()

    assert "[t " in text
    assert not [part for part in ("[u ", "[V2", "Memory") if part in text]
    assert "Topics: None" in client.get("/stats?topic=nope").body.decode()


def test_latencies_have_units() -> None:
    """One place behind the point, in the unit that fits."""
    values = (2.5e9, 12e6, 999e3, 0)
    latency = Latency(4, tuple(Percentile(0.9, int(value)) for value in values))
    details = {"paused": False, "e2e_processing_latency": latency}
    channel = zeros(ChannelStats, channel_name="c", clients=(), **details)
    text = page(zeros(TopicStats, topic_name="t", channels=(channel,), **details))

    assert text.count("e2e%: 2.5s, 12.0ms, 999.0us, 0.0ns\n") == 2


def zeros(kind: type[T], **known: Any) -> T:
    """A snapshot in which everything else is 0."""
    names = [field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING]  # type: ignore[arg-type]
    return kind(**(dict.fromkeys(names, 0) | known))
