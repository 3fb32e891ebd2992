"""A settlement writes what is owed, deletes what is not, and looks at nothing else."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.run import SPLIT_BYTES, Run
from nsqlite.state import ChannelState, NodeState, TopicState
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.storage.interface import Damage
from nsqlite.storage.settling import REWRITE_BELOW, Owed, owed_parts, settle
from tests.fakes.cores import make_run
from tests.fakes.stories import STORIES, Story


class CountingTables(InMemoryStorage):
    """Tables that tell what a settlement read, wrote and deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.puts: list[int] = []
        self.deletes: list[int] = []

    def read_row(self, topic: int, first_seq: int) -> list[Run] | None:
        """As InMemoryStorage."""
        self.reads.append(first_seq)
        return super().read_row(topic, first_seq)

    def put_row(self, topic: int, runs: Sequence[Run]) -> None:
        """As InMemoryStorage."""
        self.puts.append(runs[0].first_seq)
        super().put_row(topic, runs)

    def delete_row(self, topic: int, first_seq: int) -> None:
        """As InMemoryStorage."""
        self.deletes.append(first_seq)
        super().delete_row(topic, first_seq)


def make_state(end: int, cursor: int, unfinished: Sequence[int] = (), runs: Sequence[Run] = ()) -> NodeState:
    """One topic, all routed, with one channel."""
    channel = ChannelState(2, "billing", cursor)
    for seq in unfinished:
        channel.in_flight.add(seq)
    return NodeState(topics={1: TopicState(1, "orders", end, end, runs=list(runs), channels={2: channel})})


def owed_seqs(story: Story) -> dict[int, dict[int, bytes]]:
    """What a core owes to anybody who is kept on disk: topic number to seq to frame."""
    owed: dict[int, dict[int, bytes]] = {}
    for topic in story.broker.topics.values():
        seqs = set(range(topic.routed, topic.end)) - set(topic.stepped)
        for first, (_, packed) in topic.waiting.items():
            seqs |= set(range(first, first + (packed >> 16 & 0xFFFF)))
        for channel in topic.channels.values():
            if not channel.is_volatile:
                seqs |= set(range(channel.cursor, topic.routed)) - set(topic.stepped)
                seqs.update(seq for delivery in channel.deadlines.live() for seq in delivery.seqs())
                seqs |= set(channel.excepted)
        runs = [run for run in topic.log.runs if run is not None]
        owed[topic.number] = {
            seq: run.frame(seq - run.first_seq)
            for run in runs
            for seq in range(run.first_seq, run.first_seq + run.count)
            if seq in seqs
        }
    return owed


@given(story=STORIES, cuts=st.sets(st.integers(1, 60), max_size=6))
def test_all_that_is_owed_is_in_the_tables(story: list[tuple[str, int]], cuts: set[int]) -> None:
    """Whenever a life is settled, what anybody is owed can be read, and of the rest at most three quarters a row."""
    teller, storage = Story(), InMemoryStorage()
    for at, (deed, number) in enumerate(story, 1):
        teller.do(deed, number)
        if at in cuts or at == len(story):
            state = teller.snapshot()
            storage.settle(state)
            for topic in teller.broker.topics.values():
                topic.log.settled_end = state.topics[topic.number].end
    owed = owed_seqs(teller)

    for number, frames in owed.items():
        for seq, frame in frames.items():
            found = storage.read(number, seq)
            assert not isinstance(found, Damage), (number, seq)
            assert frame in [run.frame(seq - run.first_seq) for run in found if 0 <= seq - run.first_seq < run.count]
    for number, rows in storage._rows.items():
        assert number in owed
        for runs in rows.values():
            held = [run.first_seq + at for run in runs for at in range(run.count)]
            assert sum(seq in owed[number] for seq in held) * REWRITE_BELOW >= len(held) or not story


@given(
    routed=st.integers(0, 600),
    cursors=st.lists(st.integers(0, 600), max_size=3),
    unfinished=st.sets(st.integers(0, 600), max_size=10),
    stepped=st.sets(st.integers(0, 600), max_size=10),
    start=st.integers(0, 600),
    count=st.integers(1, 200),
)
def test_owed_bits_are_a_plain_sets(
    routed: int, cursors: list[int], unfinished: set[int], stepped: set[int], start: int, count: int
) -> None:
    """A message is owed while it waits in its topic, a cursor is not behind it, or it is unfinished."""
    topic = TopicState(1, "orders", 1000, routed)
    for number, cursor in enumerate(cursors):
        topic.channels[number] = ChannelState(number, f"channel-{number}", min(cursor, routed))
        for seq in unfinished:
            topic.channels[number].in_flight.add(seq)
    for seq in stepped:
        topic.stepped.add(seq)

    bits = Owed(topic).bits(start, start + count)

    lowest = min([routed, *(min(cursor, routed) for cursor in cursors)])
    owed = {seq for seq in range(lowest, 1000) if seq not in stepped} | (unfinished if cursors else set())
    assert bits == sum(1 << (seq - start) for seq in range(start, start + count) if seq in owed)


def test_neighbours_are_joined_to_rows_of_a_bounded_size() -> None:
    """Small runs share rows of about 64 KiB; a row never passes that by more than one run."""
    storage = CountingTables()
    runs = [make_run(seq, [b"x" * 1000]) for seq in range(200)]

    settle(storage, NodeState(), make_state(200, 0, runs=runs))

    sizes = [sum(run.size_bytes for run in row) for row in storage._rows[1].values()]
    assert max(sizes) <= SPLIT_BYTES
    assert len(sizes) == 4
    assert all(len(row) == 1 for row in storage._rows[1].values())


def test_run_of_which_a_quarter_is_owed_stays_whole() -> None:
    """Cutting costs more than it saves, until less than a quarter is owed."""
    storage = CountingTables()
    run = make_run(0, [b"x"] * 8)

    settle(storage, NodeState(), make_state(8, 8, unfinished=[1, 6], runs=[run]))
    assert [each.count for each in storage._rows[1][0]] == [8]
    storage = CountingTables()
    settle(storage, NodeState(), make_state(8, 8, unfinished=[6], runs=[run]))

    assert [(each.first_seq, each.count) for each in storage._rows[1][6]] == [(6, 1)]


def test_unchanged_rows_are_not_looked_at() -> None:
    """A settlement costs what changed, however much waits."""
    storage = CountingTables()
    runs = [make_run(seq * 100, [b"x" * 1000] * 100) for seq in range(50)]
    first = make_state(5000, 0, runs=runs)
    settle(storage, NodeState(), first)
    storage.reads.clear()

    second = make_state(5001, 200, runs=[make_run(5000, [b"y"])])
    settle(storage, first, second)

    assert len(storage.reads) <= 2
    assert len(storage.deletes) >= 2
    assert storage.puts[-1] == 5000


def test_rows_that_nobody_is_owed_are_deleted_unread() -> None:
    """Draining a backlog does not read it again to delete it, but for the last row."""
    storage = CountingTables()
    runs = [make_run(seq * 100, [b"x" * 1000] * 100) for seq in range(20)]
    first = make_state(2000, 0, runs=runs)
    settle(storage, NodeState(), first)

    settle(storage, first, make_state(2000, 2000))

    assert storage._rows[1] == {}
    assert len(storage.reads) <= 1


def test_sparse_remainder_costs_what_is_owed() -> None:
    """Of many messages every 200th requeued, the rest finished, no more is kept than those."""
    storage = CountingTables()
    runs = [make_run(seq * 100, [b"x" * 200] * 100) for seq in range(100)]
    first = make_state(10_000, 0, runs=runs)
    settle(storage, NodeState(), first)
    whole = storage.row_bytes

    settle(storage, first, make_state(10_000, 10_000, unfinished=range(0, 10_000, 200)))

    assert storage.row_bytes == whole // 200
    assert [run.first_seq for row in storage._rows[1].values() for run in row] == list(range(0, 10_000, 200))


def test_damaged_row_is_left_for_who_meets_it() -> None:
    """A row that cannot be read is passed by, and goes when nobody is owed it."""
    storage = CountingTables()
    first = make_state(100, 0, runs=[make_run(0, [b"x"] * 50), make_run(50, [b"x" * 2000] * 50)])
    settle(storage, NodeState(), first)
    storage.read_row = lambda topic, first_seq: None

    second = make_state(100, 99)
    settle(storage, first, second)
    assert storage._rows[1]
    third = NodeState()
    settle(storage, second, third)

    assert 1 not in storage._rows


def test_deleted_channel_frees_what_it_alone_was_owed() -> None:
    """When a channel goes, rows that only it needed go with the next settlement."""
    storage = CountingTables()
    state = make_state(100, 0, runs=[make_run(0, [b"x"] * 100)])
    state.topics[1].channels[3] = ChannelState(3, "audit", 100)
    settle(storage, NodeState(), state)

    after = NodeState(topics={1: TopicState(1, "orders", 100, 100, channels={3: ChannelState(3, "audit", 100)})})
    settle(storage, state, after)

    assert storage._rows[1] == {}


@pytest.mark.parametrize("end, wanted", [(10, [(2, 3), (7, 8)]), (7, [(2, 3)])])
def test_owed_parts_are_the_owed_stretches(end: int, wanted: list[tuple[int, int]]) -> None:
    """A run is cut into the stretches that are owed, up to an end."""
    owed = Owed(make_state(20, 20, unfinished=[2, 7]).topics[1])

    parts = list(owed_parts(make_run(0, [b"x"] * 10), end, owed))

    assert [(part.first_seq, part.first_seq + part.count) for part in parts] == wanted
