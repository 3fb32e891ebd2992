"""A consumer's ready count is a ceiling on what it holds, not a credit that is spent."""

from nsqlite.core.consumer import Consumer
from tests.fakes.cores import make_channel, publish, seqs, take


def test_room_is_what_the_ceiling_leaves() -> None:
    """Room is the ready count less what is held, and never below nought."""
    consumer = Consumer("7", 3, 60)

    consumer.in_flight_count = 2
    assert consumer.room == 1
    consumer.rdy_count = 1
    assert consumer.room == 0


def test_finishing_makes_room_without_a_new_count() -> None:
    """After a finish the next message flows, with the same ready count."""
    channel, consumer = make_channel(), Consumer("7", 2, 60)
    publish(channel.topic, 5)
    taken = take(channel, consumer.room, consumer=consumer)

    channel.finish(0, taken[0])

    assert consumer.room == 1
    assert seqs(take(channel, consumer.room, consumer=consumer)) == [2]


def test_stats_are_a_snapshot() -> None:
    """A consumer's statistics do not move with it."""
    consumer = Consumer("7", 3, 60, connect_ts=4)
    consumer.message_count = 5

    stats = consumer.stats()
    consumer.message_count = 6

    assert (stats.client_id, stats.ready_count, stats.message_count) == ("7", 3, 5)
    assert (stats.in_flight_count, stats.finish_count, stats.requeue_count, stats.connect_ts) == (0, 0, 0, 4)
