"""Topics and channels behave as NSQ's do, at every level, with time that the test moves."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import ChannelDeletedError, NotInFlightError, TooManyConsumersError
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock

LEVELS = ["memory", "commit"]  # "fsync" differs in its turns, which tests/test_turns.py has
WALL_NS = 1_700_000_000_000_000_000


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock(WALL_NS)


@pytest.fixture(params=LEVELS)
def node(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node that must end the test sound."""
    path = None if request.param == "memory" else tmp_path / "store"
    with nsqlite.open(path, durability=request.param, clock=clock, mem_queue_size=3) as made:
        yield made
        made.check()


@pytest.fixture
def channel(node: nsqlite.Node) -> nsqlite.Channel:
    """Channel billing of topic orders."""
    return node.topic("orders").channel("billing")


def bodies(messages: list[nsqlite.Message]) -> list[bytes]:
    """What was in them."""
    return [message.body for message in messages]


def drain(channel: nsqlite.Channel) -> list[bytes]:
    """Everything that is ready, finished."""
    found = []
    while messages := channel.receive_many(100, timeout=0):
        channel.finish_many(messages)
        found += bodies(messages)
    return found


# -- publishing ----------------------------------------------------------------------------


def test_message_arrives_as_it_was_published(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Id, body, timestamp and attempts are what NSQ's are."""
    message_id = node.publish("orders", b"one")

    message = channel.receive(timeout=0)

    assert (message.id, message.body, message.timestamp, message.attempts) == (message_id, b"one", WALL_NS, 1)
    assert len(message.id) == 16
    message.finish()


def test_messages_come_in_the_order_they_were_published(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """One by one or in batches, ids rise and order is kept."""
    ids = [node.publish("orders", b"0"), *node.publish_many("orders", [b"1", b"2"]), node.publish("orders", b"3")]

    messages = channel.receive_many(10, timeout=0)

    assert bodies(messages) == [b"0", b"1", b"2", b"3"]
    assert [message.id for message in messages] == ids == sorted(set(ids))


def test_ids_are_unique_over_topics(node: nsqlite.Node) -> None:
    """Two topics of one node never give the same id."""
    ids = [node.publish(name, b"x") for name in ("orders", "users", "t#ephemeral") * 3]

    assert ids == sorted(set(ids))


def test_every_channel_gets_every_message(node: nsqlite.Node) -> None:
    """Channels are copies of a topic's stream, and answer for themselves."""
    topic = node.topic("orders")
    one, two = topic.channel("one"), topic.channel("two")
    topic.publish_many([b"a", b"b"])

    assert drain(one) == [b"a", b"b"]
    assert two.depth == 2
    assert drain(two) == [b"a", b"b"]


def test_first_channel_gets_the_backlog_and_later_ones_do_not(node: nsqlite.Node) -> None:
    """Messages wait in a topic for its first channel."""
    topic = node.topic("orders")
    topic.publish_many([b"a", b"b"])
    assert topic.depth == 2

    first = topic.channel("first")
    later = topic.channel("later")

    assert (topic.depth, first.depth, later.depth) == (0, 2, 0)


def test_publish_many_of_nothing_is_nothing(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """An empty batch has no ids."""
    assert node.publish_many("orders", []) == []
    assert channel.depth == 0


def test_batch_larger_than_a_run_stays_in_order(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """A batch that is split inside comes out whole and in order."""
    batch = [b"%06d" % number + b"." * 500 for number in range(1000)]

    ids = node.publish_many("orders", batch)

    assert len(set(ids)) == 1000
    assert drain(channel) == batch


# -- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [30, 30.0, timedelta(seconds=30)])
def test_delayed_message_comes_when_it_is_due(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock, delay: object
) -> None:
    """Until then it is deferred and no depth; then its first delivery has attempts 1."""
    node.publish("orders", b"later", delay=delay)
    assert (channel.depth, channel.deferred_count) == (0, 1)

    clock.advance(29.999)
    assert channel.receive(timeout=0) is None
    clock.advance(0.001)

    assert (channel.depth, channel.deferred_count) == (1, 0)
    assert channel.receive(timeout=0).attempts == 1


def test_delay_counts_from_publish(node: nsqlite.Node, clock: AttendedClock) -> None:
    """A delayed message that waited in a topic without channels is not delayed anew."""
    node.publish("orders", b"later", delay=10)
    clock.advance(9)

    channel = node.topic("orders").channel("billing")

    assert channel.deferred_count == 1
    clock.advance(1)
    assert drain(channel) == [b"later"]


def test_delay_without_a_cap(node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """In the process a delay may be longer than any client on the wire may ask for."""
    node.publish("orders", b"later", delay=timedelta(days=3650))

    clock.advance(3650 * 86_400)

    assert drain(channel) == [b"later"]


def test_unanswered_message_times_out(node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """After msg_timeout it is delivered again, and its first holder answers too late."""
    node.publish("orders", b"x")
    message = channel.receive(timeout=0)

    clock.advance(59.999)
    assert (channel.depth, channel.in_flight_count) == (0, 1)
    clock.advance(0.001)

    assert (channel.depth, channel.in_flight_count) == (1, 0)
    again = channel.receive(timeout=0)
    assert (again.id, again.attempts, again.timestamp) == (message.id, 2, message.timestamp)
    with pytest.raises(NotInFlightError):
        message.finish()
    again.finish()


def test_late_answer_of_the_first_delivery_does_not_touch_the_second(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """Only who holds the delivery may answer it."""
    node.publish("orders", b"x")
    first = channel.receive(timeout=0)
    clock.advance(60)
    second = channel.receive(timeout=0)

    for answer in (first.finish, first.requeue, first.touch):
        with pytest.raises(NotInFlightError):
            answer()

    assert channel.in_flight_count == 1
    second.finish()


def test_touched_message_lives_longer_up_to_the_cap(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """Touching starts the timeout anew; max_msg_timeout after delivery it ends all the same."""
    node.publish("orders", b"x")
    message = channel.receive(timeout=0)

    for _ in range(17):
        clock.advance(50)
        message.touch()
    clock.advance(49)
    message.touch()
    assert channel.in_flight_count == 1
    clock.advance(1)

    assert channel.in_flight_count == 0
    with pytest.raises(NotInFlightError):
        message.touch()


def test_requeued_message_comes_back(node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """At once, or after a delay, with one more attempt and the same timestamp."""
    node.publish("orders", b"x")
    channel.receive(timeout=0).requeue()
    clock.advance(1)
    again = channel.receive(timeout=0)
    again.requeue(delay=5)
    assert channel.receive(timeout=0) is None
    clock.advance(5)

    third = channel.receive(timeout=0)

    assert (again.attempts, third.attempts, third.timestamp) == (2, 3, WALL_NS)
    third.finish()


def test_clock_that_steps_back_delays_nothing(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """Deadlines and delays in a running node follow monotonic time, and ids go on rising."""
    node.publish("orders", b"later", delay=10)
    before = node.publish("orders", b"x")
    channel.receive(timeout=0)

    clock.step_wall(-86_400)
    after = node.publish("users", b"y")
    clock.advance(10)

    assert after > before
    assert channel.depth == 1
    clock.advance(50)
    assert channel.depth == 2


# -- pause, empty, delete ------------------------------------------------------------------


def test_paused_channel_hands_nothing_out(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Messages gather in it, what is in flight may be answered, and unpausing lets all flow."""
    node.publish_many("orders", [b"a", b"b"])
    held = channel.receive(timeout=0)

    channel.pause()
    node.publish("orders", b"c")

    assert channel.is_paused
    assert channel.receive(timeout=0) is None
    assert channel.depth == 2
    held.requeue()
    assert channel.depth == 3
    channel.unpause()
    assert sorted(drain(channel)) == [b"a", b"b", b"c"]


def test_paused_topic_routes_nothing(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Publishing goes on, messages wait in the topic, and unpausing moves them."""
    topic = node.topic("orders")
    topic.pause()
    topic.publish(b"a")
    topic.publish_many([b"b", b"c"])
    assert (topic.is_paused, topic.depth, channel.depth) == (True, 3, 0)

    topic.unpause()

    assert (topic.is_paused, topic.depth, channel.depth) == (False, 0, 3)


def test_emptied_topic_leaves_its_channels(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Only what waits in the topic itself is dropped."""
    topic = node.topic("orders")
    topic.publish(b"routed")
    topic.pause()
    topic.publish_many([b"a", b"b"])

    topic.empty()
    topic.unpause()
    topic.publish(b"after")

    assert drain(channel) == [b"routed", b"after"]


def test_emptied_channel_drops_all_places(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Waiting, in flight and deferred go; answers come too late; the next publish arrives."""
    node.publish_many("orders", [b"a", b"b", b"c"])
    held, other = channel.receive_many(2, timeout=0)
    other.requeue(delay=5)
    node.publish("orders", b"d", delay=5)

    channel.empty()

    assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (0, 0, 0)
    with pytest.raises(NotInFlightError):
        held.finish()
    node.publish("orders", b"next")
    assert drain(channel) == [b"next"]


def test_deleted_topic_comes_back_empty(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """A topic of the same name is a new one: no messages, no channels, not paused."""
    topic = node.topic("orders")
    topic.publish(b"x")
    topic.pause()

    node.delete_topic("orders")
    node.publish("orders", b"new")

    again = node.topic("orders")
    assert (again.channels, again.depth, again.is_paused) == ([], 1, False)


def test_deleted_channel_comes_back_empty(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """A channel of the same name starts with what is published from then on."""
    topic = node.topic("orders")
    topic.channel("audit")
    topic.publish(b"x")
    channel.pause()

    topic.delete_channel("billing")
    again = topic.channel("billing")

    assert (again.depth, again.is_paused) == (0, False)
    assert topic.channels == ["audit", "billing"]


def test_deleting_what_is_not_there_is_nothing(node: nsqlite.Node) -> None:
    """There is nothing to delete, so nothing happens."""
    node.delete_topic("none")
    node.topic("orders").delete_channel("none")

    assert node.topics == ["orders"]


def test_names_come_in_order(node: nsqlite.Node) -> None:
    """Topics and channels are listed by name."""
    for name in ("b", "a", "c"):
        node.topic(name)
        node.topic("a").channel(name)

    assert node.topics == ["a", "b", "c"]
    assert node.topic("a").channels == ["a", "b", "c"]


# -- ephemeral -----------------------------------------------------------------------------


def test_ephemeral_channel_goes_with_its_last_consumer(node: nsqlite.Node) -> None:
    """It lives while somebody consumes; the topic stays."""
    topic = node.topic("orders")
    channel = topic.channel("tail#ephemeral")
    one, two = channel.consume(), channel.consume()

    one.close()
    assert topic.channels == ["tail#ephemeral"]
    two.close()

    assert topic.channels == []
    assert node.topics == ["orders"]
    with pytest.raises(ChannelDeletedError):
        channel.receive(timeout=0)


def test_ephemeral_channel_without_consumers_stays(node: nsqlite.Node) -> None:
    """What never had a consumer is not deleted by itself."""
    channel = node.topic("orders").channel("tail#ephemeral")
    node.publish("orders", b"x")

    assert drain(channel) == [b"x"]
    assert node.topic("orders").channels == ["tail#ephemeral"]


def test_ephemeral_topic_goes_with_its_last_channel(node: nsqlite.Node) -> None:
    """And not before it had one."""
    topic = node.topic("events#ephemeral")
    assert node.topics == ["events#ephemeral"]
    topic.channel("one")
    topic.channel("two")

    topic.delete_channel("one")
    assert node.topics == ["events#ephemeral"]
    topic.delete_channel("two")

    assert node.topics == []


def test_ephemeral_topic_drops_the_newest(node: nsqlite.Node) -> None:
    """Beyond mem_queue_size publishing succeeds and counts, and the newest messages go."""
    topic = node.topic("events#ephemeral")

    ids = [topic.publish(b"%d" % number) for number in range(4)] + topic.publish_many([b"5", b"6"])

    assert len(set(ids)) == 6
    channel = topic.channel("all")
    assert drain(channel) == [b"0", b"1", b"2"]
    [stats] = node.stats().topics
    assert (stats.message_count, stats.dropped_count) == (6, 3)


def test_ephemeral_channel_drops_the_newest(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """A slow tail loses what it has no room for; the channel beside it loses nothing."""
    tail = node.topic("orders").channel("tail#ephemeral")

    for number in range(5):
        node.publish("orders", b"%d" % number)

    assert tail.depth == 3
    assert drain(tail) == [b"0", b"1", b"2"]
    assert len(drain(channel)) == 5
    node.publish("orders", b"again")
    assert drain(tail) == [b"again"]


def test_ephemeral_messages_can_be_requeued(node: nsqlite.Node, clock: AttendedClock) -> None:
    """Nothing on disk, and yet redelivered with its attempts."""
    channel = node.topic("events#ephemeral").channel("tail#ephemeral")
    node.publish("events#ephemeral", b"x")
    channel.receive(timeout=0).requeue(delay=2)
    clock.advance(2)

    assert channel.receive(timeout=0).attempts == 2


# -- consumers -----------------------------------------------------------------------------


def test_consumer_holds_at_most_max_in_flight(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """The ceiling is on what is unanswered; an answer lets the next message flow."""
    node.publish_many("orders", [b"a", b"b", b"c"])
    with channel.consume(max_in_flight=2) as consumer:
        first, second = next(consumer), next(consumer)
        third = Caller(lambda: next(consumer))
        clock.await_sleeper()
        assert channel.in_flight_count == 2

        first.finish()

        assert third.outcome().body == b"c"
        second.finish()


def test_consumer_gets_its_own_timed_out_messages_again(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """A timeout frees its place, and wakes it."""
    node.publish("orders", b"a")
    with channel.consume() as consumer:
        next(consumer)
        again = Caller(lambda: next(consumer))
        clock.await_sleeper()

        clock.advance(60)

        assert again.outcome().attempts == 2


def test_closed_consumer_ends_its_iteration(channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """An iterator ends when it is closed, also while another thread waits in it; twice is fine."""
    consumer = channel.consume()
    loop = Caller(lambda: list(consumer))
    clock.await_sleeper()

    consumer.close()
    consumer.close()

    assert loop.outcome() == []
    assert list(consumer) == []


def test_closed_node_ends_iterations(node: nsqlite.Node, tmp_path: Path) -> None:
    """A loop over messages ends when the node closes."""
    clock = AttendedClock()
    with nsqlite.open(clock=clock) as other:
        consumer = other.topic("orders").channel("billing").consume()
        loop = Caller(lambda: list(consumer))
        clock.await_sleeper()

    assert loop.outcome() == []


def test_messages_of_a_closed_consumer_stay_in_flight(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """What is in somebody's hands can still be answered."""
    node.publish("orders", b"a")
    with channel.consume() as consumer:
        message = next(consumer)

    assert channel.in_flight_count == 1
    message.finish()
    assert channel.in_flight_count == 0


def test_deadline_starts_when_the_caller_gets_the_message(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """A consumer holds nothing ahead of its caller."""
    node.publish_many("orders", [b"a", b"b"])
    with channel.consume(max_in_flight=10) as consumer:
        next(consumer).finish()
        assert channel.in_flight_count == 0

        clock.advance(59)
        second = next(consumer)
        clock.advance(59)

        assert channel.in_flight_count == 1
        second.finish()


def test_waiting_receivers_all_get_their_turn(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """Each message wakes somebody, and none who waits is left over."""
    waiting = []
    for _ in range(3):
        waiting.append(Caller(channel.receive))
        clock.await_sleeper()

    for number in range(3):
        node.publish("orders", b"%d" % number)

    assert sorted(caller.outcome().body for caller in waiting) == [b"0", b"1", b"2"]


def test_max_channel_consumers_is_a_limit(clock: AttendedClock) -> None:
    """One consumer too many is refused by name and number, and a closed one makes room."""
    with nsqlite.open(clock=clock, max_channel_consumers=2) as node:
        channel = node.topic("orders").channel("billing")
        first, _ = channel.consume(), channel.consume()

        with pytest.raises(TooManyConsumersError, match="orders:billing exceed the limit of 2"):
            channel.consume()

        first.close()
        channel.consume()


# -- receiving -----------------------------------------------------------------------------


def test_receive_waits_for_a_publish(node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """A sleeping receiver is woken by the message, without polling."""
    receiver = Caller(channel.receive)
    clock.await_sleeper()

    node.publish("orders", b"x")

    assert receiver.outcome().body == b"x"


def test_receive_gives_up_at_its_timeout(channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """None at the timeout, and not before."""
    receiver = Caller(lambda: channel.receive(timeout=1.5))
    many = Caller(lambda: channel.receive_many(5, timeout=timedelta(seconds=1.5)))
    clock.await_sleeper()
    clock.await_sleeper()

    clock.advance(1.5)

    assert receiver.outcome() is None
    assert many.outcome() == []


def test_sleeping_receiver_wakes_for_a_due_time(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """A deferred message is delivered when it is due though nobody calls."""
    node.publish("orders", b"x", delay=60)
    receiver = Caller(channel.receive)
    clock.await_sleeper()

    clock.advance(60)

    assert receiver.outcome().body == b"x"


def test_sleeping_receiver_wakes_for_a_shorter_delay(
    node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock
) -> None:
    """A delay that is shorter than the one a receiver sleeps for is not slept through."""
    node.publish("orders", b"long", delay=60)
    receiver = Caller(channel.receive)
    clock.await_sleeper()

    node.publish("orders", b"short", delay=5)
    clock.await_sleeper()
    clock.advance(5)

    assert receiver.outcome().body == b"short"


def test_receive_many_takes_what_there_is(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """1 to limit messages, as soon as there is one."""
    node.publish_many("orders", [b"a", b"b", b"c"])

    assert bodies(channel.receive_many(2, timeout=0)) == [b"a", b"b"]
    assert bodies(channel.receive_many(100)) == [b"c"]


def test_fresh_and_requeued_messages_alternate(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Neither starves the other."""
    node.publish_many("orders", [b"%d" % number for number in range(20)])
    for message in channel.receive_many(10, timeout=0):
        message.requeue()

    first_ten = [channel.receive(timeout=0) for _ in range(10)]

    assert sum(message.attempts == 2 for message in first_ten) == 5


def test_unpause_wakes_receivers(node: nsqlite.Node, channel: nsqlite.Channel, clock: AttendedClock) -> None:
    """A receiver asleep on a paused channel, or behind a paused topic, gets what waited."""
    for paused in (channel, node.topic("orders")):
        paused.pause()
        node.publish("orders", b"x")
        receiver = Caller(channel.receive)
        clock.await_sleeper()
        paused.unpause()
        receiver.outcome().finish()


# -- answers of many -----------------------------------------------------------------------


def test_finish_many_finishes_what_it_can_and_names_the_rest(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """All that are in flight are finished; then the others' ids are raised."""
    node.publish_many("orders", [b"%d" % number for number in range(5)])
    messages = channel.receive_many(5, timeout=0)
    messages[1].finish()
    messages[3].requeue()

    with pytest.raises(NotInFlightError) as caught:
        channel.finish_many(messages)

    assert caught.value.ids == [messages[1].id, messages[3].id]
    assert (channel.in_flight_count, channel.depth) == (0, 1)


def test_finish_many_names_a_message_given_twice(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """The same message cannot be finished twice in one call."""
    node.publish_many("orders", [b"a", b"b"])
    one, two = channel.receive_many(2, timeout=0)

    with pytest.raises(NotInFlightError) as caught:
        channel.finish_many([one, two, one])

    assert one.id in caught.value.ids
    assert channel.in_flight_count == 0


def test_finish_many_with_one_twice_finishes_no_other(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """As many messages as were handed over together need not be those that were."""
    node.publish_many("orders", [b"a", b"b"])
    one, two = channel.receive_many(2, timeout=0)

    with pytest.raises(NotInFlightError):
        channel.finish_many([one, one])

    assert channel.in_flight_count == 1
    two.finish()


def test_finish_many_of_another_channels_message_is_refused(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """A message belongs to the channel it came from; the others are finished all the same."""
    audit = node.topic("orders").channel("audit")
    node.publish_many("orders", [b"a", b"b"])
    [first, second], [other, _] = channel.receive_many(2, timeout=0), audit.receive_many(2, timeout=0)

    with pytest.raises(NotInFlightError) as caught:
        channel.finish_many([first, other, second])

    assert other.id in caught.value.ids
    assert not other.is_answered
    assert (channel.in_flight_count, audit.in_flight_count) == (0, 2)


def test_finish_many_of_nothing_is_nothing(channel: nsqlite.Channel) -> None:
    """An empty list is fine."""
    channel.finish_many([])


# -- the whole -----------------------------------------------------------------------------


def test_node_tells_what_it_is(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """Handles say what they are; options are those it was opened with."""
    assert repr(node) == "<Node open, 1 topics>"
    assert repr(node.topic("orders")) == "<Topic orders>"
    assert repr(channel) == "<Channel billing of orders>"
    assert node.options.mem_queue_size == 3
    assert node.health == "OK"


def test_sync_returns_when_all_is_answered(node: nsqlite.Node, channel: nsqlite.Channel) -> None:
    """At any level and at any time."""
    node.sync()
    node.publish("orders", b"x")
    channel.receive(timeout=0).finish()
    node.sync()

    assert node.health == "OK"
