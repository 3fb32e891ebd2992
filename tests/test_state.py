"""What core and storage exchange: exceptions as ints, and states that are plain values."""

from hypothesis import given
from hypothesis import strategies as st

from nsqlite.seqset import SeqSet
from nsqlite.state import MAX_ATTEMPTS, ChannelState, pack_exception, unpack_exception

DUE, SEQ = st.integers(0, 2**63 - 1), st.integers(0, 2**48 - 1)
COUNT, ATTEMPTS = st.integers(1, 2**16 - 1), st.integers(0, MAX_ATTEMPTS)
EXCEPTIONS = st.tuples(DUE, SEQ, COUNT, ATTEMPTS)


@given(exception=EXCEPTIONS)
def test_exception_round_trips(exception: tuple[int, int, int, int]) -> None:
    """Due time, seq, count and attempts come back as they went in."""
    assert unpack_exception(pack_exception(*exception)) == exception


@given(exceptions=st.lists(EXCEPTIONS, max_size=10))
def test_exceptions_sort_by_due_time_then_seq(exceptions: list[tuple[int, int, int, int]]) -> None:
    """A heap of packed exceptions is a heap of due times."""
    packed = sorted(pack_exception(*each) for each in exceptions)

    assert [unpack_exception(each) for each in packed] == sorted(exceptions)


@given(in_flight=st.sets(st.integers(0, 1000)), excepted=st.sets(st.integers(0, 1000)))
def test_gathered_snapshot_has_each_seq_once(in_flight: set[int], excepted: set[int]) -> None:
    """What is in flight again has an exception, so it is not in flight for the first time."""
    channel = ChannelState(1, "billing", 1001, taken=[(seq, seq + 1) for seq in sorted(in_flight, reverse=True)])
    for seq in excepted:
        channel.excepted.add(seq)

    channel.gather()

    assert set(channel.in_flight) == in_flight - excepted
    assert channel.taken == []
    assert set(channel.unfinished()) == in_flight | excepted


def test_unfinished_is_a_set_of_its_own() -> None:
    """Who changes it does not change the state."""
    channel = ChannelState(1, "billing", 5)
    channel.excepted.add(1)

    channel.unfinished().add(3)

    assert list(channel.excepted) == [1]
    assert channel.in_flight == SeqSet()
