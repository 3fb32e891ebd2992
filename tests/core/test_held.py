"""A client answers ids; what it holds is found by them, whatever else it held before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.delivery import Delivery
from nsqlite.core.held import Held
from tests.fakes.cores import NOW_NS, TIMEOUT_NS, make_run

FIRST_ID = 1000  # of seq 0, as make_run counts


def delivery(first_seq: int, count: int, attempts: int = 1) -> Delivery:
    """Hand `count` messages over, all in flight."""
    run = make_run(first_seq, [b"x"] * count)
    return Delivery(run, first_seq, count, attempts, NOW_NS + TIMEOUT_NS, NOW_NS + TIMEOUT_NS, TIMEOUT_NS, None)


def holding(*deliveries: Delivery) -> Held:
    """One that has taken these up, in this order."""
    held = Held()
    for each in deliveries:
        held.add(each)
        held.check()
    return held


def found(held: Held, seq: int) -> Delivery | None:
    """What an id leads to, if that still holds it."""
    at = held.find(FIRST_ID + seq)
    return at if at is not None and at.holds(seq) else None


def test_find_knows_every_id_of_a_delivery() -> None:
    """From the first to the last id of a stretch, and the one of a single message, and none beside them."""
    stretch, single = delivery(10, 3), delivery(20, 1)
    held = holding(stretch, single)

    assert [held.find(FIRST_ID + seq) for seq in (10, 11, 12)] == [stretch] * 3
    assert held.find(FIRST_ID + 20) is single
    assert [held.find(FIRST_ID + seq) for seq in (-1, 0, 9, 13, 19, 21)] == [None] * 6


def test_find_in_nothing_is_nothing() -> None:
    """Who holds nothing is not asked twice, not even for what is no id at all."""
    held = holding()

    assert held.find(FIRST_ID) is None
    assert held.find(-1) is None
    assert list(held) == []


def test_find_does_not_depend_on_the_order_of_delivery() -> None:
    """A stretch with lower ids may come after one with higher ids, as delayed ones do."""
    late, middle, early = delivery(30, 5), delivery(20, 5), delivery(10, 5)

    held = holding(late, early, middle)

    assert [held.find(FIRST_ID + seq) for seq in (10, 20, 30)] == [early, middle, late]
    assert [held.find(FIRST_ID + seq) for seq in (14, 24, 34)] == [early, middle, late]
    assert [held.find(FIRST_ID + seq) for seq in (15, 25, 35)] == [None] * 3


def test_redelivered_message_is_found_in_its_new_delivery() -> None:
    """A message of a stretch that comes again by itself is answered by its last delivery; its neighbours stay."""
    stretch = delivery(0, 5)
    held = holding(stretch)
    stretch.let_go(2)

    again = delivery(2, 1, attempts=2)
    held.add(again)

    assert found(held, 2) is again
    assert [found(held, seq) for seq in (1, 3)] == [stretch] * 2


def test_touched_message_is_found_in_its_new_delivery() -> None:
    """A touch is a new delivery of one message, and so is the next touch."""
    first = delivery(0, 1)
    held = holding(first)
    for _ in range(3):
        first.let_go(0)
        touched = delivery(0, 1)
        held.add(touched)

        assert found(held, 0) is touched
        first = touched


def test_answered_message_is_held_by_nothing_that_is_found() -> None:
    """What was answered may still be found, but in nothing that holds it."""
    stretch, single = delivery(0, 3), delivery(5, 1)
    held = holding(stretch, single)

    stretch.let_go(1)
    single.let_go(5)

    assert [found(held, seq) for seq in (0, 1, 2, 5)] == [stretch, None, stretch, None]


def test_iteration_tells_what_still_holds_something() -> None:
    """Deliveries that were answered to the end are not among what is held."""
    stretch, half, single, answered = delivery(0, 3), delivery(5, 2), delivery(10, 1), delivery(11, 1)
    held = holding(stretch, half, single, answered)

    stretch.let_go(0, 3)
    half.let_go(5)
    answered.let_go(11)

    assert set(held) == {half, single}


def test_answered_deliveries_are_forgotten() -> None:
    """However many were handed over, what is kept is in proportion to what is held."""
    held = Held()
    kept = delivery(0, 2)
    held.add(kept)

    for seq in range(10, 10_000, 3):
        for each in (delivery(seq, 2), delivery(seq + 2, 1)):
            held.add(each)
            each.let_all_go()

    assert len(held._singles) + len(held._stretches) < 200
    assert found(held, 1) is kept
    held.check()


def test_forgetting_loses_nothing_that_is_held() -> None:
    """What is held is kept, be it a thousand deliveries."""
    deliveries = [delivery(seq, 1 + seq // 10 % 2) for seq in range(0, 10_000, 10)]

    held = holding(*deliveries)

    assert set(held) == set(deliveries)
    assert [held.find(FIRST_ID + each.first_seq) for each in deliveries] == deliveries


def test_check_finds_stretches_that_overlap() -> None:
    """Two stretches with an id in common are a broken invariant."""
    held = Held()
    held.add(delivery(0, 5))
    held.add(delivery(4, 3))

    with pytest.raises(AssertionError):
        held.check()


STEPS = st.lists(
    st.tuples(st.sampled_from(["hand out", "finish", "finish", "come again", "let all go"]), st.integers(0, 29)),
    max_size=120,
)


@given(steps=STEPS, order=st.permutations(range(30)))
def test_held_is_a_dict_of_what_is_in_flight(steps: list[tuple[str, int]], order: list[int]) -> None:
    """After any steps an id is found if and only if it is held, in the delivery that holds it."""
    held = Held()
    model: dict[int, Delivery] = {}
    fresh = list(order)
    for what, number in steps:
        if what == "hand out" and fresh:
            first = 10 * fresh.pop()
            made = delivery(first, 1 + number % 10)
            held.add(made)
            model |= dict.fromkeys(range(first, first + made.count), made)
        elif model and what != "hand out":
            seq = sorted(model)[number % len(model)]
            if what == "let all go":
                model[seq].let_all_go()
                model = {each: by for each, by in model.items() if by.remaining}
            else:
                assert model.pop(seq).let_go(seq)
            if what == "come again":
                model[seq] = delivery(seq, 1, attempts=2)
                held.add(model[seq])
        held.check()
        assert {seq: by for seq in range(-1, 301) if (by := found(held, seq)) is not None} == model
        assert set(held) == set(model.values())
