"""Nodes and a real nsqd are one cluster, around nsqd's own nsqlookupd and around ours: clients drain all of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.interop.clients.programs import Consumer, consuming
from tests.interop.clients.steps import hexed
from tests.interop.cluster.members import Cluster, cluster, found, registered
from tests.interop.cluster.talking import ask, drain, make, post, publish
from tests.interop.servers import LOOKUPDS, Server, node_daemon, nsqd, until

CLIENTS: Final = ("pynsq", "gonsq")
TOMBSTONE_SECONDS: Final = 3.0
_numbers: Final = itertools.count()


@pytest.fixture(scope="module", params=list(LOOKUPDS))
def mixed(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes and a real nsqd, around either nsqlookupd."""
    options = {"tombstone_lifetime": TOMBSTONE_SECONDS}
    with cluster(request.param, "node", "node", "nsqd", lookupd_options=options) as made:
        yield made


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"topic-{next(_numbers)}"


def bodies(name: str, count: int = 200) -> list[bytes]:
    """Bodies that tell where they come from."""
    return [f"{name} {number}".encode() for number in range(count)]


def lookups(mixed: Cluster) -> list[str]:
    """Where consumers look a topic up."""
    return [mixed.lookupd.http_address]


# -- who is found ----------------------------------------------------------------------------


def test_producers_topics_and_channels_are_found(mixed: Cluster, topic: str) -> None:
    """Whoever has a topic, and all channels that it has anywhere; a node is described as an nsqd is."""
    one, two, real = mixed.members
    make(one, topic, "a")
    make(two, topic, "b", "e%23ephemeral")
    make(real, topic, "c")
    make(two, topic + "-alone")

    found(mixed.lookupd, topic, mixed.ports(), {"a", "b", "c", "e#ephemeral"})
    found(mixed.lookupd, topic + "-alone", {two.port}, set())
    assert {topic, topic + "-alone"} <= set(mixed.lookupd.ask("/topics")["topics"])
    assert set(mixed.lookupd.ask(f"/channels?topic={topic}")["channels"]) == {"a", "b", "c", "e#ephemeral"}
    nodes = {each["tcp_port"]: each for each in mixed.lookupd.ask("/nodes")["producers"]}
    like_the_real_one = {name: nodes[real.port][name] for name in ("hostname", "broadcast_address", "version")}
    for member in mixed.members:
        told = nodes[member.port]
        assert told.keys() == nodes[real.port].keys()
        assert {name: told[name] for name in like_the_real_one} == like_the_real_one
        assert told["http_port"] == member.http_port
        assert topic in told["topics"]
        assert ask(member.http_address, "/ping").body == b"OK"


def test_deleted_ones_are_not_found(mixed: Cluster, topic: str) -> None:
    """A member that has deleted its topic is found no more, and is again when it has it again."""
    one, two, real = mixed.members
    for each in mixed.members:
        make(each, topic, "ch")
    found(mixed.lookupd, topic, mixed.ports(), {"ch"})

    post(one.http_address, f"/topic/delete?topic={topic}")
    found(mixed.lookupd, topic, {two.port, real.port}, {"ch"})
    publish(one, topic, b"again")
    found(mixed.lookupd, topic, mixed.ports(), {"ch"})


def test_tombstone_hides_a_member_for_its_lifetime(mixed: Cluster, topic: str) -> None:
    """For one topic, and nothing of it is lost."""
    for each in mixed.members:
        for name in (topic, topic + "-other"):
            make(each, name, "ch")
    found(mixed.lookupd, topic, mixed.ports())
    found(mixed.lookupd, topic + "-other", mixed.ports())
    hidden = mixed.members[0]

    post(mixed.lookupd.http_address, f"/topic/tombstone?topic={topic}&node=127.0.0.1:{hidden.http_port}")

    found(mixed.lookupd, topic, mixed.ports() - {hidden.port})
    told = next(each for each in mixed.lookupd.ask("/nodes")["producers"] if each["tcp_port"] == hidden.port)
    assert dict(zip(told["topics"], told["tombstones"], strict=True))[topic]
    found(mixed.lookupd, topic + "-other", mixed.ports())
    found(mixed.lookupd, topic, mixed.ports())


@pytest.mark.parametrize("source, destination", [(0, 2), (2, 0), (0, 1)], ids=["to_nsqd", "from_nsqd", "among_nodes"])
def test_channels_are_there_before_the_first_message(mixed: Cluster, topic: str, source: int, destination: int) -> None:
    """A channel that another member has gets what is published where the topic is new."""
    first, second = mixed.members[source], mixed.members[destination]
    make(first, topic, "a", "b", "gone%23ephemeral")
    found(mixed.lookupd, topic, {first.port}, {"a", "b", "gone#ephemeral"})

    publish(second, topic, *bodies("early", 10))

    for channel in ("a", "b"):
        assert drain(second, topic, channel, 10) == bodies("early", 10)
    assert second.channel(topic, "gone#ephemeral") == {}
    found(mixed.lookupd, topic, {first.port, second.port}, {"a", "b", "gone#ephemeral"})


# -- who consumes ----------------------------------------------------------------------------


def test_consumers_drain_all_members(mixed: Cluster, topic: str) -> None:
    """By lookup, each on its channel: every message of every member, those of before and those of meanwhile."""
    early = {each.port: bodies(f"early {each.port}") for each in mixed.members}
    late = {each.port: bodies(f"late {each.port}") for each in mixed.members}
    for each in mixed.members:
        make(each, topic, *CLIENTS)
        publish(each, topic, *early[each.port])
    found(mixed.lookupd, topic, mixed.ports(), set(CLIENTS))
    every = sorted(hexed(*itertools.chain(*early.values(), *late.values())))

    with ExitStack() as stack:
        consumers = {
            name: stack.enter_context(
                consuming(name, "-", 0, topic=topic, channel=name, lookupds=lookups(mixed), in_flight=60)
            )
            for name in CLIENTS
        }
        for each in mixed.members:
            publish(each, topic, *late[each.port])
        for name, consumer in consumers.items():
            got = consumer.messages(len(every))
            mixed.settled(topic, name, len(every))

            assert sorted(each["body"] for each in got) == every
            assert {each["attempts"] for each in got} == {1}
            assert [each.channel(topic, name)["client_count"] for each in mixed.members] == [1, 1, 1]


@pytest.mark.parametrize("client", CLIENTS)
def test_consumer_finds_a_member_that_comes_later(mixed: Cluster, topic: str, client: str) -> None:
    """Its channel is made there before the first message, and then it connects."""
    one, two, real = mixed.members
    make(real, topic, "ch")
    found(mixed.lookupd, topic, {real.port}, {"ch"})

    with consuming(client, "-", 0, topic=topic, channel="ch", lookupds=lookups(mixed), in_flight=60) as consumer:
        publish(one, topic, *bodies("one", 20))
        got = consumer.messages(20)
        publish(two, topic, *bodies("two", 20))
        got += consumer.messages(20)
        publish(real, topic, *bodies("real", 20))
        got += consumer.messages(20)
        mixed.settled(topic, "ch", 60)

    assert [each["body"] for each in got] == hexed(*bodies("one", 20), *bodies("two", 20), *bodies("real", 20))


# -- who dies, and returns -------------------------------------------------------------------


@pytest.mark.parametrize("lookupd", LOOKUPDS)
def test_killed_node_returns_with_its_backlog(lookupd: str, tmp_path: Path, topic: str) -> None:
    """It is found no more at once; on the same store it is found again, and its consumers get the rest."""
    with ExitStack() as stack, ExitStack() as first_life:
        where = stack.enter_context(LOOKUPDS[lookupd]())
        options = {"nsqlookupd_tcp_addresses": (where.tcp_address,), "data_path": tmp_path}
        real = stack.enter_context(nsqd(nsqlookupd_tcp_addresses=(where.tcp_address,)))
        node = first_life.enter_context(node_daemon(**options))
        for each, name in ((node, "node"), (real, "real")):
            make(each, topic, *CLIENTS)
            publish(each, topic, *bodies(name))
        found(where, topic, {node.port, real.port}, set(CLIENTS))

        first_life.close()
        registered(where, {real.port})
        found(where, topic, {real.port}, set(CLIENTS))
        consumers = {
            name: stack.enter_context(
                consuming(name, "-", 0, topic=topic, channel=name, lookupds=[where.http_address], in_flight=60)
            )
            for name in CLIENTS
        }
        for consumer in consumers.values():
            assert sorted(each["body"] for each in consumer.messages(200)) == sorted(hexed(*bodies("real")))

        same = options | {"tcp_address": node.tcp_address, "http_address": node.http_address}
        again = stack.enter_context(node_daemon(**same))
        found(where, topic, {again.port, real.port}, set(CLIENTS))
        for name, consumer in consumers.items():
            assert [each["body"] for each in consumer.messages(200)] == hexed(*bodies("node"))
            until(lambda name=name: left(again, topic, name) == 0, "all are finished")


def test_node_is_killed_under_its_consumer(tmp_path: Path, topic: str) -> None:
    """In the middle, twice: the consumer comes back by lookup, and every message arrives.

    With go-nsq alone: pynsq waits for ten seconds before it tries the same address again.
    """
    with ExitStack() as stack, ExitStack() as lives:
        where = stack.enter_context(LOOKUPDS["real"]())
        options = {"nsqlookupd_tcp_addresses": (where.tcp_address,), "data_path": tmp_path}
        node = lives.enter_context(node_daemon(**options))
        make(node, topic, "ch")
        publish(node, topic, *bodies("x", 3000))
        found(where, topic, {node.port}, {"ch"})
        consumer = stack.enter_context(
            consuming("gonsq", "-", 0, topic=topic, channel="ch", lookupds=[where.http_address], in_flight=10)
        )
        expected, seen = set(hexed(*bodies("x", 3000))), set[str]()
        for part in (500, 1000):
            seen |= _bodies_of(consumer, part)
            lives.close()
            same = options | {"tcp_address": node.tcp_address, "http_address": node.http_address}
            node = lives.enter_context(node_daemon(**same))
        while seen != expected:
            seen |= _bodies_of(consumer, 1)
        until(lambda: left(node, topic, "ch") == 0, "all are finished")


def _bodies_of(consumer: Consumer, count: int) -> set[str]:
    """The bodies of the next messages; what a client says of a lost connection is no message."""
    got = set[str]()
    while count:
        told = consumer.next()
        assert told, "the consumer has ended"
        if "body" in told:
            got.add(told["body"])
            count -= 1
    return got


def left(server: Server, topic: str, channel: str) -> int:
    """How many messages are not finished yet."""
    got = server.channel(topic, channel)
    return int(got["depth"] + got["in_flight_count"] + got["deferred_count"])
