"""A channel hands out stretches, takes answers to whole ones, and throws away what a client's sample leaves out."""

import pytest

from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.held import Held
from nsqlite.core.latency import Latencies
from nsqlite.core.progress import FINISHED
from nsqlite.core.topic import Topic
from tests.fakes.cores import MAX_TIMEOUT_NS, NOW_NS, SECOND, TIMEOUT_NS, WALL_NS, make_channel, publish, seqs, take


@pytest.fixture
def channel() -> Channel:
    """A channel with three runs of ten messages that wait."""
    made = make_channel()
    for _ in range(3):
        publish(made.topic, 10)
    return made


@pytest.fixture
def consumer(channel: Channel) -> Consumer:
    """A client that may hold a hundred, and knows by id what it holds."""
    made = Consumer("7", 100, TIMEOUT_NS)
    made.held = Held()
    channel.consumers.append(made)
    return made


def take_within(channel: Channel, budget_bytes: int, limit: int = 100) -> list[Delivery]:
    """Take up to a budget."""
    return channel.take(limit, NOW_NS, TIMEOUT_NS, MAX_TIMEOUT_NS, None, budget_bytes)


def counts(channel: Channel) -> tuple[int, int, int]:
    """Depth, in flight, deferred."""
    channel.topic.check()
    return channel.depth, channel.in_flight_count, channel.deferred_count


# -- a budget ------------------------------------------------------------------------------


def test_budget_ends_with_the_run_that_uses_it_up(channel: Channel) -> None:
    """One byte of budget is a whole run, and so is all that a run has; one byte more is the next run, too."""
    size_bytes = channel.topic.log.runs[0].size_bytes

    assert seqs(take_within(channel, 1)) == list(range(10))
    assert seqs(take_within(channel, channel.topic.log.runs[1].size_bytes)) == list(range(10, 20))
    publish(channel.topic, 10)
    assert seqs(take_within(channel, size_bytes * 2)) == list(range(20, 40))


def test_budget_of_nothing_takes_nothing(channel: Channel) -> None:
    """Without a byte of budget nothing is handed out, and nothing is lost."""
    assert take_within(channel, 0) == []
    assert counts(channel) == (30, 0, 0)


def test_budget_counts_what_is_taken_of_a_run(channel: Channel) -> None:
    """Who takes half of a run has the rest of the budget left for others."""
    half = channel.topic.log.runs[0].size_bytes // 2
    take(channel, 5)

    taken = take_within(channel, half + 1)

    assert seqs(taken) == list(range(5, 20))


def test_budget_holds_for_messages_that_come_again(channel: Channel) -> None:
    """Redelivered messages are counted like fresh ones."""
    held = take(channel, 30)
    for delivery in held:
        for seq in delivery.seqs():
            channel.requeue(seq, delivery, 0, NOW_NS, WALL_NS)
    size_bytes = held[0].size_bytes // held[0].count

    assert len(take_within(channel, size_bytes * 3)) == 3
    assert counts(channel) == (27, 3, 0)


# -- answers to many -----------------------------------------------------------------------


def test_finishing_a_stretch_counts_every_message(channel: Channel, consumer: Consumer) -> None:
    """Channel and consumer count messages, not answers; the journal is told of the stretch once."""
    delivery = take(channel, 10, consumer=consumer)[0]
    before = len(channel.progress)

    assert channel.finish(0, delivery, 10)

    assert counts(channel) == (20, 0, 0)
    assert (channel.finish_count, consumer.finish_count, consumer.in_flight_count) == (10, 10, 0)
    assert channel.progress[before:] == [(FINISHED, 2, 0, 10)]


def test_finishing_inside_a_delivery_leaves_the_rest_in_flight(channel: Channel, consumer: Consumer) -> None:
    """A stretch may be finished from the middle of what was handed over."""
    delivery = take(channel, 10, consumer=consumer)[0]

    assert channel.finish(3, delivery, 4)

    assert counts(channel) == (20, 6, 0)
    assert delivery.seqs() == [0, 1, 2, 7, 8, 9]
    assert not channel.finish(2, delivery, 2)


def test_finished_stretch_that_came_again_is_no_exception_any_more(channel: Channel) -> None:
    """Delayed messages come as a stretch, and finishing it leaves nothing to remember."""
    take(channel, 30)
    publish(channel.topic, 5, delay_ns=SECOND)
    channel.tick(NOW_NS + SECOND)
    (delivery,) = take(channel, 5, NOW_NS + SECOND)
    channel.requeue(31, delivery, 0, NOW_NS + SECOND, WALL_NS)
    (again,) = take(channel, 1, NOW_NS + SECOND)

    assert channel.finish(30, delivery)
    assert channel.finish(32, delivery, 3)
    assert 31 in channel.excepted
    assert channel.finish(31, again)

    assert counts(channel) == (0, 30, 0)
    assert not list(channel.excepted)


def test_finishing_a_stretch_of_a_volatile_channel_keeps_nothing() -> None:
    """What only memory has is let go with its answer."""
    channel = make_channel("tail#ephemeral")
    publish(channel.topic, 10)
    delivery = take(channel, 10)[0]
    channel.requeue(4, delivery, 0, NOW_NS, WALL_NS)
    (again,) = take(channel, 1)

    assert channel.finish(5, delivery, 5)
    assert channel.finish(0, delivery, 4)
    assert channel.finish(4, again)

    assert counts(channel) == (0, 0, 0)
    assert channel.kept == {}


def test_stretch_is_measured_once_and_only_with_the_time() -> None:
    """What is finished is measured as one, of the right messages; what is discarded or not held is not."""
    topic = Topic(1, "orders", 10_000, Latencies((1.0,), 600 * SECOND))
    channel = topic.add_channel(2, "billing", 0, None)
    publish(topic, 10)
    take(channel, 4)
    delivery = take(channel, 6)[0]
    assert channel.latency is not None

    assert channel.finish(6, delivery, 3, NOW_NS, WALL_NS + SECOND)
    assert not channel.finish(6, delivery, 1, NOW_NS, WALL_NS + SECOND)
    assert channel.finish(5, delivery)
    channel.discard(4, delivery)

    measured = channel.latency.histogram.stats()
    assert (measured.count, measured.sum_seconds) == (3, 3.0)


# -- samples -------------------------------------------------------------------------------


def test_discarded_message_was_never_handed_out(channel: Channel, consumer: Consumer) -> None:
    """It is gone for the channel, and neither handed over nor finished for the statistics."""
    delivery = take(channel, 10, consumer=consumer)[0]

    channel.discard(4, delivery)

    assert counts(channel) == (20, 9, 0)
    assert (consumer.message_count, consumer.in_flight_count, consumer.finish_count) == (9, 9, 0)
    assert (channel.finish_count, channel.requeue_count, channel.timeout_count) == (0, 0, 0)
    assert not delivery.holds(4)
    assert not channel.finish(4, delivery)


def test_discarded_message_is_told_to_the_journal(channel: Channel) -> None:
    """After an opening it is not owed either."""
    delivery = take(channel, 10)[0]

    channel.discard(4, delivery)

    assert channel.progress[-1] == (FINISHED, 2, 4, 1)
    assert 4 not in {seq for start, stop in channel.snapshot().taken for seq in range(start, stop)}


def test_discarded_message_that_came_again_is_no_exception_any_more(channel: Channel) -> None:
    """A redelivery may be sampled away as well."""
    delivery = take(channel, 30)[0]
    channel.requeue(4, delivery, 0, NOW_NS, WALL_NS)
    (again,) = take(channel, 1)

    channel.discard(4, again)

    assert not list(channel.excepted)
    assert channel.snapshot().changed == {4: None}


def test_discarded_message_of_a_volatile_channel_is_not_kept() -> None:
    """What only memory has is let go."""
    channel = make_channel("tail#ephemeral")
    publish(channel.topic, 2)
    delivery = take(channel, 2)[0]

    channel.discard(0, delivery)

    assert channel.kept == {}
    assert counts(channel) == (0, 1, 0)
