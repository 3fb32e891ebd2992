"""Replayed records end where memory ended, however often and on top of whatever they are applied."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.topic import Topic
from nsqlite.run import join_runs
from nsqlite.state import ChannelState, NodeState, TopicState, unpack_exception
from nsqlite.storage import layout
from nsqlite.storage.durable import copy_state
from nsqlite.storage.replay import Replay
from tests.fakes.cores import WALL_NS, make_run
from tests.fakes.stories import STORIES, Story


def replay(records: list[bytes], state: NodeState | None = None, first_lsn: int = 1) -> NodeState:
    """Apply records, and bring the exceptions together."""
    replaying = Replay(NodeState() if state is None else state)
    for lsn, payload in enumerate(records, first_lsn):
        replaying.apply(lsn, payload)
    return replaying.finish()


def attempts_of(channel: ChannelState, exceptions: list[int]) -> dict[int, int]:
    """Every unfinished message's attempts: those of its exception, or one."""
    found = dict.fromkeys(channel.in_flight, 1)
    for packed in exceptions:
        _, seq, count, attempts = unpack_exception(packed)
        found.update(dict.fromkeys(range(seq, seq + count), attempts))
    return found


def due_of(exceptions: list[int], wall_ns: int) -> dict[int, int]:
    """Due times that are still to come."""
    found = {}
    for packed in exceptions:
        due_ns, seq, count, _ = unpack_exception(packed)
        if due_ns > wall_ns:
            found.update(dict.fromkeys(range(seq, seq + count), due_ns))
    return found


def fresh(topic: TopicState, channel: ChannelState) -> list[int]:
    """What of the log a channel's cursor will still hand out."""
    return [seq for seq in range(channel.cursor, topic.routed) if seq not in topic.stepped]


def told(state: NodeState, wall_ns: int) -> dict[str, Any]:
    """What counts of a recovered state: who is owed what, with how many attempts, and when."""
    return {
        topic.name: {
            "place": (topic.number, topic.end, topic.routed, topic.is_paused),
            "waiting": topic.waiting,
            "channels": {
                channel.name: {
                    "place": (channel.number, channel.is_paused),
                    "fresh": fresh(topic, channel),
                    "attempts": attempts_of(channel, channel.exceptions),
                    "due": due_of(channel.exceptions, wall_ns),
                }
                for channel in topic.channels.values()
            },
        }
        for topic in state.topics.values()
    }


def remembered(story: Story) -> dict[str, Any]:
    """The same of a broker's memory."""
    state = story.snapshot()
    for topic in story.broker.topics.values():
        kept = state.topics[topic.number]
        for channel in topic.channels.values():
            if channel.is_volatile:
                continue
            found = kept.channels[channel.number]
            again = {seq: each for each in channel.deadlines.live() if each.attempts > 1 for seq in each.seqs()}
            shift = WALL_NS - (story.now_ns - story.passed_ns)
            found.exceptions = [
                *channel.ready,
                *(packed + (shift << 80) for packed in channel.deferred),
                *(each.attempts | 1 << 16 | seq << 32 for seq, each in again.items()),
            ]
    return told(state, story.wall_ns)


@given(story=STORIES)
def test_replay_ends_where_memory_ended(story: list[tuple[str, int]]) -> None:
    """All records of a life, replayed, give its depths, attempts, due times and pauses."""
    teller = Story()
    teller.tell(story)
    wanted = remembered(teller)

    state = replay(teller.records)

    assert told(state, teller.wall_ns) == wanted
    assert state.settled == len(teller.records)
    numbers = [number for topic in state.topics.values() for number in (topic.number, *topic.channels)]
    assert all(number < state.next_number <= teller.broker.next_number for number in numbers)
    for topic in teller.broker.topics.values():
        held = join_runs(topic.log.runs)
        found = join_runs(state.topics[topic.number].runs)
        assert b"".join(run.frames for run in found) == b"".join(run.frames for run in held)


@given(story=STORIES, data=st.data())
def test_replay_goes_on_from_a_settled_state(story: list[tuple[str, int]], data: st.DataObject) -> None:
    """Settled half-way and replayed from there, a life ends the same."""
    cut = data.draw(st.integers(0, len(story)))
    teller = Story()
    teller.tell(story[:cut])
    settled = teller.snapshot()
    for topic in settled.topics.values():
        for channel in topic.channels.values():  # as the tables give them back after this settlement
            channel.exceptions = [packed for packed in channel.changed.values() if packed is not None]
            channel.changed, channel.is_emptied = {}, False
    first = len(teller.records)
    teller.tell(story[cut:])
    wanted = remembered(teller)

    state = replay(teller.records[first:], copy_state(settled), first + 1)

    assert told(state, teller.wall_ns) == wanted


@given(story=STORIES, data=st.data())
def test_progress_that_a_state_has_already_ends_the_same(story: list[tuple[str, int]], data: st.DataObject) -> None:
    """A settlement may be ahead of its position by progress; applying that again changes nothing."""
    cut = data.draw(st.integers(0, len(story)))
    teller = Story()
    teller.tell(story[:cut])
    teller.snapshot()
    first = len(teller.records)
    for deed, number in story[cut:]:
        if deed in ("take", "take many", "finish", "requeue", "defer", "pass", "flush"):
            teller.do(deed, number)
    settled = teller.snapshot()
    exceptions = replay(teller.records)
    for number, topic in settled.topics.items():
        for channel in topic.channels.values():
            channel.exceptions = exceptions.topics[number].channels[channel.number].exceptions
            channel.changed, channel.is_emptied = {}, False
            channel.excepted = exceptions.topics[number].channels[channel.number].excepted
            channel.in_flight = exceptions.topics[number].channels[channel.number].in_flight
    wanted = remembered(teller)

    state = replay(teller.records[first:], copy_state(settled), first + 1)

    assert told(state, teller.wall_ns) == wanted


@given(story=STORIES)
def test_each_record_applied_twice_in_a_row_ends_the_same(story: list[tuple[str, int]]) -> None:
    """A record on top of a state that has it already does no harm."""
    teller = Story()
    teller.tell(story)
    wanted = remembered(teller)

    state = replay([record for record in teller.records for _ in range(2)])

    assert told(state, teller.wall_ns) == wanted


def record_of_topic(channels: int = 1) -> bytes:
    """Topic 1 with channels from number 2 on."""
    made = [layout.pack_named(layout.TOPIC_MADE, 1, 0, 0, "orders")]
    made += [layout.pack_named(layout.CHANNEL_MADE, 1, 2 + at, 0, f"channel-{at}") for at in range(channels)]
    return b"".join(made)


def record_of_run(first_seq: int, count: int, due_ns: int = 0, *, routed: bool = True) -> bytes:
    """A publish to topic 1."""
    run = make_run(first_seq, [b"x"] * count, due_ns)
    return layout.pack_publish(1, run, is_routed=routed) + run.frames


def test_forgotten_hand_over_makes_messages_come_again() -> None:
    """A hand-over whose record is missing leaves its messages owed: again, never lost."""
    later = layout.pack_progress([(16, 2, 3, 2)])

    state = replay([record_of_topic() + record_of_run(0, 5), later])

    channel = state.topics[1].channels[2]
    assert channel.cursor == 5
    assert list(channel.in_flight) == [0, 1, 2, 3, 4]


def test_finish_moves_the_cursor_over_what_it_passes() -> None:
    """A finish behind a forgotten hand-over finishes its own message only."""
    state = replay([record_of_topic() + record_of_run(0, 5), layout.pack_progress([(18, 2, 3, 1)])])

    channel = state.topics[1].channels[2]
    assert (channel.cursor, list(channel.in_flight)) == (4, [0, 1, 2])


def test_progress_for_what_is_gone_is_ignored() -> None:
    """Numbers are never used again, so late progress of a deleted channel touches nobody."""
    gone = layout.pack_numbered(layout.CHANNEL_DELETED, 1, 2)
    late = layout.pack_progress([(16, 2, 0, 1), (17, 2, 0, 1, 2, 0), (18, 2, 0, 1), (19, 2, 0, 1, WALL_NS)])

    state = replay([record_of_topic(2) + record_of_run(0, 2), gone, late])

    assert list(state.topics[1].channels) == [3]
    assert not state.topics[1].channels[3].unfinished()


def test_progress_during_an_emptying_does_not_bring_messages_back() -> None:
    """What was handed out, requeued or deferred while an emptying was synced is dropped with the rest."""
    emptied = layout.pack_numbered(layout.CHANNEL_EMPTIED, 1, 2, 5)
    meanwhile = layout.pack_progress([(16, 2, 0, 3), (18, 2, 0, 1), (19, 2, 1, 1, WALL_NS), (17, 2, 2, 1, 2, 0)])
    later = layout.pack_progress([(18, 2, 3, 3), (16, 2, 6, 1)])

    state = replay([record_of_topic() + record_of_run(0, 5), emptied, meanwhile, record_of_run(5, 3), later])

    channel = state.topics[1].channels[2]
    assert channel.cursor == 7
    assert list(channel.unfinished()) == [6]
    assert channel.exceptions == []


def test_publish_to_a_deleted_topic_is_ignored_but_its_ids_are_not() -> None:
    """Ids rise over everything that was ever given out, deleted or not."""
    deleted = layout.pack_numbered(layout.TOPIC_DELETED, 1)

    state = replay([record_of_topic(), deleted, record_of_run(0, 3)])

    assert state.topics == {}
    assert state.last_id == 1002
    assert state.next_number == 3


def test_new_channel_starts_where_its_record_says() -> None:
    """A channel made after messages were routed does not get them."""
    made = layout.pack_named(layout.CHANNEL_MADE, 1, 9, 3, "late")

    state = replay([record_of_topic() + record_of_run(0, 3), made, record_of_run(3, 2)])

    assert state.topics[1].channels[9].cursor == 3
    assert state.topics[1].routed == 5
    assert state.next_number == 10


def test_delayed_run_waits_until_it_is_routed() -> None:
    """A delayed run in a topic without channels is no channel's until there is one."""
    topic = layout.pack_named(layout.TOPIC_MADE, 1, 0, 0, "orders")
    waiting = replay([topic, record_of_run(0, 2, due_ns=99, routed=False)]).topics[1]
    made = layout.pack_named(layout.CHANNEL_MADE, 1, 2, 0, "late")

    routed = replay([topic, record_of_run(0, 2, due_ns=99, routed=False), made]).topics[1]

    assert set(waiting.waiting) == {0}
    assert routed.waiting == {}
    assert [unpack_exception(each) for each in routed.channels[2].exceptions] == [(99, 0, 2, 0)]


@pytest.mark.parametrize("payload", [b"\xff", b"\x0a", b"\x02\x00", b"\x14" + bytes(40)])
def test_bytes_that_are_no_entries_raise(payload: bytes) -> None:
    """What cannot be understood is not guessed at."""
    with pytest.raises((struct.error, KeyError, IndexError, ValueError)):
        replay([payload])


def test_topic_restored_from_a_replay_is_sound() -> None:
    """The core takes what replay gives it, and its invariants hold."""
    teller = Story()
    teller.tell([("new channel", 0), ("publish many", 20), ("take many", 8), ("finish", 2), ("defer", 2), ("flush", 0)])
    state = replay(teller.records)

    [found] = state.topics.values()
    topic = Topic(found.number, found.name, 10)
    topic.restore(found, [], teller.now_ns, teller.wall_ns)

    topic.check()
    assert topic.channels["mail"].deferred_count == 1


def test_adopted_run_is_owed_by_whom_the_record_names() -> None:
    """Cursors at the end move over it, one that lags will step over it, and the owner has it with its attempts."""
    run = make_run(1, [b"a", b"b"])
    first = make_run(0, [b"x"])
    records = [
        layout.pack_named(layout.TOPIC_MADE, 1, 0, 0, "orders"),
        layout.pack_named(layout.CHANNEL_MADE, 1, 2, 0, "lagging"),
        layout.pack_publish(1, first, is_routed=True) + first.frames,
        layout.pack_named(layout.CHANNEL_MADE, 1, 3, 1, "owner"),
        layout.pack_run_head(layout.ADOPTED, 1, run) + run.frames + layout.pack_progress([(20, 3, 1, 2, 7)]),
    ]

    topic = replay([*records, records[-1]]).topics[1]

    assert (topic.end, topic.routed, list(topic.stepped)) == (3, 3, [1, 2])
    assert (topic.channels[2].cursor, topic.channels[2].exceptions) == (0, [])
    assert topic.channels[3].cursor == 3
    assert [unpack_exception(each) for each in topic.channels[3].exceptions] == [(0, 1, 2, 7)]
