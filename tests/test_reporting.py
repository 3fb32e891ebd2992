"""Counters never lie: each says what it counts, now, and restarts keep what they must."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import nsqlite
from nsqlite.errors import StoreError
from nsqlite.options import SECOND_NS
from nsqlite.reporting import SLICE_CHANNELS, iter_topic_rows, iter_topic_stats, node_stats, topic_stats
from nsqlite.stats import NO_HISTOGRAM, NO_LATENCY, Latency
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import open_gated

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


def test_requeued_messages_in_memory_are_no_backend_depth(clock: AttendedClock) -> None:
    """Where nothing was ever written to disk, nothing is only there."""
    with nsqlite.open(clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        node.publish("orders", b"x")
        channel.receive(timeout=0).requeue()
        stats = node.stats().topics[0].channels[0]

    assert (stats.depth, stats.backend_depth) == (1, 0)


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


# -- topics, one after another -------------------------------------------------------------


def test_topics_come_one_after_another(node: nsqlite.Node) -> None:
    """Each under its own lock: what happens between two of them is seen by the second."""
    for name in ("a", "b", "c", "d"):
        node.topic(name).channel("x")

    seen = iter_topic_stats(node.engine)
    first = next(seen)
    node.publish("b", b"x")
    node.delete_topic("c")
    second, third = seen

    assert [each.topic_name for each in (first, second, third)] == ["a", "b", "d"]
    assert second.channels[0].depth == 1


def test_rows_of_a_topic_are_what_its_statistics_are_made_of(node: nsqlite.Node) -> None:
    """They have the same counts in the same order."""
    topic = node.topic("orders")
    for name in ("b", "a"):
        topic.channel(name)
    topic.publish(b"x")

    [rows] = iter_topic_rows(node.engine, with_oldest=False)
    stats = topic_stats(node.engine, "orders", with_oldest=False)

    assert stats is not None
    assert rows.counts == attrs.astuple(stats, recurse=False)[2:8]
    assert [row for row, _, _ in rows.channels] == [attrs.astuple(each, recurse=False)[:13] for each in stats.channels]
    assert [row[0] for row, _, _ in rows.channels] == ["a", "b"]


def test_topics_may_be_chosen(node: nsqlite.Node) -> None:
    """Those that are named, in that order; what there is not is left out, and is None alone."""
    for name in ("a", "b", "c"):
        node.topic(name)

    assert [each.topic_name for each in iter_topic_stats(node.engine, ["c", "nothing", "a"])] == ["c", "a"]
    assert topic_stats(node.engine, "nothing") is None
    assert topic_stats(node.engine, "b") == node.stats().topics[1]


def test_clients_and_ages_may_be_left_out(node: nsqlite.Node, clock: AttendedClock) -> None:
    """They cost most; all else is told the same."""
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    clock.advance(5)
    with channel.consume():
        whole = topic_stats(node.engine, "orders")
        short = topic_stats(node.engine, "orders", with_clients=False, with_oldest=False)

    assert whole is not None
    assert short is not None
    assert (whole.channels[0].client_count, len(whole.channels[0].clients)) == (1, 1)
    assert whole.channels[0].oldest_waiting_seconds == 5.0
    assert short.channels == (attrs.evolve(whole.channels[0], clients=(), oldest_waiting_seconds=0.0),)


def test_topic_with_very_many_channels_is_read_in_slices(node: nsqlite.Node) -> None:
    """None is left out or told twice, and they come by name."""
    topic = node.topic("orders")
    names = [f"c{number}" for number in range(SLICE_CHANNELS * 2 + 1)]
    for name in names:
        topic.channel(name)

    stats = topic_stats(node.engine, "orders")

    assert stats is not None
    assert [each.channel_name for each in stats.channels] == sorted(names)


def test_node_stats_take_what_is_known_of_topics(node: nsqlite.Node) -> None:
    """Who wants the node alone, or has the topics, does not pay for them again."""
    node.topic("orders")
    topics = node.stats().topics

    assert node_stats(node.engine, ()).topics == ()
    assert node_stats(node.engine, topics) == node.stats()


# -- times ---------------------------------------------------------------------------------


@pytest.fixture(params=LEVELS)
def timed(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node that measures from publish to finish, over a window of ten minutes."""
    path = None if request.param == "memory" else tmp_path / "store"
    options = {"durability": request.param, "clock": clock, "e2e_processing_latency_percentiles": (0.5, 1.0)}
    with nsqlite.open(path, **options) as made:
        yield made
        made.check()


def test_latency_is_not_measured_unless_asked_for(node: nsqlite.Node, clock: AttendedClock) -> None:
    """No count, no percentiles, no histogram."""
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    clock.advance(1)
    channel.receive(timeout=0).finish()

    [topic] = node.stats().topics

    assert topic.e2e_processing_latency == topic.channels[0].e2e_processing_latency == NO_LATENCY
    assert topic.channels[0].e2e_seconds is None
    assert node.stats().e2e_seconds == NO_HISTOGRAM


def test_latency_is_from_publish_to_finish(timed: nsqlite.Node, clock: AttendedClock) -> None:
    """One by one and in batches, per channel and of the whole topic."""
    topic = timed.topic("orders")
    billing, mail = topic.channel("billing"), topic.channel("mail")
    topic.publish_many([b"x"] * 3)
    clock.advance(1)
    topic.publish(b"y")
    clock.advance(1)
    billing.finish_many(billing.receive_many(10, timeout=0))
    clock.advance(8)
    mail.receive(timeout=0).finish()

    [stats] = timed.stats().topics

    told = {each.channel_name: each.e2e_processing_latency for each in stats.channels}
    assert (told["billing"].count, told["mail"].count, stats.e2e_processing_latency.count) == (4, 1, 5)
    assert [each.quantile for each in told["billing"].percentiles] == [1.0, 0.5]
    assert seconds(told["billing"]) == pytest.approx([2, 2], rel=0.01)
    assert seconds(told["mail"]) == pytest.approx([10, 10], rel=0.01)
    assert seconds(stats.e2e_processing_latency) == pytest.approx([10, 2], rel=0.01)


def test_latency_counts_what_was_finished_alone(timed: nsqlite.Node, clock: AttendedClock) -> None:
    """No requeue, no timeout, no second finish, nothing emptied; a second delivery counts from the publish."""
    channel = timed.topic("orders").channel("billing")
    timed.publish_many("orders", [b"x"] * 4)
    first, second, third, _ = channel.receive_many(4, timeout=0)
    first.finish()
    second.requeue(delay=100)
    clock.advance(60)
    with pytest.raises(nsqlite.NotInFlightError):
        third.finish()
    clock.advance(40)
    again = channel.receive_many(9, timeout=0)
    next(each for each in again if each.id == second.id).finish()
    channel.empty()

    latency = channel_stats(timed).e2e_processing_latency

    assert latency.count == 2
    assert seconds(latency) == pytest.approx([100, 0], rel=0.01)


def test_latency_is_of_the_window_and_its_histogram_of_all_time(timed: nsqlite.Node, clock: AttendedClock) -> None:
    """Ten minutes later the percentiles are noughts; what Prometheus counts stays, deleted channels too."""
    channel = timed.topic("orders").channel("billing")
    timed.publish("orders", b"x")
    clock.advance(2)
    channel.receive(timeout=0).finish()
    assert channel_stats(timed).e2e_processing_latency.count == 1

    clock.advance(600)

    stats = channel_stats(timed)
    assert stats.e2e_processing_latency.count == 0
    assert seconds(stats.e2e_processing_latency) == [0, 0]
    assert stats.e2e_seconds is not None
    assert (stats.e2e_seconds.count, stats.e2e_seconds.sum_seconds) == (1, 2.0)
    timed.topic("orders").delete_channel("billing")
    assert timed.stats().e2e_seconds == stats.e2e_seconds


def test_topic_without_channels_has_no_percentiles(timed: nsqlite.Node) -> None:
    """As nsqd tells it: there is nothing to merge."""
    timed.topic("orders")

    assert timed.stats().topics[0].e2e_processing_latency == NO_LATENCY


def seconds(latency: Latency) -> list[float]:
    """Its percentiles, in seconds."""
    return [each.value_ns / SECOND_NS for each in latency.percentiles]


@pytest.mark.parametrize("durability", ["fsync", "commit"])
def test_syncs_and_settlements_are_timed(tmp_path: Path, clock: AttendedClock, durability: str) -> None:
    """Each that went well is counted, with what it took by the node's own clock."""
    with nsqlite.open(tmp_path / "store", durability=durability, clock=clock) as node:
        before = node.stats()
        node.publish("orders", b"x")
        node.topic("orders").publish_many([b"x"] * 3)
        node.sync()
        node.engine.background.settle_now()
        after = node.stats()

    syncs = 4 if durability == "fsync" else 1  # the topic, two publishes and the call; or the call alone
    assert (before.sync_seconds.count, before.settlement_seconds.count) == (0, 0)
    assert (after.sync_seconds.count, after.settlement_seconds.count) == (syncs, 1)
    assert after.sync_seconds.sum_seconds == 0.0  # time stood still


def test_what_a_sync_takes_is_what_the_clock_says(tmp_path: Path, clock: AttendedClock) -> None:
    """A publish that waits long for its disk is in the bucket that says so; a failed sync is in none."""
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("orders")
    count = node.stats().sync_seconds.count
    storage.sync_gate.shut()
    publisher = Caller(lambda: node.publish("orders", b"x"))
    storage.sync_gate.await_arrival()
    clock.advance(0.15)  # less than the sync thread waits
    storage.sync_gate.open()
    publisher.outcome()
    stats = node.stats().sync_seconds
    storage.failing_syncs = 1
    with pytest.raises(nsqlite.StorageFailedError):
        node.publish("orders", b"y")

    assert (stats.count, stats.sum_seconds) == (count + 1, 0.15)
    assert {bound: number for bound, number in stats.buckets if bound in (0.1, 0.25)} == {0.1: count, 0.25: count + 1}
    assert node.stats().sync_seconds == stats
    node.close()


def test_what_a_settlement_takes_is_what_the_clock_says(tmp_path: Path, clock: AttendedClock) -> None:
    """From its snapshot to its end; one that found the disk full is not counted."""
    node, storage = open_gated(tmp_path / "store", clock, "commit")
    node.publish("orders", b"x")
    storage.settle_gate.shut()
    settler = Caller(node.engine.background.settle_now)
    storage.settle_gate.await_arrival()
    clock.advance(0.2)
    storage.settle_gate.open()
    settler.outcome()
    stats = node.stats().settlement_seconds
    storage.failing_settlements = 1
    with pytest.raises(nsqlite.StoreFullError):
        node.engine.background.settle_now()

    assert (stats.count, stats.sum_seconds) == (1, 0.2)
    assert [count for bound, count in stats.buckets if bound >= 0.1] == [0, *[1] * 6]
    assert node.stats().settlement_seconds == stats
    node.close()


def test_memory_has_no_syncs() -> None:
    """There is no disk to time."""
    with nsqlite.open() as node:
        node.publish("orders", b"x")
        node.sync()

        assert node.stats().sync_seconds == node.stats().settlement_seconds == NO_HISTOGRAM


# -- copies --------------------------------------------------------------------------------


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
