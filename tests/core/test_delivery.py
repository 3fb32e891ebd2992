"""A delivery is one hand-over: it begins with all of its messages in flight, and knows which still are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.delivery import Delivery
from tests.fakes.cores import NOW_NS, make_run


def delivery(first_seq: int = 0, count: int = 10) -> Delivery:
    """Some messages in somebody's hands."""
    run = make_run(first_seq, [b"x"] * count)
    return Delivery(run, first_seq, count, 1, NOW_NS + 60, NOW_NS + 900, 60, None)


def test_delivery_begins_with_all_in_flight() -> None:
    """Nothing of a new delivery is answered."""
    run = make_run(5, [b"a", b"b", b"c"])

    delivery = Delivery(run, 6, 2, 1, NOW_NS + 60, NOW_NS + 900, 60, None)

    assert (delivery.first_seq, delivery.count, delivery.remaining, delivery.attempts) == (6, 2, 2, 1)
    assert delivery.deadline_ns - NOW_NS == delivery.timeout_ns == 60
    assert delivery.limit_ns == NOW_NS + 900
    assert delivery.consumer is None


def test_first_id_is_counted_on_from_the_run() -> None:
    """A delivery that begins inside a run has the id of its own first message."""
    run = make_run(5, [b"a", b"b", b"c"], first_id=0x1000)

    assert Delivery(run, 5, 3, 1, NOW_NS, NOW_NS, 60, None).first_id == 0x1000
    assert Delivery(run, 7, 1, 1, NOW_NS, NOW_NS, 60, None).first_id == 0x1002


def test_size_is_its_share_of_the_run() -> None:
    """A delivery of all messages has all bytes, one of half of them half, whatever each is long."""
    run = make_run(0, [b"a", b"b" * 99, b"c", b"d" * 99])

    assert Delivery(run, 0, 4, 1, NOW_NS, NOW_NS, 60, None).size_bytes == run.size_bytes
    assert Delivery(run, 0, 2, 1, NOW_NS, NOW_NS, 60, None).size_bytes == run.size_bytes // 2


def test_letting_go_from_either_end_keeps_a_stretch() -> None:
    """What is answered in the order of delivery, or against it, leaves one stretch."""
    made = delivery(100)

    assert made.let_go(100, 3)
    assert made.let_go(109)

    assert list(made.stretches()) == [(103, 109)]
    assert made.scattered is None
    assert made.remaining == 6


def test_letting_go_in_the_middle_leaves_the_rest() -> None:
    """What lies on either side of an answered message is still held."""
    made = delivery(100, 5)

    assert made.let_go(102)

    assert made.seqs() == [100, 101, 103, 104]
    assert sorted(made.stretches()) == [(100, 101), (101, 102), (103, 104), (104, 105)]
    assert not made.holds(102)


@pytest.mark.parametrize("seq, count", [(99, 1), (99, 2), (110, 1), (109, 2), (100, 11), (104, 1), (103, 3)])
def test_letting_go_is_all_or_nothing(seq: int, count: int) -> None:
    """Of messages in a row that are not all held, none is let go."""
    made = delivery(100)
    made.let_go(104)
    before = made.seqs()

    assert not made.let_go(seq, count)

    assert made.seqs() == before
    made.check()


def test_letting_all_go_leaves_nothing() -> None:
    """Whether in one stretch or scattered, nothing is held any more."""
    whole, scattered = delivery(), delivery()
    scattered.let_go(5)

    for made in (whole, scattered):
        made.let_all_go()

        assert (made.remaining, made.seqs(), list(made.stretches())) == (0, [], [])
        assert not any(made.holds(seq) for seq in range(10))
        assert not made.let_go(0)
        made.check()


@given(steps=st.lists(st.tuples(st.integers(-2, 22), st.integers(1, 6)), max_size=30))
def test_delivery_is_a_set_of_what_it_holds(steps: list[tuple[int, int]]) -> None:
    """However messages are let go, a delivery holds what a plain set would."""
    made, model = delivery(count=20), set(range(20))
    for seq, count in steps:
        gone = set(range(seq, seq + count))
        is_held = gone <= model

        assert made.let_go(seq, count) == is_held

        model -= gone if is_held else set()
        made.check()
        assert set(made.seqs()) == model
        assert {each for each in range(-3, 30) if made.holds(each)} == model
        assert {each for start, stop in made.stretches() for each in range(start, stop)} == model
