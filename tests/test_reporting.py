"""Counters never lie: each says what it counts, now, and restarts keep what they must."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import nsqlite
from nsqlite.errors import StoreError
from tests.fakes.clock import AttendedClock

LEVELS = ["memory", "commit"]


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture(params=LEVELS)
def node(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node that must end the test sound."""
    path = None if request.param == "memory" else tmp_path / "store"
    with nsqlite.open(path, durability=request.param, clock=clock) as made:
        yield made
        made.check()


def channel_stats(node: nsqlite.Node) -> nsqlite.ChannelStats:
    """The only channel's."""
    [topic] = node.stats().topics
    [channel] = topic.channels
    return channel


def test_stats_of_a_new_node_are_empty(node: nsqlite.Node, clock: AttendedClock) -> None:
    """No topics, healthy, opened now."""
    stats = node.stats()

    assert (stats.version, stats.health, stats.topics) == (nsqlite.__version__, "OK", ())
    assert stats.start_time_ns == clock.wall_ns()


def test_channels_counters_follow_a_life(node: nsqlite.Node, clock: AttendedClock) -> None:
    """Routed, finished, requeued, timed out, deferred and waiting are each counted where they belong."""
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"12345"] * 6)
    node.publish("orders", b"later", delay=3600)
    with channel.consume(max_in_flight=5) as consumer:
        messages = [next(consumer) for _ in range(5)]
        messages[0].finish()
        messages[1].requeue()
        messages[2].requeue(delay=100)
        client = channel_stats(node).clients[0]
        clock.advance(60)
        stats = channel_stats(node)

    assert (client.ready_count, client.in_flight_count, client.message_count) == (5, 2, 5)
    assert (client.finish_count, client.requeue_count) == (1, 2)
    assert (stats.depth, stats.in_flight_count, stats.deferred_count) == (4, 0, 2)
    assert (stats.message_count, stats.requeue_count, stats.timeout_count, stats.finish_count) == (7, 2, 2, 1)
    assert stats.client_count == 1
    assert channel_stats(node).clients == ()


def test_topics_counters_count_publishes(node: nsqlite.Node) -> None:
    """Accepted messages and the bytes of their bodies, whatever became of them; depth is the topic's own."""
    topic = node.topic("orders")
    topic.publish(b"12")
    topic.publish_many([b"345", b"6"], delay=5)

    [stats] = node.stats().topics

    assert (stats.topic_name, stats.message_count, stats.message_bytes, stats.depth) == ("orders", 3, 6, 3)
    assert (stats.paused, stats.dropped_count, stats.channels) == (False, 0, ())


def test_what_is_due_is_counted_before_anybody_moves_it(node: nsqlite.Node, clock: AttendedClock) -> None:
    """However many fall due at once, every counter counts them where they now belong."""
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"x"] * 2500)
    for message in channel.receive_many(2500, timeout=0):
        message.requeue(delay=10)
    node.publish_many("orders", [b"x"] * 2500)
    while channel.receive_many(2500, timeout=0):
        pass

    clock.advance(60)

    stats = channel_stats(node)
    assert (stats.depth, stats.in_flight_count, stats.deferred_count) == (5000, 0, 0)
    assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (5000, 0, 0)


def test_oldest_waiting_is_an_age(node: nsqlite.Node, clock: AttendedClock) -> None:
    """Of messages that wait, not of those in flight or deferred; nought when none does."""
    channel = node.topic("orders").channel("billing")
    assert channel_stats(node).oldest_waiting_seconds == 0.0
    node.publish("orders", b"old")
    clock.advance(5)
    node.publish("orders", b"new")
    clock.advance(2)
    assert channel_stats(node).oldest_waiting_seconds == 7.0

    held = channel.receive(timeout=0)
    assert channel_stats(node).oldest_waiting_seconds == 2.0
    held.requeue()

    assert channel_stats(node).oldest_waiting_seconds == 7.0


def test_stats_are_a_frozen_tree(node: nsqlite.Node) -> None:
    """A snapshot stays what it was, and sorts by name."""
    for name in ("b", "a"):
        node.topic(name).channel("y")
        node.topic(name).channel("x")

    stats = node.stats()
    node.publish("a", b"x")

    assert [topic.topic_name for topic in stats.topics] == ["a", "b"]
    assert [channel.channel_name for channel in stats.topics[0].channels] == ["x", "y"]
    assert stats.topics[0].message_count == 0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        stats.health = "x"


def test_settled_messages_are_backend_depth(tmp_path: Path, clock: AttendedClock) -> None:
    """What only the disk holds is told apart, in the topic and in its channels."""
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        waiting, routed = node.topic("waiting"), node.topic("routed")
        routed.channel("billing")
        for topic in (waiting, routed):
            topic.publish_many([b"x"] * 5)
        before = node.stats().topics
        node.engine.background.settle_now()
        for topic in (waiting, routed):
            topic.publish(b"y")
        after = node.stats().topics

    assert (before[0].channels[0].backend_depth, before[1].backend_depth) == (0, 0)
    assert (after[0].channels[0].depth, after[0].channels[0].backend_depth) == (6, 5)
    assert (after[1].depth, after[1].backend_depth) == (6, 5)


def test_what_waits_in_the_topic_is_not_its_channels_backend_depth(tmp_path: Path, clock: AttendedClock) -> None:
    """Messages that a paused topic holds in memory do not hide what a channel has on disk."""
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        topic = node.topic("orders")
        topic.channel("billing")
        topic.publish_many([b"x"] * 5)
        topic.pause()
        node.engine.background.settle_now()
        topic.publish_many([b"y"] * 10)

        stats = channel_stats(node)

    assert (stats.depth, stats.backend_depth) == (5, 5)


def test_counters_begin_anew_and_depths_do_not(tmp_path: Path, clock: AttendedClock) -> None:
    """After a restart events are counted from nought; what is owed is owed."""
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        node.publish_many("orders", [b"x"] * 5)
        first, second, third = channel.receive_many(3, timeout=0)
        first.finish()
        second.requeue()
        third.requeue(delay=50)

    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        [topic] = node.stats().topics
        stats = topic.channels[0]

    assert (topic.message_count, topic.message_bytes) == (0, 0)
    assert (stats.message_count, stats.finish_count, stats.requeue_count) == (0, 0, 0)
    assert (stats.depth, stats.deferred_count, stats.in_flight_count) == (3, 1, 0)


def test_store_bytes_are_what_the_store_takes(tmp_path: Path, clock: AttendedClock) -> None:
    """Bytes of files on disk, and of messages in memory."""
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        node.publish_many("orders", [b"x" * 1000] * 100)
        told = node.stats()
        held = sum(file.stat().st_size for file in (tmp_path / "store").rglob("*") if file.is_file())
        node.engine.background.settle_now()
        settled = node.stats()

    assert abs(told.store_bytes - held) < 64 * 1024
    assert told.journal_bytes > 100_000
    assert settled.journal_bytes == 0


def test_backup_is_a_store_with_all_that_was_answered(tmp_path: Path, clock: AttendedClock) -> None:
    """A copy of a node in use opens by itself, while the original goes on."""
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        node.publish_many("orders", [b"a", b"b", b"c"])
        channel.receive(timeout=0).finish()
        held = channel.receive(timeout=0)

        node.backup(tmp_path / "copy")

        node.publish("orders", b"after")
        held.finish()
        with nsqlite.open(tmp_path / "copy", clock=clock) as copy:
            copied = copy.topic("orders").channel("billing")
            assert [m.body for m in copied.receive_many(9, timeout=0)] == [b"b", b"c"]
            copy.check()
        assert channel.depth == 2


def test_backup_of_memory_is_refused(tmp_path: Path) -> None:
    """There is no store to copy, and none is made."""
    with nsqlite.open() as node, pytest.raises(StoreError, match="open it with a path"):
        node.backup(tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


def test_backup_into_a_store_is_refused(tmp_path: Path, clock: AttendedClock) -> None:
    """Neither onto itself nor onto another; what is there stays."""
    nsqlite.open(tmp_path / "other").close()
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        node.publish("orders", b"x")
        for name in ("store", "other"):
            with pytest.raises(StoreError):
                node.backup(tmp_path / name)
        assert node.topic("orders").depth == 1

    with nsqlite.open(tmp_path / "other") as other:
        assert other.topics == []
