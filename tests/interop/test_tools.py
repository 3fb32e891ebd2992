"""NSQ's own tools do their jobs with nodes: by address, beside the real nsqd, which proves the test, and by lookup."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import quote_plus

import pytest

from tests.interop.clients.steps import settled
from tests.interop.cluster.members import Cluster, cluster, found
from tests.interop.cluster.talking import drain, make, publish
from tests.interop.cluster.tools import tool, web_server
from tests.interop.servers import DAEMONS, LOOKUPDS, Server, until
from tests.interop.transcripts.wire import dpub

BODIES: Final = [b"line %d" % number for number in range(300)]
BINARY: Final = [*(bytes([number]) for number in range(256)), bytes(range(256)) * 400]
_numbers: Final = itertools.count()


@pytest.fixture(scope="module", params=list(DAEMONS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind."""
    with DAEMONS[request.param]() as running:
        yield running


@pytest.fixture(scope="module", params=list(LOOKUPDS))
def nodes(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes, found by either nsqlookupd."""
    with cluster(request.param, "node", "node") as made:
        yield made


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"topic-{next(_numbers)}"


def by_lookup(made: Cluster) -> list[str]:
    """How a consumer is told to look its topic up, again and again."""
    return [f"--lookupd-http-address={made.lookupd.http_address}", "--consumer-opt=lookupd_poll_interval,100ms"]


def tailed(server: Server, topic: str) -> bool:
    """Whether somebody has subscribed on a channel of nsq_tail's own."""
    channels = [each["channels"] for each in server.stats()["topics"] if each["topic_name"] == topic]
    names = [each["channel_name"] for each in itertools.chain(*channels) if each["client_count"] == 1]
    return any(name.startswith("tail") and name.endswith("#ephemeral") for name in names)


def no_channel_left(server: Server, topic: str) -> bool:
    """Whether a topic has no channel any more."""
    return [each["channels"] for each in server.stats()["topics"] if each["topic_name"] == topic] == [[]]


# -- nsq_tail --------------------------------------------------------------------------------


def test_tail_prints_what_comes(server: Server, topic: str) -> None:
    """Of several topics, with their names; its channel goes with it."""
    topics = [topic, topic + "-too"]
    flags = [f"--topic={each}" for each in topics]
    with tool("nsq_tail", f"--nsqd-tcp-address={server.tcp_address}", "--print-topic", *flags) as tail:
        for each in topics:
            until(lambda each=each: tailed(server, each), "nsq_tail has subscribed")
            publish(server, each, *BODIES)
            assert tail.lines(len(BODIES)) == [each.encode() + b" | " + body for body in BODIES]
        tail.stop()

    for each in topics:
        until(lambda each=each: no_channel_left(server, each), "the channel has gone with its last client")


def test_tail_of_so_many(nodes: Cluster, topic: str) -> None:
    """By lookup; it takes as many messages as it was told, from both nodes, and leaves the others."""
    for each in nodes.members:
        publish(each, topic, *BODIES[:10])
        make(each, topic, "archive")
    found(nodes.lookupd, topic, nodes.ports(), {"archive"})

    soon = ["--consumer-opt=msg_timeout,1s"]  # what it had not finished when it ended comes again, later
    with tool("nsq_tail", *by_lookup(nodes), f"--topic={topic}", "--channel=archive", "-n=15", *soon) as tail:
        got = Counter(tail.lines(15))
        tail.ends()

    left = [body for each in nodes.members for body in drain(each, topic, "archive", _depth(each, topic, "archive"))]
    assert not got - Counter(BODIES[:10] * 2)
    assert not Counter(BODIES[:10] * 2) - (got + Counter(left))


def _depth(server: Server, topic: str, channel: str) -> int:
    """How many wait in a channel, once nobody has any in flight."""
    until(lambda: server.channel(topic, channel)["in_flight_count"] == 0, "nothing is in flight")
    return int(server.channel(topic, channel)["depth"])


# -- to_nsq ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--producer-opt=snappy,true",), ("--producer-opt=deflate,true",)])
def test_to_nsq_publishes_every_line(server: Server, topic: str, options: tuple[str, ...]) -> None:
    """In order, empty ones left out; also compressed."""
    make(server, topic, "all")
    with tool("to_nsq", f"--nsqd-tcp-address={server.tcp_address}", f"--topic={topic}", *options) as to_nsq:
        to_nsq.type(b"\n\n".join(BODIES) + b"\n")
        to_nsq.ends()

    assert drain(server, topic, "all", len(BODIES)) == BODIES


def test_to_nsq_publishes_to_several(nodes: Cluster, topic: str) -> None:
    """Each gets everything; the delimiter may be any byte."""
    for each in nodes.members:
        make(each, topic, "all")
    addresses = [f"--nsqd-tcp-address={each.tcp_address}" for each in nodes.members]
    with tool("to_nsq", *addresses, f"--topic={topic}", "--delimiter=\t", "--rate=2000") as to_nsq:
        to_nsq.type(b"".join(body + b"\n\t" for body in BODIES))
        to_nsq.ends()

    for each in nodes.members:
        assert drain(each, topic, "all", len(BODIES)) == [body + b"\n" for body in BODIES]


# -- nsq_to_file -----------------------------------------------------------------------------


def to_file(folder: Path, *more: str) -> list[str]:
    """How nsq_to_file is told where and how often to write."""
    return [f"--output-dir={folder}", "--sync-interval=50ms", *more]


def test_to_file_writes_all(server: Server, topic: str, tmp_path: Path) -> None:
    """In order; what it has finished is in the file."""
    make(server, topic, "nsq_to_file")
    publish(server, topic, *BODIES)
    flags = to_file(tmp_path, f"--topic={topic}", "--filename-format=<TOPIC>.log")
    with tool("nsq_to_file", f"--nsqd-tcp-address={server.tcp_address}", *flags) as writer:
        settled(server, topic, len(BODIES), "nsq_to_file")
        assert (tmp_path / f"{topic}.log").read_bytes().splitlines() == BODIES
        publish(server, topic, b"the last one")
        settled(server, topic, len(BODIES) + 1, "nsq_to_file")
        writer.stop()

    assert (tmp_path / f"{topic}.log").read_bytes() == b"\n".join([*BODIES, b"the last one", b""])


def test_to_file_that_was_killed_loses_nothing(nodes: Cluster, topic: str, tmp_path: Path) -> None:
    """What it had not written to its file comes to its successor, when its time is over."""
    server = nodes.members[0]
    make(server, topic, "nsq_to_file")
    name = [f"--nsqd-tcp-address={server.tcp_address}", f"--topic={topic}", "--filename-format=<TOPIC>.log"]
    late = [f"--output-dir={tmp_path / 'first'}", "--sync-interval=1h", "--consumer-opt=msg_timeout,1s"]
    with tool("nsq_to_file", *name, *late) as writer:
        publish(server, topic, *BODIES[:20])
        until(lambda: server.channel(topic, "nsq_to_file")["depth"] == 0, "all are in its hands")
        writer.signal(signal.SIGKILL)
    until(lambda: server.channel(topic, "nsq_to_file")["client_count"] == 0, "it has gone")
    channel = server.channel(topic, "nsq_to_file")
    held = channel["in_flight_count"] + channel["depth"]

    with tool("nsq_to_file", *name, *to_file(tmp_path)) as writer:
        settled(server, topic, 20, "nsq_to_file")
        writer.stop()

    assert held >= 10  # it finishes the first one at once, when it has been told of no more yet
    assert sorted((tmp_path / f"{topic}.log").read_bytes().splitlines()) == sorted(BODIES[20 - held : 20])


def test_to_file_rotates_and_compresses(nodes: Cluster, topic: str, tmp_path: Path) -> None:
    """It finds every topic that fits a pattern; its files are moved when they are complete."""
    topics = [topic + "-a", topic + "-b"]
    for member, name in zip(nodes.members, topics, strict=True):
        publish(member, name, *BODIES)
    work = tmp_path / "work"
    for folder in (work, tmp_path / "done"):
        folder.mkdir()
    flags = [f"--topic-pattern=^{topic}-", "--topic-refresh=100ms", "--gzip", "--rotate-size=100", f"--work-dir={work}"]
    with tool(
        "nsq_to_file", *by_lookup(nodes), *to_file(tmp_path / "done", *flags, "--filename-format=<TOPIC><REV>")
    ) as writer:
        for member, name in zip(nodes.members, topics, strict=True):
            settled(member, name, len(BODIES), "nsq_to_file")
        writer.stop()

    assert list(work.iterdir()) == []
    for name in topics:
        files = sorted((tmp_path / "done").glob(f"{name}*.gz"))
        assert len(files) > 1
        assert b"".join(gzip.decompress(each.read_bytes()) for each in files).splitlines() == BODIES


# -- nsq_to_http -----------------------------------------------------------------------------

# Or it would wait for a minute and a half after a failure, and back off.
AT_ONCE: Final = ("--consumer-opt=default_requeue_delay,50ms", "--consumer-opt=max_backoff_duration,0s")


def test_to_http_posts_each_message(server: Server, topic: str) -> None:
    """Binary, too; what is refused is requeued, and comes again."""
    make(server, topic, "nsq_to_http")
    publish(server, topic, *BINARY)

    with web_server(lambda _request, number: 500 if number in (0, 7) else 204) as web:
        flags = ["--content-type=application/x-test", "--header=X-Test: yes", f"--post={web.url}/a?b=c", *AT_ONCE]
        address = f"--nsqd-tcp-address={server.tcp_address}"
        with tool("nsq_to_http", address, f"--topic={topic}", "-n=10", *flags) as poster:
            channel = settled(server, topic, len(BINARY), "nsq_to_http")
            poster.stop()

    assert channel["requeue_count"] == 2
    assert {(each.method, each.target) for each in web.requests} == {("POST", "/a?b=c")}
    headers = {(each.headers["content-type"], each.headers["x-test"]) for each in web.requests}
    assert headers == {("application/x-test", "yes")}
    counts = Counter(each.body for each in web.requests)
    assert sorted(counts) == sorted(BINARY)
    assert sum(counts.values()) == len(BINARY) + 2


def test_to_http_gets_by_lookup(nodes: Cluster, topic: str) -> None:
    """One request for a message of either node, which stands in the address."""
    for each in nodes.members:
        publish(each, topic, *BINARY[:100])
    found(nodes.lookupd, topic, nodes.ports())

    with (
        web_server() as web,
        tool("nsq_to_http", *by_lookup(nodes), f"--topic={topic}", f"--get={web.url}/?body=%s") as getter,
    ):
        nodes.settled(topic, "nsq_to_http", 200)
        getter.stop()

    expected = Counter(f"/?body={quote_plus(body)}" for body in BINARY[:100] * 2)
    assert Counter(each.target for each in web.requests) == expected


def test_to_http_posts_to_pub(nodes: Cluster, topic: str) -> None:
    """From one node to the other one's HTTP API."""
    first, second = nodes.members
    make(second, "copy-" + topic, "all")
    publish(first, topic, *BINARY)
    target = f"--post=http://{second.http_address}/pub?topic=copy-{topic}"
    with tool("nsq_to_http", f"--nsqd-tcp-address={first.tcp_address}", f"--topic={topic}", target) as poster:
        settled(first, topic, len(BINARY), "nsq_to_http")
        poster.stop()

    assert sorted(drain(second, "copy-" + topic, "all", len(BINARY))) == sorted(BINARY)


# -- nsq_to_nsq ------------------------------------------------------------------------------


def test_to_nsq_there_and_back(topic: str) -> None:
    """From a node to the real nsqd, and from there to the node again: every byte arrives."""
    with ExitStack() as stack:
        node, nsqd = (stack.enter_context(DAEMONS[kind]()) for kind in ("node", "nsqd"))
        make(node, "back", "all")
        ways = [(node, nsqd, topic, "there"), (nsqd, node, "there", "back")]
        for source, destination, of, to in ways:
            make(source, of, "nsq_to_nsq")
            flags = [f"--nsqd-tcp-address={source.tcp_address}", f"--topic={of}", f"--destination-topic={to}"]
            stack.enter_context(tool("nsq_to_nsq", *flags, f"--destination-nsqd-tcp-address={destination.tcp_address}"))
        publish(node, topic, *BINARY)

        got = drain(node, "back", "all", len(BINARY))

        settled(node, topic, len(BINARY), "nsq_to_nsq")
        settled(nsqd, "there", len(BINARY), "nsq_to_nsq")
    assert sorted(got) == sorted(BINARY)


def test_to_nsq_filters_by_lookup(nodes: Cluster, topic: str) -> None:
    """What has a field goes, with some of its fields, from both nodes to both in turn."""
    messages = [{"number": number, "even": number % 2 == 0, "kind": "ab"[number % 2]} for number in range(100)]
    for each in nodes.members:
        make(each, "copy-" + topic, "all")
        publish(each, topic, *(json.dumps(message).encode() for message in messages))
    found(nodes.lookupd, topic, nodes.ports())
    fields = ["--require-json-field=kind", "--require-json-value=a", "--whitelist-json-field=number"]
    flags = [f"--destination-nsqd-tcp-address={each.tcp_address}" for each in nodes.members] + fields
    with tool(
        "nsq_to_nsq", *by_lookup(nodes), f"--topic={topic}", f"--destination-topic=copy-{topic}", *flags,
        "--mode=round-robin",
    ) as copier:  # fmt: skip
        nodes.settled(topic, "nsq_to_nsq", 200)
        copier.stop()

    depths = [each.channel("copy-" + topic, "all")["depth"] for each in nodes.members]
    got = [
        body
        for each, depth in zip(nodes.members, depths, strict=True)
        for body in drain(each, "copy-" + topic, "all", depth)
    ]
    assert depths == [50, 50]
    assert Counter(got) == Counter(b'{"number":%d}' % number for number in range(0, 100, 2)) + Counter(
        b'{"number":%d}' % number for number in range(0, 100, 2)
    )


# -- nsq_stat --------------------------------------------------------------------------------


def busy(server: Server, topic: str, stack: ExitStack) -> None:
    """A channel with messages in every place, and a client."""
    make(server, topic, "ch")
    client = stack.enter_context(socket.create_connection((server.host, server.port), timeout=10))
    client.sendall(b"  V2" + dpub(topic, 60_000, b"later") + f"SUB {topic} ch\nRDY 3\n".encode())
    publish(server, topic, *BODIES[:10])
    until(lambda: server.channel(topic, "ch").get("in_flight_count") == 3, "three are in flight")
    until(lambda: server.channel(topic, "ch").get("deferred_count") == 1, "one is deferred")


@pytest.mark.parametrize("by", ["address", "lookup"])
def test_stat_adds_up(nodes: Cluster, topic: str, by: str) -> None:
    """Its figures are those of both nodes together."""
    with ExitStack() as stack:
        for each in nodes.members:
            busy(each, topic, stack)
        found(nodes.lookupd, topic, nodes.ports())
        addresses = [f"--nsqd-http-address={each.http_address}" for each in nodes.members]
        if by == "lookup":
            addresses = [f"--lookupd-http-address={nodes.lookupd.http_address}"]
        flags = [f"--topic={topic}", "--channel=ch", "--interval=100ms", "--count=1"]
        with tool("nsq_stat", *addresses, *flags) as stat:
            _, names, row = stat.lines(3)
            stat.ends()
        stats = [each.channel(topic, "ch") for each in nodes.members]

    figures = dict(zip(names.replace(b"|", b"").split(), map(int, row.replace(b"|", b"").split()), strict=True))
    assert figures.pop(b"mem") + figures.pop(b"disk") == 14  # of which more is on disk the later one asks
    assert figures == {
        b"ingress": 0,
        b"egress": 0,
        b"total": sum(each["depth"] for each in stats),
        b"inflt": 6,
        b"def": 2,
        b"req": 0,
        b"t-o": 0,
        b"msgs": 22,
        b"clients": 2,
    }
