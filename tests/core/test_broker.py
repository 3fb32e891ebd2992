"""The broker holds all topics, gives out numbers, wakes whom a change concerns, and keeps a bounded cache."""

import pytest

from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.ids import COUNTER_BITS
from nsqlite.options import Options
from nsqlite.state import NodeState
from tests.fakes.cores import NOW_NS, SECOND, TIMEOUT_NS, WALL_NS, publish, seqs, take


@pytest.fixture
def broker() -> Broker:
    """A durable broker with a cache of no bytes, restored from nothing."""
    made = Broker(Options(cache_bytes=0), 5, is_durable=True, keeps_cache=True)
    made.restore(NodeState(), NOW_NS, WALL_NS)
    return made


def add_channel(broker: Broker, topic: str = "orders", channel: str = "billing") -> Channel:
    """A channel, and its topic if need be."""
    found = broker.topics.get(topic) or broker.add_topic(broker.take_number(), topic)
    return broker.add_channel(found, broker.take_number(), channel)


def test_numbers_are_never_given_twice(broker: Broker) -> None:
    """Topics and channels draw from one row of numbers."""
    numbers = [broker.take_number() for _ in range(5)]

    assert numbers == [1, 2, 3, 4, 5]


def test_restored_broker_counts_on(broker: Broker) -> None:
    """Numbers and ids of an earlier life are not given again."""
    last_id = 5 << COUNTER_BITS | 1 << 53

    broker.restore(NodeState(last_id=last_id, next_number=9), NOW_NS, WALL_NS)

    assert broker.next_id == last_id + 1
    assert broker.take_number() == 9


def test_attend_wakes_one_for_each_message(broker: Broker) -> None:
    """As many are woken as there are messages, those who waited longest first."""
    channel = add_channel(broker)
    for name in "abc":
        broker.wait(channel, name, NOW_NS + SECOND)
    publish(channel.topic, 2)

    broker.attend(channel)

    assert list(broker.wakes) == ["a", "b"]
    assert list(channel.waiters) == ["c"]
    assert channel.topic.hungry == {channel}


def test_attend_wakes_nobody_for_a_paused_channel(broker: Broker) -> None:
    """Nobody can take from a paused channel, so nobody is woken for its messages."""
    channel = add_channel(broker)
    broker.wait(channel, "a", NOW_NS + SECOND)
    publish(channel.topic, 2)
    channel.is_paused = True

    broker.attend(channel)

    assert not broker.wakes


def test_attend_wakes_one_for_an_earlier_due_time(broker: Broker) -> None:
    """A new earliest due time wakes one who then watches it."""
    channel = add_channel(broker)
    broker.wait(channel, "a", NOW_NS + 60 * SECOND)
    publish(channel.topic, 1, delay_ns=SECOND)

    broker.attend_all(channel.topic)

    assert list(broker.wakes) == ["a"]


def test_stop_waiting_passes_a_wake_up_on(broker: Broker) -> None:
    """Who was woken and goes without taking leaves the wake-up to the next."""
    channel = add_channel(broker)
    for name in "ab":
        broker.wait(channel, name, NOW_NS + SECOND)
    publish(channel.topic, 1)
    broker.attend(channel)
    assert list(broker.wakes) == ["a"]

    broker.stop_waiting(channel, "a")

    assert list(broker.wakes) == ["a", "b"]
    assert channel.topic.hungry == set()


def test_removed_topic_wakes_all_its_waiters(broker: Broker) -> None:
    """All who wait on a topic's channels are told when it goes."""
    one, two = add_channel(broker), add_channel(broker, channel="audit")
    broker.wait(one, "a", NOW_NS + SECOND)
    broker.wait(two, "b", NOW_NS + SECOND)

    removed = broker.remove_topic(one.topic)

    assert sorted(broker.wakes) == ["a", "b"]
    assert set(removed) == {one, two}
    assert one.is_deleted
    assert one.topic.is_deleted
    assert broker.topics == {}


def test_snapshot_leaves_out_what_is_ephemeral(broker: Broker) -> None:
    """Nothing ephemeral reaches a settlement."""
    add_channel(broker)
    add_channel(broker, channel="tail#ephemeral")
    add_channel(broker, topic="events#ephemeral")

    state = broker.snapshot()

    [topic] = state.topics.values()
    assert topic.name == "orders"
    assert [channel.name for channel in topic.channels.values()] == ["billing"]


def test_snapshot_leaves_out_topics_without_messages_when_asked(broker: Broker) -> None:
    """A topic is in it that storage has rows of, or memory runs; others have nothing to be tidied."""
    held, written, _ = (add_channel(broker, topic=name).topic for name in ("held", "written", "idle"))
    publish(held, 5)

    state = broker.snapshot(lambda number: number == written.number)

    assert [topic.name for topic in state.topics.values()] == ["held", "written"]


def test_settled_runs_leave_memory_beyond_the_cache(broker: Broker) -> None:
    """What storage has goes, oldest first, until the cache fits."""
    channel = add_channel(broker)
    runs = [publish(channel.topic, 5) for _ in range(4)]
    broker.cache_limit = sum(run.memory_bytes for run in runs[2:])

    broker.settled(broker.snapshot())

    assert channel.topic.log.runs == runs[2:]
    broker.check()


def test_unsettled_runs_stay_in_memory(broker: Broker) -> None:
    """What no storage has is in memory, whatever the cache may hold."""
    channel = add_channel(broker)
    state = broker.snapshot()
    run = publish(channel.topic, 5)

    broker.settled(state)

    assert channel.topic.log.runs == [run]


def test_ephemeral_runs_stay_while_somebody_needs_them(broker: Broker) -> None:
    """No storage has an ephemeral channel's messages, so memory keeps them until they are handed out."""
    channel = add_channel(broker, channel="tail#ephemeral")
    publish(channel.topic, 5)
    take(channel, 2)

    broker.settled(broker.snapshot())
    assert seqs(take(channel, 9)) == [2, 3, 4]
    publish(channel.topic, 1)
    broker.settled(broker.snapshot())

    assert [run.first_seq for run in channel.topic.log.runs] == [5]
    broker.check()


def test_loaded_run_stays_until_the_next_is_loaded(broker: Broker) -> None:
    """Even in a cache of no bytes, who loaded a run can take from it."""
    channel = add_channel(broker)
    first, second = publish(channel.topic, 2), publish(channel.topic, 2)
    broker.settled(broker.snapshot())
    assert channel.topic.log.runs == []

    broker.loaded(channel.topic, [first])
    assert seqs(take(channel, 9)) == [0, 1]
    broker.loaded(channel.topic, [second])

    assert channel.topic.log.runs == [second]
    broker.check()


def test_taken_back_changes_are_written_again(broker: Broker) -> None:
    """What a failed settlement did not write is in the next one, unless something newer is."""
    channel = add_channel(broker)
    publish(channel.topic, 3)
    delivery = take(channel, 3)[0]
    channel.requeue(0, delivery, 0, NOW_NS, WALL_NS)
    channel.requeue(1, delivery, 0, NOW_NS, WALL_NS)
    failed = broker.snapshot()
    again = next(each for each in take(channel, 3) if each.first_seq == 1)
    channel.finish(1, again)

    broker.take_back(failed)

    state = broker.snapshot().topics[channel.topic.number].channels[channel.number]
    assert set(state.changed) == {0, 1}
    assert state.changed[1] is None


def test_taken_back_emptying_stays_an_emptying(broker: Broker) -> None:
    """An emptying that was not written is not forgotten."""
    channel = add_channel(broker)
    publish(channel.topic, 3)
    channel.empty()
    failed = broker.snapshot()

    broker.take_back(failed)

    assert broker.snapshot().topics[channel.topic.number].channels[channel.number].is_emptied


def test_tick_wakes_for_what_fell_due(broker: Broker) -> None:
    """A message that timed out wakes one who waits."""
    channel = add_channel(broker)
    publish(channel.topic, 1)
    take(channel)
    broker.wait(channel, "a", NOW_NS + TIMEOUT_NS)

    broker.tick(channel, NOW_NS + TIMEOUT_NS)

    assert list(broker.wakes) == ["a"]


def test_watchers_hear_of_every_topic_and_channel(broker: Broker) -> None:
    """Once or more for each that was made or deleted; of nothing else."""
    broker.watchers.append("w")

    def heard() -> bool:
        was = "w" in broker.wakes
        broker.wakes.clear()
        return was

    topic = broker.add_topic(broker.take_number(), "orders")
    assert heard()
    channel = broker.add_channel(topic, broker.take_number(), "billing")
    assert heard()
    publish(topic, 1)
    take(channel)
    broker.attend_all(topic)
    broker.tick(channel, NOW_NS + TIMEOUT_NS)
    assert not heard()
    broker.remove_channel(topic, channel)
    assert heard()
    broker.remove_topic(topic)
    assert heard()


def test_channels_made_together_get_the_same(broker: Broker) -> None:
    """What waits in the topic is for all of them, delayed messages too."""
    topic = broker.add_topic(broker.take_number(), "orders")
    publish(topic, 2)
    publish(topic, 1, delay_ns=SECOND)

    made = broker.add_channels(topic, [(broker.take_number(), name) for name in ("billing", "audit")])

    assert [(channel.depth, channel.deferred_count) for channel in made] == [(2, 1), (2, 1)]
    broker.check()


def test_check_finds_a_number_given_twice(broker: Broker) -> None:
    """Two things of one number would take each other's progress."""
    add_channel(broker)
    broker.add_topic(1, "other")

    with pytest.raises(AssertionError):
        broker.check()
