"""The part of a log that is in memory: in order, found by seq, and let go of in one pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.log import TopicLog
from tests.fakes.cores import make_run


def make_log(counts: list[int], first: int = 0) -> TopicLog:
    """A log of runs with these counts, one behind another."""
    log = TopicLog()
    for count in counts:
        log.append(make_run(first, [b"x"] * count))
        first += count
    return log


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_find_gives_the_run_that_holds_a_seq(counts: list[int]) -> None:
    """Every seq is found in its run, and none outside the log."""
    log = make_log(counts, first=10)
    end = 10 + sum(counts)

    for seq in range(10, end):
        run = log.find(seq)
        assert run is not None
        assert run.first_seq <= seq < run.first_seq + run.count
    assert log.find(9) is None
    assert log.find(end) is None
    log.check()


def test_insert_puts_a_loaded_run_in_its_place() -> None:
    """A run that comes back from storage goes where its seqs are, once."""
    log = make_log([2], first=10)

    assert log.insert(make_run(0, [b"x"] * 3))
    assert log.insert(make_run(5, [b"x"] * 2))
    assert not log.insert(make_run(5, [b"x"] * 2))

    assert log.firsts == [0, 5, 10]
    assert log.find(4) is None
    log.check()


def test_unsettled_are_the_runs_that_storage_lacks() -> None:
    """Only runs from settled_end on are still to be written."""
    log = make_log([2, 3, 1])

    log.settled_end = 2

    assert [run.first_seq for run in log.unsettled()] == [2, 5]
    assert log.has_unsettled

    log.settled_end = 6

    assert log.unsettled() == []
    assert not log.has_unsettled


@given(counts=st.lists(st.integers(1, 3), min_size=1, max_size=12), data=st.data())
def test_forget_lets_go_of_just_those(counts: list[int], data: st.DataObject) -> None:
    """Whether they are at the front or scattered, the runs named go and the others stay."""
    log = make_log(counts)
    gone = data.draw(st.sets(st.sampled_from(log.firsts)))
    kept = [first for first in log.firsts if first not in gone]

    log.forget(gone)

    assert log.firsts == kept
    log.check()


def test_check_finds_runs_that_overlap() -> None:
    """Two runs with the same seq are a broken log."""
    log = make_log([3])
    log.append(make_run(2, [b"x"]))

    with pytest.raises(AssertionError):
        log.check()
