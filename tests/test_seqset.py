"""A SeqSet is a set of ints, and nothing of its blocks shows."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.seqset import BLOCK_BITS, SeqSet, runs_of_ones

SEQS = st.integers(0, 5 * BLOCK_BITS)
RANGES = st.tuples(SEQS, st.integers(0, 3 * BLOCK_BITS)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "discard"]), SEQS),
        st.tuples(st.sampled_from(["add_range", "discard_range", "update"]), RANGES),
    ),
    max_size=25,
)


def build(steps: list[tuple]) -> tuple[SeqSet, set[int]]:
    """Do the same to a SeqSet and to a plain set."""
    ours, plain = SeqSet(), set()
    for name, given_to in steps:
        if name == "add":
            ours.add(given_to)
            plain.add(given_to)
        elif name == "discard":
            ours.discard(given_to)
            plain.discard(given_to)
        elif name == "add_range":
            ours.add_range(*given_to)
            plain |= set(range(*given_to))
        elif name == "discard_range":
            ours.discard_range(*given_to)
            plain -= set(range(*given_to))
        else:
            other = SeqSet()
            other.add_range(*given_to)
            ours.update(other)
            plain |= set(range(*given_to))
    return ours, plain


@given(steps=STEPS)
def test_seqset_holds_what_a_plain_set_holds(steps: list[tuple]) -> None:
    """After any steps it has the same members, in order, and the same size."""
    ours, plain = build(steps)

    ours.check()
    assert list(ours) == sorted(plain)
    assert len(ours) == len(plain)
    assert bool(ours) == bool(plain)
    assert ours.lowest() == min(plain, default=None)


@given(steps=STEPS, around=RANGES)
def test_seqset_answers_as_a_plain_set_would(steps: list[tuple], around: tuple[int, int]) -> None:
    """Counts, bitmaps and neighbours agree with a plain set's."""
    ours, plain = build(steps)
    start, stop = around
    inside = [seq for seq in range(start, stop) if seq in plain]
    absent = start
    while absent in plain:
        absent += 1

    assert (start in ours) == (start in plain)
    assert ours.count_range(start, stop) == len(inside)
    assert ours.bits(start, stop) == sum(1 << (seq - start) for seq in inside)
    assert ours.next_absent(start) == absent
    assert ours.next_present(start, stop) == min(inside, default=stop)


@given(steps=STEPS)
def test_ranges_are_the_longest_stretches(steps: list[tuple]) -> None:
    """Ranges cover the set and nothing else, and no two of them touch."""
    ours, plain = build(steps)

    ranges = list(ours.ranges())

    assert [seq for start, stop in ranges for seq in range(start, stop)] == sorted(plain)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


@given(steps=STEPS, more=RANGES)
def test_copy_is_independent(steps: list[tuple], more: tuple[int, int]) -> None:
    """What is done to a copy does not show in the original, and equality is by members."""
    ours, plain = build(steps)

    copy = ours.copy()

    assert copy == ours
    copy.add_range(*more)
    copy.discard(more[0])
    assert set(ours) == plain
    assert (copy == ours) == (set(copy) == plain)
    assert ours != plain


def test_far_apart_ranges_cost_only_their_blocks() -> None:
    """Clearing and counting a huge range touches the blocks that exist, not the range."""
    ours = SeqSet()
    ours.add_range(100, 110)
    ours.add(1 << 46)

    counted = ours.count_range(105, 1 << 47)
    ours.discard_range(105, (1 << 46) + 1)

    assert counted == 6
    assert list(ours) == [100, 101, 102, 103, 104]


@given(bits=st.integers(0, (1 << 80) - 1))
def test_runs_of_ones_are_the_set_bits(bits: int) -> None:
    """The stretches of a bitmap, put together, are the bitmap."""
    runs = list(runs_of_ones(bits))

    assert sum(1 << bit for start, stop in runs for bit in range(start, stop)) == bits
    assert all(start < stop for start, stop in runs)


def test_keep_takes_an_emptied_block_away() -> None:
    """A block that loses its last bit is gone, so that an empty set costs nothing."""
    ours = SeqSet()
    ours.add_range(0, 10)

    ours.keep(0, 0)

    assert not ours
    assert ours.blocks == {}


def test_check_finds_an_empty_block() -> None:
    """An empty block in a set is a broken invariant."""
    with pytest.raises(AssertionError):
        SeqSet({0: 0}).check()


def test_seqset_cannot_be_hashed() -> None:
    """It changes, so it is no key."""
    with pytest.raises(TypeError):
        hash(SeqSet())
