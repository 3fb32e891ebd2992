"""A client's commands happen one at a time, and are answered when what they promise is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.stats import PubCount
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import GatedStorage, open_gated
from tests.interop.transcripts.wire import dpub, identify, mpub, pub, sized
from tests.net.client import ask_all, bodies, fin, frames, identified, is_silent
from tests.net.rig import ERROR, OK, Rig, rigged

PUBLISHES = {"PUB": pub("t", b"a"), "MPUB": mpub("t", b"a", b"b"), "DPUB": dpub("t", 1000, b"a")}


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A listener at a node in memory."""
    with rigged() as made:
        yield made


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Rig, GatedStorage]]:
    """A listener at a node that waits for a sync, and the gate before its syncs."""
    clock = AttendedClock()
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("t")
    with rigged(node, clock) as made:
        yield made, storage
        storage.sync_gate.open()


# -- topics and channels -------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHES)
def test_publishing_makes_the_topic(rig: Rig, name: str) -> None:
    """A topic comes into being with its first message."""
    client = rig.connect()

    assert client.ask(PUBLISHES[name]) == OK

    assert rig.node.topics == ["t"]
    assert rig.node.topic("t").depth == (2 if name == "MPUB" else 1)


def test_batch_makes_its_topic_before_its_body_is_there(rig: Rig) -> None:
    """As with nsqd, the line is enough, and whatever becomes of the body."""
    client = rig.connect()

    client.send(mpub("t", b"a")[:-1])
    rig.until(lambda: rig.node.topics == ["t"])
    client.half_close()

    assert client.frame()[0] == ERROR
    assert rig.node.topic("t").depth == 0


def test_subscribing_makes_topic_and_channel(rig: Rig) -> None:
    """A consumer may be there before the first publisher; what comes then is for its channel."""
    client = rig.subscriber("t", "c", rdy=1)

    assert rig.node.topic("t").channels == ["c"]
    rig.node.publish("t", b"x")
    assert bodies(client, 1) == [b"x"]


def test_first_channel_gets_what_waits_in_the_topic(rig: Rig) -> None:
    """What was published before there was a channel is for the first one."""
    publisher = rig.connect()
    ask_all(publisher, [pub("t", b"a"), mpub("t", b"b", b"c")])

    client = rig.subscriber("t", "c", rdy=3)

    assert bodies(client, 3) == [b"a", b"b", b"c"]


def test_delayed_publish_comes_after_its_delay(rig: Rig) -> None:
    """DPUB counts milliseconds."""
    client = rig.subscriber(rdy=1)
    rig.connect().ask(dpub("t", 1500, b"x"))
    rig.advance(1.499)
    is_early = not is_silent(client)

    rig.advance(0.001)

    assert not is_early
    assert bodies(client, 1) == [b"x"]


def test_channel_takes_no_more_consumers_than_it_may() -> None:
    """One more is refused by name and number, and may come when another has gone."""
    clock = nsqlite.VirtualClock()
    with rigged(nsqlite.open(clock=clock, max_channel_consumers=1), clock) as rig:
        first, second = rig.subscriber(), rig.connect()

        answer = second.ask(b"SUB t c\n")

        assert answer == (ERROR, b"E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1")
        first.close()
        rig.until(lambda: not rig.node.topic("t").channel("c")._core.consumers)
        rig.subscriber()


# -- waiting for the disk ------------------------------------------------------------------


def test_publish_is_answered_after_its_sync(gated: tuple[Rig, GatedStorage]) -> None:
    """No OK leaves before the message is on stable storage; other connections are served meanwhile."""
    rig, storage = gated
    client, consumer = rig.connect(), rig.subscriber("t", "c", rdy=1)
    storage.sync_gate.shut()

    client.send(pub("t", b"x"))
    storage.sync_gate.await_arrival()
    rig.settle()
    consumer.send(b"FIN 0123456789abcdef\n")

    assert consumer.frame()[0] == ERROR
    assert is_silent(client)
    assert is_silent(consumer)
    storage.sync_gate.open()
    assert client.frame() == OK
    assert bodies(consumer, 1) == [b"x"]


@pytest.mark.parametrize("name", PUBLISHES)
def test_commands_of_one_client_happen_one_at_a_time(gated: tuple[Rig, GatedStorage], name: str) -> None:
    """What comes behind a publish that is synced waits for its answer, be it a SUB or another publish."""
    rig, storage = gated
    client = rig.connect()
    storage.sync_gate.shut()

    client.send(PUBLISHES[name] + b"SUB t c\n" + pub("u", b"x") + b"NONSENSE\n")
    storage.sync_gate.await_arrival()
    rig.settle()
    during = rig.node.stats().topics
    storage.sync_gate.open()

    assert [(topic.topic_name, topic.message_count, topic.channels) for topic in during] == [("t", 0, ())]
    assert frames(client, 3) == [OK] * 3
    assert client.frame() == (ERROR, b"E_INVALID invalid command NONSENSE")
    assert rig.node.topics == ["t", "u"]


def test_clients_that_publish_during_a_sync_share_the_next(gated: tuple[Rig, GatedStorage]) -> None:
    """However many connections wait, one more sync answers them all."""
    rig, storage = gated
    clients = [rig.connect() for _ in range(20)]
    rig.settle()
    storage.sync_gate.shut()
    clients[0].send(pub("t", b"x"))
    storage.sync_gate.await_arrival()
    for client in clients[1:]:
        client.send(pub("t", b"x"))
    rig.until(lambda: all(peer.is_busy for peer in rig.peers()))
    rig.settle()
    before = storage.sync_count

    storage.sync_gate.open()

    assert [client.frame() for client in clients] == [OK] * 20
    assert storage.sync_count == before + 1


def test_topic_that_is_deleted_meanwhile_is_made_anew(gated: tuple[Rig, GatedStorage]) -> None:
    """A publish that was in line behind the deletion of its topic is the first of the next topic of that name."""
    rig, storage = gated
    first, second = rig.connect(), rig.connect()
    storage.sync_gate.shut()
    first.send(pub("t", b"before"))
    storage.sync_gate.await_arrival()
    deleting = Caller(lambda: rig.node.delete_topic("t"))
    rig.clock.await_sleeper()
    second.send(pub("t", b"behind"))
    rig.until(lambda: all(peer.is_busy for peer in rig.peers()))
    rig.settle()

    storage.sync_gate.open()

    assert first.frame() == second.frame() == OK
    deleting.outcome()
    consumer = rig.subscriber("t", "c", rdy=1)
    assert bodies(consumer, 1) == [b"behind"]
    assert rig.node.topic("t").channel("c").depth == 0


def test_publish_of_a_lost_connection_is_kept(gated: tuple[Rig, GatedStorage]) -> None:
    """Who hangs up before the answer may have published; nothing else is disturbed."""
    rig, storage = gated
    client = rig.connect()
    storage.sync_gate.shut()
    client.send(pub("t", b"x"))
    storage.sync_gate.await_arrival()

    client.reset()
    rig.until(lambda: not rig.peers())
    storage.sync_gate.open()

    rig.until(lambda: rig.node.topic("t").depth == 1)
    assert rig.lines == []


def test_connection_lost_while_subscribing_takes_its_channel_along(gated: tuple[Rig, GatedStorage]) -> None:
    """An ephemeral channel that was made for somebody who has gone meanwhile goes, too."""
    rig, storage = gated
    client = rig.connect()
    storage.sync_gate.shut()
    client.send(pub("t", b"x") + b"SUB t c#ephemeral\n")
    storage.sync_gate.await_arrival()
    client.reset()

    storage.sync_gate.open()

    rig.until(lambda: not rig.peers() and rig.node.topic("t").channels == [])


# -- statistics ----------------------------------------------------------------------------


def test_statistics_tell_who_consumes(rig: Rig) -> None:
    """A channel's clients are shown as they have named themselves, with what they did."""
    client = identified(
        rig,
        identify(
            client_id="me",
            hostname="here",
            user_agent="test/1",
            sample_rate=0,
            topology_region="r",
            topology_zone="z",
        ),
    )
    ask_all(client, [b"SUB t c\n", pub("t", b"a"), pub("t", b"b"), pub("u", b"c")])
    client.send(b"RDY 7\n")
    rig.settle()
    rig.advance(0.25)
    held = [client.message()[0] for _ in range(2)]
    client.send(fin(held[0]) + b"REQ " + held[1] + b" 60000\n")
    rig.settle()

    (stats,) = rig.node.stats().topics[0].channels[0].clients

    assert (stats.client_id, stats.hostname, stats.user_agent) == ("me", "here", "test/1")
    assert (stats.topology_region, stats.topology_zone, stats.version) == ("r", "z", "V2")
    assert (stats.ready_count, stats.in_flight_count, stats.message_count) == (7, 0, 2)
    assert (stats.finish_count, stats.requeue_count, stats.state) == (1, 1, 3)
    assert stats.pub_counts == (PubCount("t", 2), PubCount("u", 1))
    assert stats.remote_address == "{}:{}".format(*client.socket.getsockname())
    assert stats.connect_ts == rig.clock.wall_ns() // 10**9


def test_statistics_tell_who_publishes(rig: Rig) -> None:
    """A client is a producer from its first message on, under its address unless it has a name."""
    silent, producer = rig.connect(), rig.connect()
    rig.settle()
    assert rig.node.stats().producers == ()

    ask_all(producer, [pub("t", b"a"), mpub("t", b"b", b"c"), dpub("t", 5, b"d")])

    (stats,) = rig.node.stats().producers
    assert stats.pub_counts == (PubCount("t", 4),)
    assert (stats.client_id, stats.hostname, stats.state) == ("127.0.0.1", "127.0.0.1", 0)
    producer.close()
    rig.until(lambda: len(rig.peers()) == 1)
    assert rig.node.stats().producers == ()
    assert is_silent(silent)


def test_refused_batch_counts_for_nothing(rig: Rig) -> None:
    """A batch is published whole or not at all."""
    client = rig.connect()

    client.send(b"MPUB t\n" + sized(b"\0\0\0\2" + sized(b"a") + b"\0\0\0\0"))

    assert client.frame() == (ERROR, b"E_BAD_MESSAGE MPUB invalid message(1) body size 0")
    assert rig.node.topic("t").depth == 0
    assert rig.node.stats().producers == ()
