"""A message that a channel owes is in exactly one place, and the place is its state."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.channel import MOVES_A_TURN, Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.timers import NEVER
from nsqlite.state import MAX_ATTEMPTS, ChannelState, pack_exception, unpack_exception
from tests.fakes.cores import MAX_TIMEOUT_NS, NOW_NS, SECOND, TIMEOUT_NS, WALL_NS, make_channel, publish, seqs, take


@pytest.fixture
def channel() -> Channel:
    """A channel with ten messages that wait."""
    made = make_channel()
    publish(made.topic, 10)
    return made


def in_flight(channel: Channel) -> list[int]:
    """Seqs in flight."""
    return sorted(seq for delivery in channel.deadlines.live() for seq in delivery.seqs())


def counts(channel: Channel) -> tuple[int, int, int]:
    """Depth, in flight, deferred."""
    channel.topic.check()
    return channel.depth, channel.in_flight_count, channel.deferred_count


# -- handing out ---------------------------------------------------------------------------


def test_take_hands_out_in_order_up_to_the_limit(channel: Channel) -> None:
    """Fresh messages come in the order of their seqs, with attempts 1, and are in flight."""
    taken = take(channel, 3)

    assert seqs(taken) == [0, 1, 2]
    assert [each.attempts for each in taken] == [1]
    assert counts(channel) == (7, 3, 0)


def test_take_crosses_runs(channel: Channel) -> None:
    """A taker gets as many as it asked for, whatever runs they are in."""
    publish(channel.topic, 5)

    taken = take(channel, 12)

    assert seqs(taken) == list(range(12))
    assert [each.count for each in taken] == [10, 2]


def test_take_from_an_empty_channel_is_nothing() -> None:
    """There is nothing to take and nothing to load."""
    channel = make_channel()

    assert take(channel, 5) == []
    assert channel.missing == -1


def test_paused_channel_hands_nothing_out(channel: Channel) -> None:
    """No consumer is eligible while a channel is paused; what is in flight may be answered."""
    delivery = take(channel)[0]
    channel.is_paused = True

    assert take(channel) == []
    assert channel.requeue(0, delivery, 0, NOW_NS, WALL_NS)
    assert counts(channel) == (10, 0, 0)


def test_take_names_the_message_whose_run_is_not_in_memory(channel: Channel) -> None:
    """A run that storage has must be loaded first; the channel says from where, and loses nothing."""
    channel.topic.log.settled_end = 10
    channel.topic.log.forget([0])

    assert take(channel, 5) == []
    assert channel.missing == 0
    assert counts(channel) == (10, 0, 0)


def test_fresh_and_requeued_are_interleaved(channel: Channel) -> None:
    """Neither fresh nor requeued messages starve the other."""
    held = take(channel, 3)[0]
    for seq in range(3):
        channel.requeue(seq, held, 0, NOW_NS, WALL_NS)

    order = [seqs(take(channel))[0] for _ in range(6)]

    assert sorted(order) == [0, 1, 2, 3, 4, 5]
    assert all((before < 3) != (after < 3) for before, after in itertools.pairwise(order))


def test_attempts_saturate(channel: Channel) -> None:
    """Attempts stop at what the wire can say."""
    channel.cursor = 1
    channel.excepted.add(0)
    channel.ready.append(pack_exception(0, 0, 1, MAX_ATTEMPTS))
    channel.ready_count = 1

    assert take(channel)[0].attempts == MAX_ATTEMPTS
    assert counts(channel) == (9, 1, 0)


# -- answers -------------------------------------------------------------------------------


def test_finished_message_is_gone(channel: Channel) -> None:
    """A finish takes a message out for ever, once."""
    delivery = take(channel, 2)[0]

    assert delivery.holds(0)
    assert channel.finish(0, delivery)
    assert not channel.finish(0, delivery)
    assert not delivery.holds(0)
    assert counts(channel) == (8, 1, 0)
    assert channel.finish_count == 1


def test_finishing_several_needs_them_all(channel: Channel) -> None:
    """Messages in a row are finished together only while all of them are in flight by the delivery."""
    first, second = take(channel, 3)[0], take(channel, 3)[0]
    channel.finish(1, first)

    assert not channel.finish(0, first, 3)
    assert channel.finish(3, second, 3)
    assert not channel.finish(3, second, 3)
    assert counts(channel) == (4, 2, 0)
    assert channel.finish_count == 4


def test_stale_delivery_holds_nothing_of_the_new_one(channel: Channel) -> None:
    """After a redelivery the old holder can neither finish, requeue nor touch."""
    old = take(channel)[0]
    channel.requeue(0, old, 0, NOW_NS, WALL_NS)
    new = next(each for each in take(channel, 10) if each.first_seq == 0)

    assert not channel.finish(0, old)
    assert not channel.requeue(0, old, 0, NOW_NS, WALL_NS)
    assert channel.touch(0, old, NOW_NS) is None
    assert channel.finish(0, new)


def test_requeued_message_comes_again_with_one_more_attempt(channel: Channel) -> None:
    """A requeue without delay is ready at once and counted."""
    delivery = take(channel)[0]

    assert channel.requeue(0, delivery, 0, NOW_NS, WALL_NS)

    assert counts(channel) == (10, 0, 0)
    assert channel.requeue_count == 1
    assert {each.first_seq: each.attempts for each in take(channel, 10)}[0] == 2


def test_requeue_with_delay_defers(channel: Channel) -> None:
    """A requeue with a delay waits for its time, not a nanosecond less."""
    delivery = take(channel, 10)[0]

    channel.requeue(4, delivery, SECOND, NOW_NS, WALL_NS)

    assert counts(channel) == (0, 9, 1)
    assert channel.tick(NOW_NS + SECOND - 1) == 0
    assert channel.tick(NOW_NS + SECOND) == 1
    assert counts(channel) == (1, 9, 0)
    assert channel.timeout_count == 0


# -- time ----------------------------------------------------------------------------------


def test_unanswered_message_times_out(channel: Channel) -> None:
    """At its deadline a message is ready again, with its attempt counted, and is no requeue."""
    take(channel, 2)

    assert channel.tick(NOW_NS + TIMEOUT_NS - 1) == 0
    assert channel.tick(NOW_NS + TIMEOUT_NS) == 2

    assert counts(channel) == (10, 0, 0)
    assert (channel.timeout_count, channel.requeue_count) == (2, 0)


def test_touch_postpones_the_timeout_once(channel: Channel) -> None:
    """A touched message outlives its first deadline and times out at the next."""
    delivery = take(channel)[0]

    touched = channel.touch(0, delivery, NOW_NS + 59 * SECOND)
    channel.tick(NOW_NS + 118 * SECOND)

    assert touched is not None
    assert counts(channel) == (9, 1, 0)
    channel.tick(NOW_NS + 119 * SECOND)
    assert counts(channel) == (10, 0, 0)


def test_touch_is_capped_by_the_delivery(channel: Channel) -> None:
    """No touching stretches a delivery past its maximum, and touching at the cap is accepted."""
    delivery = take(channel)[0]
    for second in range(50, 900, 50):
        delivery = channel.touch(0, delivery, NOW_NS + second * SECOND)
    delivery = channel.touch(0, delivery, NOW_NS + 899 * SECOND)

    assert delivery is not None
    assert delivery.deadline_ns == NOW_NS + MAX_TIMEOUT_NS
    assert channel.tick(NOW_NS + MAX_TIMEOUT_NS) == 1


def test_touch_of_one_leaves_the_others_deadline(channel: Channel) -> None:
    """Of a delivery of many only the touched message is postponed."""
    delivery = take(channel, 3)[0]
    channel.touch(1, delivery, NOW_NS + 30 * SECOND)

    channel.tick(NOW_NS + TIMEOUT_NS)

    assert in_flight(channel) == [1]


def test_tick_moves_a_bounded_number_and_counters_see_the_rest() -> None:
    """A turn moves at most a thousand; what is due and not moved is counted where it belongs."""
    channel = make_channel()
    publish(channel.topic, 2 * MOVES_A_TURN + 5)
    for delivery in take(channel, 2 * MOVES_A_TURN + 5):
        for seq in seqs([delivery]):
            channel.requeue(seq, delivery, SECOND, NOW_NS, WALL_NS)

    moved = channel.tick(NOW_NS + SECOND)

    assert moved == MOVES_A_TURN
    assert channel.overdue(NOW_NS + SECOND) == (0, MOVES_A_TURN + 5)
    assert channel.overdue(NOW_NS + SECOND - 1) == (0, 0)
    assert channel.tick(NOW_NS + SECOND) == MOVES_A_TURN
    assert channel.tick(NOW_NS + SECOND) == 5
    assert counts(channel) == (2 * MOVES_A_TURN + 5, 0, 0)


def test_overdue_counts_late_deliveries(channel: Channel) -> None:
    """Messages whose deadline has passed are late before any turn has moved them."""
    take(channel, 3)

    assert channel.overdue(NOW_NS + TIMEOUT_NS) == (3, 0)


# -- consumers -----------------------------------------------------------------------------


def test_consumers_counters_follow_its_messages(channel: Channel) -> None:
    """What a consumer holds goes down by finish, requeue and timeout, and up by hand-over."""
    consumer = Consumer("1", 10, TIMEOUT_NS)
    channel.consumers.append(consumer)
    delivery = take(channel, 4, consumer=consumer)[0]

    channel.finish(0, delivery)
    channel.requeue(1, delivery, 0, NOW_NS, WALL_NS)
    channel.tick(NOW_NS + TIMEOUT_NS)

    assert (consumer.in_flight_count, consumer.message_count) == (0, 4)
    assert (consumer.finish_count, consumer.requeue_count) == (1, 1)
    assert counts(channel) == (9, 0, 0)


# -- emptying ------------------------------------------------------------------------------


def test_empty_drops_all_places(channel: Channel) -> None:
    """Emptying drops what waits, is in flight or deferred; lifetime counters stay; answers come too late."""
    consumer = Consumer("1", 10, TIMEOUT_NS)
    channel.consumers.append(consumer)
    delivery = take(channel, 4, consumer=consumer)[0]
    channel.finish(0, delivery)
    channel.requeue(1, delivery, SECOND, NOW_NS, WALL_NS)
    channel.requeue(2, delivery, 0, NOW_NS, WALL_NS)

    channel.empty()

    assert counts(channel) == (0, 0, 0)
    assert not channel.finish(3, delivery)
    assert consumer.in_flight_count == 0
    assert (channel.finish_count, channel.requeue_count, channel.message_count) == (1, 2, 10)
    assert channel.next_due_ns == NEVER
    publish(channel.topic, 1)
    assert seqs(take(channel, 5)) == [10]


# -- ephemeral -----------------------------------------------------------------------------


def test_ephemeral_channel_drops_the_newest() -> None:
    """Beyond mem_queue_size the newest go, are counted, and leave no trace."""
    channel = make_channel("tail#ephemeral", mem_queue_size=3)

    publish(channel.topic, 5)
    publish(channel.topic, 1)

    assert counts(channel) == (3, 0, 0)
    assert (channel.dropped_count, channel.message_count) == (3, 6)
    assert seqs(take(channel, 9)) == [0, 1, 2]
    publish(channel.topic, 2)
    assert seqs(take(channel, 9)) == [6, 7]


def test_ephemeral_channel_keeps_its_messages_when_their_run_goes() -> None:
    """A requeued message of an ephemeral channel can be delivered again though no storage has it."""
    channel = make_channel("tail#ephemeral")
    publish(channel.topic, 2)
    delivery = take(channel, 2)[0]
    channel.requeue(1, delivery, 0, NOW_NS, WALL_NS)

    channel.topic.log.settled_end = 2
    channel.topic.log.forget([0])

    again = take(channel)[0]
    assert again.run.frame(again.first_seq - again.run.first_seq)[34:] == b"1"
    assert again.attempts == 2


# -- state ---------------------------------------------------------------------------------


def restored(channel: Channel, state: ChannelState, now_ns: int = NOW_NS, wall_ns: int = WALL_NS) -> Channel:
    """A channel of the same topic made from a snapshot, as storage would give it back."""
    state.gather()
    state.exceptions = [packed for packed in state.changed.values() if packed is not None]
    state.changed = {}
    again = Channel(channel.topic, channel.number, channel.name, state.cursor, [])
    again.restore(state, now_ns, wall_ns)
    return again


def test_restored_channel_has_what_was_in_flight_ready(channel: Channel) -> None:
    """In flight, requeued and deferred survive, with attempts; what was in flight comes before fresh."""
    delivery = take(channel, 4)[0]
    channel.finish(0, delivery)
    channel.requeue(1, delivery, 0, NOW_NS, WALL_NS)
    channel.requeue(2, delivery, 5 * SECOND, NOW_NS, WALL_NS)

    again = restored(channel, channel.snapshot())

    assert (again.depth, again.in_flight_count, again.deferred_count) == (8, 0, 1)
    taken = take(again, 3)
    assert sorted(seqs(taken)) == [1, 3, 4]
    assert max(seqs(taken[:2])) < 4
    assert {each.first_seq: each.attempts for each in taken} == {1: 2, 3: 2, 4: 1}
    again.check()


@pytest.mark.parametrize("passed", [0, 3, 5, 3600])
def test_restored_due_times_keep_wall_time(channel: Channel, passed: int) -> None:
    """A deferred message is due when the wall clock says so, however long the node was closed."""
    delivery = take(channel)[0]
    channel.requeue(0, delivery, 5 * SECOND, NOW_NS, WALL_NS)

    again = restored(channel, channel.snapshot(), now_ns=77 * SECOND, wall_ns=WALL_NS + passed * SECOND)

    assert again.deferred_count == (1 if passed < 5 else 0)
    if passed < 5:
        assert again.next_due_ns == (77 + 5 - passed) * SECOND


def test_snapshot_takes_changes_once(channel: Channel) -> None:
    """After a snapshot nothing counts as changed, until something changes."""
    delivery = take(channel, 2)[0]
    channel.requeue(0, delivery, 0, NOW_NS, WALL_NS)

    first, second = channel.snapshot(), channel.snapshot()

    assert set(first.changed) == {0}
    assert second.changed == {}
    channel.empty()
    assert channel.snapshot().is_emptied
    assert not channel.snapshot().is_emptied


def test_check_finds_a_message_in_two_places(channel: Channel) -> None:
    """A message that is ready and in flight is a broken invariant."""
    take(channel)
    channel.ready.append(pack_exception(0, 0, 1, 1))
    channel.ready_count += 1

    with pytest.raises(AssertionError, match="two places"):
        channel.check()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "delay", "take", "finish", "requeue", "defer", "touch", "pass", "empty"]),
        st.integers(0, 12),
    ),
    max_size=50,
)


@given(steps=STEPS)
def test_channel_keeps_its_invariants_and_loses_nothing(steps: list[tuple[str, int]]) -> None:
    """After any steps every message that was not finished or emptied is in one place."""
    channel, now_ns = make_channel(), NOW_NS
    owed: set[int] = set()
    held: list[tuple[int, object]] = []
    for what, amount in steps:
        if what in ("publish", "delay"):
            run = publish(channel.topic, amount + 1, (now_ns - NOW_NS) + amount * SECOND + 1 if what == "delay" else 0)
            owed |= set(range(run.first_seq, run.first_seq + run.count))
        elif what == "take":
            for delivery in take(channel, amount + 1, now_ns):
                held += [(seq, delivery) for seq in seqs([delivery])]
        elif what == "pass":
            now_ns += amount * 10 * SECOND
            channel.tick(now_ns)
        elif what == "empty" and amount == 0:
            channel.empty()
            owed.clear()
        elif held and what in ("finish", "requeue", "defer", "touch"):
            seq, delivery = held.pop(amount % len(held))
            if what == "finish" and channel.finish(seq, delivery):
                owed.discard(seq)
            elif what == "requeue":
                channel.requeue(seq, delivery, 0, now_ns, WALL_NS)
            elif what == "defer":
                channel.requeue(seq, delivery, 15 * SECOND, now_ns, WALL_NS)
            elif what == "touch" and (touched := channel.touch(seq, delivery, now_ns)) is not None:
                held.append((seq, touched))
        channel.topic.check()
        assert channel.depth + channel.in_flight_count + channel.deferred_count == len(owed)
    channel.tick(now_ns + 10_000 * SECOND)
    found = set(in_flight(channel)) | set(seqs(take(channel, 10_000, now_ns + 10_000 * SECOND)))
    assert found == owed


def test_packed_exceptions_sort_by_due_time(channel: Channel) -> None:
    """Deferred messages come in the order of their due times, then of their seqs."""
    delivery = take(channel, 4)[0]
    for seq, delay in ((0, 3), (1, 1), (2, 2), (3, 1)):
        channel.requeue(seq, delivery, delay * SECOND, NOW_NS, WALL_NS)

    channel.tick(NOW_NS + 3 * SECOND)

    assert [unpack_exception(packed)[1] for packed in channel.ready] == [1, 3, 2, 0]
