"""What every storage promises (nsqlite/storage/interface.py), asked of each in the same words.

A storage's test file imports these tests and gives them a fixture `opening`, a function
that opens the storage and returns it with what it recovered. A storage that is durable
is opened again by calling it again once the first is closed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nsqlite.run import Run
from nsqlite.state import ChannelState, NodeState, TopicState, pack_exception
from nsqlite.storage import layout
from nsqlite.storage.interface import Damage
from tests.fakes.cores import make_run

Opening = Callable[[], tuple[Any, NodeState]]
TOPIC, CHANNEL = 7, 8


def make_state(
    runs: Sequence[Run],
    end: int,
    *,
    settled: int = 0,
    cursor: int | None = 0,
    in_flight: Sequence[int] = (),
    routed: int | None = None,
) -> NodeState:
    """A node with one topic and, unless `cursor` is None, one channel."""
    topic = TopicState(TOPIC, "orders", end, end if routed is None else routed, runs=list(runs))
    if cursor is not None:
        topic.channels[CHANNEL] = ChannelState(CHANNEL, "billing", cursor, taken=[(seq, seq + 1) for seq in in_flight])
    return NodeState(settled=settled, last_id=5000, next_number=9, topics={TOPIC: topic})


def made_topic() -> list[bytes]:
    """The records of a topic and its channel, as pieces."""
    return [
        layout.pack_named(layout.TOPIC_MADE, TOPIC, 0, 0, "orders"),
        layout.pack_named(layout.CHANNEL_MADE, TOPIC, CHANNEL, 0, "billing"),
    ]


def published(run: Run) -> list[bytes]:
    """The record of a run that was routed, as pieces."""
    return [layout.pack_publish(TOPIC, run, is_routed=True), run.frames]


def frame(storage: Any, seq: int) -> bytes | None:
    """The frame of a message that was settled, None if it cannot be read."""
    found = storage.read(TOPIC, seq)
    if isinstance(found, Damage):
        return None
    run = next((each for each in found if 0 <= seq - each.first_seq < each.count), None)
    return None if run is None else run.frame(seq - run.first_seq)


# -- recover -------------------------------------------------------------------------------


def test_recover_of_a_new_storage_is_empty(opening: Opening) -> None:
    """Where nothing was promised there is nothing."""
    _, state = opening()

    assert state.topics == {}
    assert (state.settled, state.last_id, state.next_number) == (0, 0, 1)


def test_recover_gives_back_what_was_appended(opening: Opening) -> None:
    """A durable storage finds every record that was appended, though nothing was settled."""
    storage, _ = opening()
    run = make_run(0, [b"a", b"b"])
    storage.append(made_topic())
    storage.append(published(run))
    storage.close()

    _, state = opening()

    if not storage.is_durable:
        assert state.topics == {}
        return
    topic = state.topics[TOPIC]
    assert (topic.name, topic.end, topic.routed) == ("orders", 2, 2)
    assert topic.channels[CHANNEL].name == "billing"
    assert [each.frames for each in topic.runs] == [run.frames]
    assert state.settled == 2


def test_recover_gives_back_what_was_settled(opening: Opening) -> None:
    """A durable storage finds a settled state without its journal."""
    storage, _ = opening()
    state = make_state([make_run(0, [b"a", b"b", b"c"])], 3, cursor=2, in_flight=[1])
    channel = state.topics[TOPIC].channels[CHANNEL]
    channel.excepted.add(0)
    channel.changed[0] = pack_exception(99, 0, 1, 4)
    storage.settle(state)
    storage.close()

    again, found = opening()

    if not storage.is_durable:
        assert found.topics == {}
        return
    topic = found.topics[TOPIC]
    recovered = topic.channels[CHANNEL]
    assert (topic.end, topic.routed, found.last_id, found.next_number) == (3, 3, 5000, 9)
    assert (recovered.cursor, list(recovered.in_flight), list(recovered.excepted)) == (2, [1], [0])
    assert recovered.exceptions == [pack_exception(99, 0, 1, 4)]
    assert [frame(again, seq)[34:] for seq in range(3)] == [b"a", b"b", b"c"]


def test_recover_puts_the_journal_on_top_of_what_was_settled(opening: Opening) -> None:
    """Records behind the settled position are applied, those before it are not applied twice."""
    storage, _ = opening()
    first, second = make_run(0, [b"a"]), make_run(1, [b"b", b"c"])
    storage.append(made_topic())
    lsn = storage.append(published(first))
    storage.settle(make_state([first], 1, settled=lsn))
    storage.append(published(second))
    storage.append([layout.pack_progress([(18, CHANNEL, 0, 2)])], is_promise=False)
    storage.close()

    _, state = opening()

    if storage.is_durable:
        topic = state.topics[TOPIC]
        assert (topic.end, topic.channels[CHANNEL].cursor) == (3, 2)
        assert not topic.channels[CHANNEL].unfinished()
        assert [each.first_seq for each in topic.runs] == [1]
    else:
        assert state.topics == {}


# -- append --------------------------------------------------------------------------------


def test_append_numbers_records_without_a_gap(opening: Opening) -> None:
    """Log sequence numbers go up by one, for promises and progress alike."""
    storage, state = opening()

    lsns = [
        storage.append([b"x" * 5]),
        storage.append([b"y", b"z"], is_promise=False),
        storage.append([b"w"], waits_for_sync=True),
    ]
    storage.sync()

    assert lsns == [state.settled + 1, state.settled + 2, state.settled + 3]


def test_append_takes_a_record_in_pieces(opening: Opening) -> None:
    """How a payload was cut does not show in what is recovered."""
    storage, _ = opening()
    whole = b"".join(made_topic())
    storage.append([whole[:3], whole[3:20], b"", whole[20:]])
    storage.close()

    _, state = opening()

    assert [each.name for each in state.topics.values()] == (["orders"] if storage.is_durable else [])


def test_append_takes_a_record_larger_than_any_before(opening: Opening) -> None:
    """A record of many megabytes finds room, and comes back whole."""
    storage, _ = opening()
    run = make_run(0, [b"x" * 1_000_000] * 5)
    storage.append(made_topic())
    storage.append(published(run))
    storage.append([layout.pack_numbered(layout.TOPIC_PAUSED, TOPIC, 0, 5 << 1 | 1)])
    storage.close()

    _, state = opening()

    if storage.is_durable:
        assert state.topics[TOPIC].runs[0].frames == run.frames
        assert state.topics[TOPIC].is_paused


def test_has_room_for_what_fits(opening: Opening) -> None:
    """A storage without a limit has room for a record."""
    storage, _ = opening()

    assert storage.has_room(100)


def test_sync_may_be_called_at_any_time(opening: Opening) -> None:
    """Syncing nothing, or twice, is fine."""
    storage, _ = opening()

    storage.sync()
    storage.append([b"x"])
    storage.sync()
    storage.sync()


# -- settle and read -----------------------------------------------------------------------


def test_read_gives_settled_runs_around_a_seq(opening: Opening) -> None:
    """Every settled message is read back byte for byte, from wherever it stands in its row."""
    storage, _ = opening()
    runs = [make_run(0, [b"a", b"bb"]), make_run(2, [b"c"] * 3), make_run(5, [b"d"])]

    storage.settle(make_state(runs, 6))

    for run in runs:
        for at in range(run.count):
            assert frame(storage, run.first_seq + at) == run.frame(at)


def test_read_of_what_is_not_there_is_damage(opening: Opening) -> None:
    """A seq that no row holds is told as damage from that seq on, never as another message."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a"])], 1))

    found = storage.read(TOPIC, 1)
    other = storage.read(TOPIC + 1, 0)

    assert isinstance(found, Damage)
    assert found.start == 1
    assert isinstance(other, Damage)


def test_settle_takes_the_runs_out_of_the_state(opening: Opening) -> None:
    """Once written, runs are storage's; the state that is kept for the next time holds none."""
    storage, _ = opening()
    state = make_state([make_run(0, [b"a"])], 1)

    storage.settle(state)

    assert not state.topics[TOPIC].runs


def test_settle_leaves_out_what_nobody_is_owed(opening: Opening) -> None:
    """What was finished before it was ever settled is not written."""
    storage, _ = opening()

    storage.settle(make_state([make_run(0, [b"a"] * 4), make_run(4, [b"b"] * 4)], 8, cursor=4))

    assert frame(storage, 0) is None
    assert frame(storage, 4) is not None


def test_settle_deletes_what_was_finished_since(opening: Opening) -> None:
    """A row goes when no channel owes any message in it, and the others stay."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a"] * 4)], 4))
    storage.settle(make_state([make_run(4, [b"b"] * 4)], 8))

    storage.settle(make_state([], 8, cursor=6, in_flight=[5]))

    assert [frame(storage, seq) is not None for seq in (0, 3, 5, 6, 7)] == [False, False, True, True, True]


def test_settle_keeps_what_waits_in_a_topic_without_channels(opening: Opening) -> None:
    """Messages that wait for a first channel are owed."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a"] * 4)], 4, cursor=None, routed=0))

    storage.settle(make_state([], 4, cursor=None, routed=0))

    assert frame(storage, 3) is not None
    storage.settle(make_state([], 4, cursor=None, routed=4))
    assert frame(storage, 3) is None


def test_settle_writes_a_row_again_of_which_little_is_owed(opening: Opening) -> None:
    """Of a row with less than a quarter owed only what is owed stays."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"%d" % seq for seq in range(100)])], 100))

    storage.settle(make_state([], 100, cursor=100, in_flight=[10, 11, 50]))

    assert [seq for seq in range(100) if frame(storage, seq) is not None] == [10, 11, 50]
    assert frame(storage, 50)[34:] == b"50"


def test_settle_deletes_a_topic_with_all_it_had(opening: Opening) -> None:
    """A topic that is not in the state any more has no row left."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a"] * 4)], 4))

    storage.settle(NodeState(next_number=9))

    assert frame(storage, 0) is None
    storage.close()
    assert opening()[1].topics == {}


def test_settle_keeps_other_topics_apart(opening: Opening) -> None:
    """Rows of topics whose numbers are neighbours do not mix."""
    storage, _ = opening()
    state = make_state([make_run(0, [b"a"])], 1)
    state.topics[TOPIC + 5] = TopicState(TOPIC + 5, "other", 1, 0, runs=[make_run(0, [b"z"], first_id=77)])
    storage.settle(state)

    state = make_state([], 1, cursor=1)
    state.topics[TOPIC + 5] = TopicState(TOPIC + 5, "other", 1, 0)
    storage.settle(state)

    assert frame(storage, 0) is None
    assert storage.read(TOPIC + 5, 0)[0].frame(0)[34:] == b"z"


def test_settle_keeps_delayed_messages_that_wait_in_the_topic(opening: Opening) -> None:
    """A delayed run that is not routed is stepped over, and owed all the same."""
    storage, _ = opening()
    delayed = make_run(0, [b"a", b"b"], due_ns=99)
    for _ in range(2):
        state = make_state([delayed] if delayed else [], 2, cursor=None, routed=0)
        topic = state.topics[TOPIC]
        topic.stepped.add_range(0, 2)
        topic.waiting[0] = pack_exception(99, 0, 2, 0)
        storage.settle(state)
        delayed = None

    assert frame(storage, 1) is not None
    storage.close()
    found = opening()[1]
    if storage.is_durable:
        assert found.topics[TOPIC].waiting == {0: pack_exception(99, 0, 2, 0)}
        assert list(found.topics[TOPIC].stepped) == [0, 1]


@pytest.mark.parametrize("times", [1, 3])
def test_settle_of_the_same_state_changes_nothing(opening: Opening, times: int) -> None:
    """Settling where nothing happened keeps everything."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a", b"b"])], 2, cursor=1, in_flight=[0]))

    for _ in range(times):
        storage.settle(make_state([], 2, cursor=1, in_flight=[0]))

    assert [frame(storage, seq)[34:] for seq in range(2)] == [b"a", b"b"]
    storage.close()
    found = opening()[1]
    if storage.is_durable:
        assert found.topics[TOPIC].channels[CHANNEL].cursor == 1


def test_settle_forgets_an_exception_that_went(opening: Opening) -> None:
    """An exception whose message was finished is not recovered, and an emptied channel has none."""
    storage, _ = opening()
    state = make_state([make_run(0, [b"a"] * 3)], 3, cursor=3)
    channel = state.topics[TOPIC].channels[CHANNEL]
    for seq in range(3):
        channel.excepted.add(seq)
        channel.changed[seq] = pack_exception(0, seq, 1, 2)
    storage.settle(state)
    state = make_state([], 3, cursor=3)
    channel = state.topics[TOPIC].channels[CHANNEL]
    channel.excepted.add_range(1, 3)
    channel.changed[0] = None
    storage.settle(state)
    state = make_state([], 3, cursor=3)
    state.topics[TOPIC].channels[CHANNEL].is_emptied = True
    seen = storage.read(TOPIC, 1)
    storage.settle(state)

    assert not isinstance(seen, Damage)
    assert frame(storage, 1) is None
    storage.close()
    found = opening()[1]
    if storage.is_durable:
        assert found.topics[TOPIC].channels[CHANNEL].exceptions == []
