"""A topic is a log, and how far its channels may see into it."""

import pytest

from nsqlite.core.topic import Topic
from nsqlite.run import OPEN_RUN_LIMIT
from nsqlite.state import unpack_exception
from tests.fakes.cores import NOW_NS, SECOND, WALL_NS, make_run, publish, seqs, take


@pytest.fixture
def topic() -> Topic:
    """A topic without channels."""
    return Topic(1, "orders", 3)


def frame_of(message_id: int, body: bytes = b"x") -> bytes:
    """One message's frame."""
    return make_run(0, [body], first_id=message_id).frames


def test_messages_wait_in_a_topic_without_channels(topic: Topic) -> None:
    """What nobody is there for waits, and the first channel gets all of it."""
    publish(topic, 3)
    assert (topic.depth, topic.end, topic.routed) == (3, 3, 0)

    channel = topic.add_channel(2, "billing", topic.routed, None)

    assert (topic.depth, channel.depth) == (0, 3)
    topic.check()


def test_second_channel_begins_with_what_comes_next(topic: Topic) -> None:
    """A channel made later does not get what was routed before it."""
    topic.add_channel(2, "billing", topic.routed, None)
    publish(topic, 2)

    later = topic.add_channel(3, "audit", topic.routed, None)
    publish(topic, 1)

    assert (topic.channels["billing"].depth, later.depth) == (3, 1)
    assert seqs(take(later, 5)) == [2]


def test_pause_holds_messages_back_from_channels(topic: Topic) -> None:
    """A paused topic takes publishes and routes none of them until it is unpaused."""
    channel = topic.add_channel(2, "billing", 0, None)
    publish(topic, 1)

    topic.pause(is_paused=True)
    publish(topic, 2)

    assert (topic.depth, channel.depth) == (2, 1)
    topic.pause(is_paused=False)
    assert (topic.depth, channel.depth) == (0, 3)
    topic.check()


def test_channel_made_while_paused_gets_what_waits(topic: Topic) -> None:
    """The backlog of a paused topic is every channel's that is there when it is unpaused."""
    topic.add_channel(2, "billing", 0, None)
    topic.pause(is_paused=True)
    publish(topic, 2)

    later = topic.add_channel(3, "audit", topic.routed, None)
    topic.pause(is_paused=False)

    assert later.depth == 2


def test_empty_drops_what_waits_in_the_topic_alone(topic: Topic) -> None:
    """Emptying a topic leaves its channels what they have."""
    channel = topic.add_channel(2, "billing", 0, None)
    publish(topic, 2)
    topic.pause(is_paused=True)
    publish(topic, 3)

    topic.empty()
    topic.pause(is_paused=False)
    publish(topic, 1)

    assert (topic.depth, channel.depth) == (0, 3)
    assert seqs(take(channel, 10)) == [0, 1, 5]
    assert channel.message_count == 3
    topic.check()


def test_empty_drops_delayed_messages_that_wait(topic: Topic) -> None:
    """A delayed message in an emptied topic does not come back when a channel is made."""
    publish(topic, 1, delay_ns=SECOND)
    assert topic.depth == 1

    topic.empty()
    channel = topic.add_channel(2, "billing", topic.routed, None)

    assert (channel.depth, channel.deferred_count) == (0, 0)
    topic.check()


def test_delayed_run_is_deferred_in_every_channel(topic: Topic) -> None:
    """A delayed run counts as deferred in each channel, not as depth, and comes when it is due."""
    channels = [topic.add_channel(2, "billing", 0, None), topic.add_channel(3, "audit", 0, None)]

    publish(topic, 2, delay_ns=SECOND)
    publish(topic, 1)

    for channel in channels:
        assert (channel.depth, channel.deferred_count, channel.message_count) == (1, 2, 3)
        assert channel.tick(NOW_NS + SECOND - 1) == 0
        assert channel.tick(NOW_NS + SECOND) == 2
        assert sorted(seqs(take(channel, 5))) == [0, 1, 2]
    topic.check()


def test_delay_counts_from_publish_while_the_topic_waits(topic: Topic) -> None:
    """A delayed message that waits in the topic has its due time already."""
    publish(topic, 1, delay_ns=SECOND)

    channel = topic.add_channel(2, "billing", 0, None)

    due_wall_ns, seq, count, attempts = unpack_exception(channel.changed[0])
    assert (due_wall_ns, seq, count, attempts) == (WALL_NS + SECOND, 0, 1, 0)
    assert channel.next_due_ns == NOW_NS + SECOND


def test_single_publishes_share_an_open_run(topic: Topic) -> None:
    """Consecutive ids go into one run, up to its limit; a gap in ids begins another."""
    for number in range(OPEN_RUN_LIMIT + 1):
        topic.append_frame(frame_of(100 + number), 100 + number)
    topic.append_frame(frame_of(900), 900)

    assert [run.count for run in topic.log.runs] == [OPEN_RUN_LIMIT, 1, 1]
    assert topic.message_count == OPEN_RUN_LIMIT + 2
    assert topic.message_bytes == OPEN_RUN_LIMIT + 2
    topic.check()


def test_snapshot_closes_the_open_run(topic: Topic) -> None:
    """What a settlement took references to does not grow under it."""
    topic.append_frame(frame_of(100), 100)

    state = topic.snapshot()
    topic.append_frame(frame_of(101), 101)

    assert [run.count for run in state.runs] == [1]
    assert [run.count for run in topic.log.runs] == [1, 1]


@pytest.mark.parametrize("waiting, room", [(0, 3), (2, 1), (3, 0)])
def test_ephemeral_topic_has_room_for_mem_queue_size(waiting: int, room: int) -> None:
    """What may wait in an ephemeral topic is bounded; what flows to channels is not."""
    topic = Topic(1, "orders#ephemeral", 3)
    for _ in range(waiting):
        publish(topic, 1)

    assert topic.room(topic.end) == room
    topic.add_channel(2, "billing", 0, None)
    assert topic.room(topic.end) is None


def test_kept_topic_has_room_for_any_number(topic: Topic) -> None:
    """mem_queue_size does not bound what is on disk."""
    publish(topic, 10)

    assert topic.room(topic.end) is None


def test_prune_forgets_what_every_cursor_has_passed(topic: Topic) -> None:
    """Stepped stretches are kept as far back as the last cursor, and no further."""
    slow = topic.add_channel(2, "slow", 0, None)
    fast = topic.add_channel(3, "fast", 0, None)
    publish(topic, 1, delay_ns=SECOND)
    publish(topic, 600)
    take(fast, 1000)

    topic.prune()
    assert 0 in topic.stepped
    while seqs(take(slow, 1000)):
        pass
    topic.prune()

    assert 0 not in topic.stepped
    topic.check()


def test_pass_over_gives_up_a_stretch_in_every_channel(topic: Topic) -> None:
    """A stretch that cannot be read back is stepped over by all, and what is in flight stays."""
    held, fresh = topic.add_channel(2, "held", 0, None), topic.add_channel(3, "fresh", 0, None)
    publish(topic, 5)
    take(held, 2)

    topic.pass_over(1, 4)

    assert (held.depth, fresh.depth) == (1, 2)
    assert seqs(take(held, 9)) == [4]
    assert seqs(take(fresh, 9)) == [0, 4]
    topic.check()


def test_removed_channel_is_deleted_and_empty(topic: Topic) -> None:
    """A channel that is taken away owes nothing, and a topic without channels holds messages again."""
    channel = topic.add_channel(2, "billing", 0, None)
    publish(topic, 2)
    take(channel)

    topic.remove_channel("billing")
    publish(topic, 1)

    assert channel.is_deleted
    assert (channel.depth, channel.in_flight_count) == (0, 0)
    assert topic.depth == 1


def test_restore_is_the_inverse_of_snapshot(topic: Topic) -> None:
    """A topic made from its snapshot has the same depths, names and log."""
    channel = topic.add_channel(2, "billing", 0, [])
    publish(topic, 4)
    publish(topic, 1, delay_ns=SECOND)
    delivery = take(channel, 2)[0]
    channel.requeue(1, delivery, 0, NOW_NS, WALL_NS)
    topic.pause(is_paused=True)
    publish(topic, 1, delay_ns=2 * SECOND)
    state = topic.snapshot()
    for each in state.channels.values():
        each.gather()
        each.exceptions = [packed for packed in each.changed.values() if packed is not None]

    again = Topic(1, "orders", 3)
    again.restore(state, [], NOW_NS, WALL_NS)

    found = again.channels["billing"]
    assert (again.end, again.routed, again.is_paused, again.depth) == (6, 5, True, 1)
    assert (found.depth, found.deferred_count, found.in_flight_count) == (4, 1, 0)
    assert again.waiting == topic.waiting
    again.check()


def test_check_finds_a_gap_in_the_unsettled_log(topic: Topic) -> None:
    """A seq without a run is a message lost, and the check says so."""
    publish(topic, 2)
    topic.end += 1

    with pytest.raises(AssertionError):
        topic.check()


def test_adopted_run_is_owed_by_its_owner_alone(topic: Topic) -> None:
    """Every cursor steps over it, one that lags as well, and no publish is counted."""
    owner = topic.add_channel(2, "billing", topic.routed, None)
    publish(topic, 2)
    lagging = topic.add_channel(3, "audit", topic.routed, None)
    publish(topic, 1)
    take(lagging)

    topic.adopt(make_run(3, [b"old", b"older"]), owner)
    owner.owe(3, 2, 6)

    assert (topic.depth, topic.message_count, owner.depth, lagging.depth) == (0, 3, 5, 0)
    taken = take(owner, 10) + take(lagging, 10)
    assert sorted(seqs(taken)) == [0, 1, 2, 3, 4]
    assert {each.first_seq: each.attempts for each in taken} == {0: 1, 2: 1, 3: 7}
    topic.check()


def test_adopted_run_without_an_owner_goes_to_all(topic: Topic) -> None:
    """It waits in the topic, or goes to every channel, as what is published does."""
    topic.adopt(make_run(0, [b"old"]), None)
    assert (topic.depth, topic.message_count) == (1, 0)

    first = topic.add_channel(2, "billing", topic.routed, None)
    second = topic.add_channel(3, "audit", topic.routed, None)
    topic.adopt(make_run(1, [b"older"]), None)

    assert (topic.depth, first.depth, second.depth) == (0, 2, 1)
    topic.check()
