"""What is packed unpacks to the same, and what was damaged is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.run import Run
from nsqlite.seqset import SeqSet
from nsqlite.state import ChannelState, NodeState, TopicState
from nsqlite.storage import layout
from nsqlite.storage.replay import Replay
from tests.fakes.cores import make_run
from tests.fakes.stories import STORIES, Story

U32, U48, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**64 - 1)
NAMES = st.text("abcXYZ019._-", min_size=1, max_size=64)
RUNS = st.builds(
    make_run,
    st.integers(0, 2**40),
    st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=10),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
)
RANGES = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 50)), max_size=8)


def same_run(one: Run, other: Run) -> bool:
    """Whether two runs hold the same messages in the same places."""
    heads = [(run.first_seq, run.first_id, run.count, run.due_ns, run.frames) for run in (one, other)]
    return heads[0] == heads[1]


@given(store_id=st.binary(min_size=16, max_size=16), epoch=U64, number=U64)
def test_segment_head_round_trips(store_id: bytes, epoch: int, number: int) -> None:
    """Store, epoch and number of a segment are read back."""
    head = layout.pack_segment_head(store_id, epoch, number)

    assert len(head) == layout.SEGMENT_HEAD.size
    assert layout.unpack_segment_head(head + b"records") == (store_id, epoch, number)


def test_segment_head_with_any_flaw_is_none() -> None:
    """No flipped bit, no other format and no short file passes for a header."""
    head = layout.pack_segment_head(b"0123456789abcdef", 3, 4)

    for at in range(len(head)):
        assert layout.unpack_segment_head(head[:at] + bytes([head[at] ^ 1]) + head[at + 1 :]) is None
        assert layout.unpack_segment_head(head[:at]) is None
    assert layout.unpack_segment_head(bytes(100)) is None


@given(topic=U32, run=RUNS, is_routed=st.booleans())
def test_publish_round_trips(topic: int, run: Run, is_routed: bool) -> None:
    """A run's entry gives the run back, and whether it was routed."""
    payload = layout.pack_publish(topic, run, is_routed=is_routed) + run.frames

    [(kind, number, found)] = layout.unpack_entries(payload)

    assert (kind, number) == (layout.ROUTED if is_routed else layout.PUBLISHED, topic)
    assert same_run(found, run)
    found.check()


@given(topic=U32, channel=U32, value=U64, name=NAMES, kind=st.sampled_from([2, 6]))
def test_named_entry_round_trips(topic: int, channel: int, value: int, name: str, kind: int) -> None:
    """An entry that makes something gives its numbers and its name back."""
    packed = layout.pack_named(kind, topic, channel, value, name)

    assert list(layout.unpack_entries(packed)) == [(kind, topic, channel, value, name)]


@given(topic=U32, channel=U32, value=U64, kind=st.sampled_from([3, 4, 5, 7, 8, 9]))
def test_numbered_entry_round_trips(topic: int, channel: int, value: int, kind: int) -> None:
    """An entry about something that exists gives its numbers back."""
    packed = layout.pack_numbered(kind, topic, channel, value)

    assert list(layout.unpack_entries(packed)) == [(kind, topic, channel, value)]


@pytest.mark.parametrize(
    "entry", [(16, 7, 2**40, 9), (17, 7, 5, 1, 65_535, 3), (18, 7, 5, 6), (19, 7, 5, 2, 2**62), (20, 7, 5, 3, 65_535)]
)
def test_progress_round_trips(entry: tuple[int, ...]) -> None:
    """Each kind of progress gives its numbers back."""
    assert list(layout.unpack_entries(layout.pack_progress([entry]))) == [entry]


def test_entries_of_a_record_stay_in_order() -> None:
    """A record is its entries, one after another."""
    run = make_run(0, [b"a"])
    payload = b"".join(
        [
            layout.pack_progress([(16, 2, 0, 1)]),
            layout.pack_named(layout.TOPIC_MADE, 1, 0, 0, "orders"),
            layout.pack_publish(1, run, is_routed=False),
            run.frames,
            layout.pack_numbered(layout.TOPIC_EMPTIED, 1, 0, 5),
        ]
    )

    assert [entry[0] for entry in layout.unpack_entries(payload)] == [16, 2, 1, 5]


def test_touching_progress_becomes_one_entry() -> None:
    """Messages taken and finished one by one cost the journal two entries."""
    progress = [entry for seq in range(100) for entry in ((16, 2, seq, 1), (18, 2, seq, 1))]

    packed = layout.pack_progress(progress)

    assert list(layout.unpack_entries(packed)) == [(16, 2, 0, 100), (18, 2, 0, 100)]


@given(story=STORIES)
def test_packing_progress_changes_no_outcome(story: list[tuple[str, int]]) -> None:
    """However progress is put together, replay ends where the single steps would end."""
    teller = Story()
    teller.tell(story)
    teller.snapshot()
    outcomes = []
    for packed in (
        [layout.pack_progress([entry]) for entry in teller.progress],
        [layout.pack_progress(teller.progress)] if teller.progress else [],
    ):
        topics = {}
        for at, topic in enumerate(teller.broker.topics.values()):
            topics[at] = TopicState(at, topic.name, topic.end, topic.end)
            for channel in topic.channels.values():
                topics[at].channels[channel.number] = ChannelState(channel.number, channel.name, 0)
        replay = Replay(NodeState(topics=topics))
        for lsn, payload in enumerate(packed, 1):
            replay.apply(lsn, payload)
        state = replay.finish()
        outcomes.append(
            {
                channel.number: (channel.cursor, set(channel.unfinished()), sorted(channel.exceptions))
                for topic in state.topics.values()
                for channel in topic.channels.values()
            }
        )

    assert outcomes[0] == outcomes[1]


@given(name=NAMES, end=U64, routed=U64, is_paused=st.booleans())
def test_topic_round_trips(name: str, end: int, routed: int, is_paused: bool) -> None:
    """A topics row gives back what it says of a topic."""
    packed = layout.pack_topic(TopicState(3, name, end, routed, is_paused))

    assert layout.unpack_topic(3, packed) == TopicState(3, name, end, routed, is_paused)


@given(name=NAMES, cursor=U64, is_paused=st.booleans(), ranges=RANGES)
def test_channel_round_trips(name: str, cursor: int, is_paused: bool, ranges: list[tuple[int, int]]) -> None:
    """A channels row gives back cursor, pause and what was in flight."""
    channel = ChannelState(3, name, cursor, is_paused)
    for start, count in ranges:
        channel.in_flight.add_range(start, start + count)

    assert layout.unpack_channel(3, layout.pack_channel(channel)) == channel


@given(runs=st.lists(RUNS, min_size=1, max_size=5))
def test_row_round_trips(runs: list[Run]) -> None:
    """A log row gives its runs back, from bytes or from a view."""
    key = layout.LOG_KEY.pack(1, runs[0].first_seq)
    packed = layout.pack_row(key, runs)

    for value in (packed, memoryview(packed)):
        found = layout.unpack_row(key, value)
        assert found is not None
        assert all(same_run(one, other) for one, other in zip(found, runs, strict=True))


@given(data=st.data())
def test_row_with_any_flaw_is_none(data: st.DataObject) -> None:
    """A flipped bit, a lost end or another key is seen, wherever it is."""
    key = layout.LOG_KEY.pack(1, 0)
    packed = layout.pack_row(key, [make_run(0, [b"abc"] * 3)])
    at = data.draw(st.integers(0, len(packed) - 1))
    bit = 1 << data.draw(st.integers(0, 7))

    assert layout.unpack_row(key, packed[:at] + bytes([packed[at] ^ bit]) + packed[at + 1 :]) is None
    assert layout.unpack_row(key, packed[:at]) is None
    assert layout.unpack_row(layout.LOG_KEY.pack(1, 1), packed) is None


@given(ranges=RANGES)
def test_stepped_rows_round_trip(ranges: list[tuple[int, int]]) -> None:
    """A set written block by block is the same set."""
    seqs = SeqSet()
    for start, count in ranges:
        seqs.add_range(start, start + count)

    rows = [(block, layout.pack_block(bits)) for block, bits in seqs.blocks.items()]

    assert layout.unpack_blocks(rows) == seqs


def test_keys_sort_as_numbers() -> None:
    """The tables' order is the order of seqs, topics first."""
    pairs = [(1, 0), (1, 255), (1, 256), (1, 2**40), (2, 0), (256, 0)]

    assert sorted(layout.LOG_KEY.pack(*pair) for pair in pairs) == [layout.LOG_KEY.pack(*pair) for pair in pairs]


def test_kinds_have_numbers_of_their_own() -> None:
    """No two kinds of entry share a number; those on disk never change."""
    kinds = {
        name: value for name, value in vars(layout).items() if name.isupper() and type(value) is int and value < 16
    }
    del kinds["FORMAT_VERSION"]

    assert len(set(kinds.values())) == len(kinds)
    assert (layout.PUBLISHED, layout.ROUTED, layout.ADOPTED, layout.FORMAT_VERSION) == (1, 10, 11, 1)
