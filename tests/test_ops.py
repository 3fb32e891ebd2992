"""An op decides without changing anything, and changes without being able to fail."""

import pytest

from nsqlite.core.broker import Broker
from nsqlite.core.progress import OWED
from nsqlite.errors import ChannelDeletedError, TopicDeletedError
from nsqlite.ops import (
    Adopt,
    ChangeChannel,
    ChangeTopic,
    MakeChannel,
    MakeChannels,
    MakeTopic,
    Op,
    Publish,
    Singles,
    grouped,
)
from nsqlite.options import Options
from nsqlite.run import timestamp_of
from nsqlite.state import NodeState
from nsqlite.storage import layout
from tests.fakes.cores import NOW_NS, SECOND, WALL_NS, seqs, take


@pytest.fixture
def broker() -> Broker:
    """A durable broker with nothing in it, whose ephemeral topics hold three messages."""
    made = Broker(Options(mem_queue_size=3), 1, is_durable=True, keeps_cache=True)
    made.restore(NodeState(), NOW_NS, WALL_NS)
    return made


def run(broker: Broker, op: Op) -> list[tuple]:
    """Decide and apply; return the entries that were journaled."""
    broker.reserved = {}
    entries = op.decide(broker, WALL_NS, NOW_NS)
    op.apply(broker)
    return list(layout.unpack_entries(b"".join(entries)))


def make_topic(broker: Broker, name: str = "orders") -> object:
    """A topic."""
    op = MakeTopic(name)
    run(broker, op)
    return op.outcome()


def make_channel(broker: Broker, topic: object, name: str = "billing") -> object:
    """A channel."""
    op = MakeChannel(topic, name)
    run(broker, op)
    return op.result


def test_deciding_changes_nothing_that_shows(broker: Broker) -> None:
    """Before it is applied a publish is in no log, no depth and no counter."""
    topic = make_topic(broker)
    op = Publish(topic, [b"a", b"b"], 0)
    broker.reserved = {}

    op.decide(broker, WALL_NS, NOW_NS)

    assert (topic.end, topic.depth, topic.message_count) == (0, 0, 0)
    op.apply(broker)
    assert (topic.end, topic.depth, topic.message_count, topic.message_bytes) == (2, 2, 2, 2)


def test_publish_journals_its_run(broker: Broker) -> None:
    """The record holds the seqs, ids, due time and frames; routed if channels get it at once."""
    topic = make_topic(broker)

    [(waiting, number, first)] = run(broker, Publish(topic, [b"a"], 0))
    make_channel(broker, topic)
    [(routed, _, second)] = run(broker, Publish(topic, [b"b", b"c"], 5 * SECOND))

    assert (waiting, routed, number) == (layout.PUBLISHED, layout.ROUTED, topic.number)
    assert (first.first_seq, second.first_seq, second.due_ns) == (0, 1, WALL_NS + 5 * SECOND)
    assert second.first_id == first.first_id + 1


def test_two_publishes_of_a_turn_stand_behind_each_other(broker: Broker) -> None:
    """Ops of one turn decide from where the one before stands, though nothing is applied yet."""
    topic = make_topic(broker)
    one, two = Publish(topic, [b"a", b"b"], 0), Publish(topic, [b"c"], 0)
    broker.reserved = {}

    for op in (one, two):
        op.decide(broker, WALL_NS, NOW_NS)
    for op in (one, two):
        op.apply(broker)

    assert len({*one.outcome(), *two.outcome()}) == 3
    assert topic.end == 3
    broker.check()


def test_singles_of_a_turn_become_one_run(broker: Broker) -> None:
    """Single publishes to one topic share a run, and each gets its own id."""
    topic = make_topic(broker)
    ops = [Publish(topic, [b"%d" % number], 0) for number in range(5)]

    [together] = grouped(ops)
    run(broker, together)

    assert isinstance(together, Singles)
    assert len(topic.log.runs) == 1
    assert [op.first_id for op in ops] == [ops[0].first_id + at for at in range(5)]


def test_grouping_keeps_a_topics_order(broker: Broker) -> None:
    """A batch between singles stays between them; other topics are apart; delayed ones too."""
    orders, users = make_topic(broker), make_topic(broker, "users")
    ops = [
        Publish(orders, [b"1"], 0),
        Publish(users, [b"u1"], 0),
        Publish(orders, [b"2"], 0),
        Publish(orders, [b"3", b"4"], 0),
        Publish(orders, [b"5"], 0),
        Publish(users, [b"u2"], 0),
        Publish(orders, [b"later"], SECOND),
    ]
    channels = [make_channel(broker, orders), make_channel(broker, users)]
    broker.reserved = {}

    turn = grouped(ops)
    for op in turn:
        op.decide(broker, WALL_NS, NOW_NS)
    for op in turn:
        op.apply(broker)

    assert [[op.bodies[0] for op in getattr(each, "ops", [each])] for each in turn] == [
        [b"1", b"2"],
        [b"u1", b"u2"],
        [b"3"],
        [b"5"],
        [b"later"],
    ]
    assert seqs(take(channels[0], 10)) == [0, 1, 2, 3, 4]
    assert all(op.first_id for op in ops)
    broker.check()


def test_making_what_is_there_gives_it(broker: Broker) -> None:
    """Get or create: the second makes nothing and journals nothing, also within one turn."""
    topic, channel = make_topic(broker), None
    channel = make_channel(broker, topic)
    again, other = MakeTopic("orders"), MakeChannel(topic, "billing")

    assert run(broker, again) == run(broker, other) == []
    assert (again.result, other.result) == (topic, channel)

    both = [MakeTopic("new"), MakeTopic("new")]
    for op in both:
        op.decide(broker, WALL_NS, NOW_NS)
    for op in both:
        op.apply(broker)
    assert both[0].result is both[1].result


def test_channels_record_holds_its_start(broker: Broker) -> None:
    """A new channel's record says from which seq on it is owed."""
    topic = make_topic(broker)
    make_channel(broker, topic)
    run(broker, Publish(topic, [b"a", b"b"], 0))

    [entry] = run(broker, MakeChannel(topic, "audit"))

    assert entry == (layout.CHANNEL_MADE, topic.number, 3, 2, "audit")


def test_channels_of_one_turn_begin_at_the_same_place(broker: Broker) -> None:
    """All get what waits in the topic, delayed messages too; those that are there are left alone."""
    topic = make_topic(broker)
    run(broker, Publish(topic, [b"a", b"b"], 0))
    run(broker, Publish(topic, [b"later"], SECOND))
    op = MakeChannels(topic, ["x", "y", "x"])

    entries = run(broker, op)

    assert entries == [
        (layout.TOPIC_PAUSED, topic.number, 0, 1),
        (layout.CHANNEL_MADE, topic.number, 2, 0, "x"),
        (layout.CHANNEL_MADE, topic.number, 3, 0, "y"),
        (layout.TOPIC_PAUSED, topic.number, 0, 3 << 1),
    ]
    assert [channel.name for channel in op.result] == ["x", "y"]
    assert [(seqs(take(channel, 9)), channel.deferred_count) for channel in op.result] == [([0, 1], 1)] * 2
    again = MakeChannels(topic, ["y", "z"])
    assert run(broker, again) == [(layout.CHANNEL_MADE, topic.number, 4, 3, "z")]
    assert [channel.name for channel in again.result] == ["z"]
    nothing = MakeChannels(topic, ["y", "z"])
    assert run(broker, nothing) == nothing.result == []
    assert (again.needs_room, nothing.needs_room) == (True, False)
    broker.check()


def test_channels_of_a_paused_topic_wait_with_it(broker: Broker) -> None:
    """They begin where it stands, and get what waits when it goes on."""
    topic = make_topic(broker)
    run(broker, Publish(topic, [b"a"], 0))
    run(broker, ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=True))
    op = MakeChannels(topic, ["x", "y"])

    kinds = [entry[0] for entry in run(broker, op)]
    depths = [channel.depth for channel in op.result]
    run(broker, ChangeTopic(topic, layout.TOPIC_PAUSED))

    assert kinds == [layout.CHANNEL_MADE] * 2
    assert (depths, [channel.depth for channel in op.result]) == ([0, 0], [1, 1])


def test_channels_of_an_ephemeral_topic_are_not_journaled(broker: Broker) -> None:
    """They need no room, and get what waits."""
    topic = make_topic(broker, "events#ephemeral")
    run(broker, Publish(topic, [b"a"], 0))
    op = MakeChannels(topic, ["x", "y"])

    assert run(broker, op) == []
    assert [channel.depth for channel in op.result] == [1, 1]
    assert not op.needs_room


@pytest.mark.parametrize("name", ["events#ephemeral", "orders"])
def test_nothing_ephemeral_is_journaled(broker: Broker, name: str) -> None:
    """What keeps nothing writes nothing: topics, channels, publishes, pauses."""
    topic = make_topic(broker, name)
    channel = make_channel(broker, topic, "tail#ephemeral")
    entries = [
        run(broker, MakeChannel(topic, "other#ephemeral")),
        run(broker, ChangeChannel(channel, layout.CHANNEL_PAUSED, is_paused=True)),
        run(broker, ChangeChannel(channel, layout.CHANNEL_EMPTIED)),
    ]
    if name == "events#ephemeral":
        entries += [run(broker, Publish(topic, [b"x"], 0)), run(broker, MakeChannel(topic, "kept"))]
        entries += [run(broker, ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=True))]

    assert all(entry == [] for entry in entries)


def test_ephemeral_topic_drops_what_has_no_room(broker: Broker) -> None:
    """Ids are given to all, room to the first; what was dropped is counted as published and dropped."""
    topic = make_topic(broker, "events#ephemeral")
    op = Publish(topic, [b"%d" % number for number in range(5)], 0)

    run(broker, op)

    assert len(set(op.outcome())) == 5
    assert (topic.depth, topic.message_count, topic.message_bytes, topic.dropped_count) == (3, 5, 5, 2)


@pytest.mark.parametrize("kind", [layout.TOPIC_PAUSED, layout.TOPIC_EMPTIED, layout.TOPIC_DELETED])
def test_deleted_topic_takes_no_op(broker: Broker, kind: int) -> None:
    """Whatever is asked of a deleted topic is refused when it is decided."""
    topic = make_topic(broker)
    run(broker, ChangeTopic(topic, layout.TOPIC_DELETED))

    ops = (
        Publish(topic, [b"x"], 0),
        MakeChannel(topic, "billing"),
        MakeChannels(topic, ["a"]),
        ChangeTopic(topic, kind),
    )
    for op in ops:
        with pytest.raises(TopicDeletedError):
            op.decide(broker, WALL_NS, NOW_NS)


def test_deleted_channel_takes_no_op(broker: Broker) -> None:
    """Whatever is asked of a deleted channel is refused when it is decided."""
    channel = make_channel(broker, make_topic(broker))
    run(broker, ChangeChannel(channel, layout.CHANNEL_DELETED))

    with pytest.raises(ChannelDeletedError):
        ChangeChannel(channel, layout.CHANNEL_PAUSED).decide(broker, WALL_NS, NOW_NS)


def test_adopt_journals_who_is_owed_what(broker: Broker) -> None:
    """The record has the run, with the messages' own timestamps, and a stretch for each number of attempts."""
    topic = make_topic(broker)
    owner = make_channel(broker, topic)
    other = make_channel(broker, topic, "audit")
    messages = [(WALL_NS - 1, 0, b"a"), (WALL_NS - 2, 0, b"b"), (WALL_NS - 3, 5, b"c")]

    [(kind, number, adopted), *owed] = run(broker, Adopt(topic, owner, messages))

    assert (kind, number, adopted.first_seq, adopted.count) == (layout.ADOPTED, topic.number, 0, 3)
    assert [timestamp_of(adopted.frame(at)) for at in range(3)] == [WALL_NS - 1, WALL_NS - 2, WALL_NS - 3]
    assert owed == [(OWED, owner.number, 0, 2, 0), (OWED, owner.number, 2, 1, 5)]
    assert (owner.depth, other.depth, topic.end, topic.routed) == (3, 0, 3, 3)
    assert [(each.first_seq, each.count, each.attempts) for each in take(owner, 9)] == [(0, 2, 1), (2, 1, 6)]
    broker.check()


def test_adopt_without_an_owner_is_a_publish(broker: Broker) -> None:
    """It waits in a topic without channels, and is routed in one that has some."""
    topic = make_topic(broker)

    [(waiting, _, first)] = run(broker, Adopt(topic, None, [(WALL_NS - 1, 0, b"a")]))
    channel = make_channel(broker, topic)
    [(routed, _, second)] = run(broker, Adopt(topic, None, [(WALL_NS - 1, 0, b"b" * 70_000)]))

    assert (waiting, routed) == (layout.PUBLISHED, layout.ROUTED)
    assert second.first_id == first.first_id + 1
    assert channel.depth == 2
    broker.check()


def test_adopt_refuses_what_is_gone(broker: Broker) -> None:
    """A deleted channel or topic takes nothing over."""
    topic = make_topic(broker)
    channel = make_channel(broker, topic)
    run(broker, ChangeChannel(channel, layout.CHANNEL_DELETED))
    with pytest.raises(ChannelDeletedError):
        run(broker, Adopt(topic, channel, [(WALL_NS, 0, b"a")]))

    run(broker, ChangeTopic(topic, layout.TOPIC_DELETED))
    with pytest.raises(TopicDeletedError):
        run(broker, Adopt(topic, None, [(WALL_NS, 0, b"a")]))


def test_what_makes_room_needs_none() -> None:
    """A limit on the store holds for what fills it, not for what empties it."""
    assert Publish.needs_room
    assert not ChangeTopic.needs_room
    assert not ChangeChannel.needs_room


def test_outcome_is_the_result_or_the_error() -> None:
    """A caller gets what was worked out, or why it was not."""
    op = Op()
    op.result = 5
    assert op.outcome() == 5

    op.error = TopicDeletedError("orders")

    with pytest.raises(TopicDeletedError):
        op.outcome()


def test_answer_reaches_whoever_waits() -> None:
    """A thread's waiter is woken, a loop's callback called."""
    told = []
    op = Op()
    op.on_done = told.append

    op.answer()

    assert told == [op]
    assert op.is_answered
