"""Deadlines come due in order, each once, and what was answered never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER, Deadlines
from tests.fakes.cores import make_run

RUN = make_run(0, [b"x"] * 10)


def make_delivery(deadline_ns: int, timeout_ns: int = 60) -> Delivery:
    """One message in flight until a time."""
    return Delivery(RUN, 0, 1, 1, deadline_ns, deadline_ns, timeout_ns, None)


def test_nothing_in_flight_is_never_due() -> None:
    """Without deliveries there is no deadline."""
    deadlines = Deadlines()

    assert deadlines.next_ns() == NEVER
    assert list(deadlines.pop_due(NEVER)) == []


def test_delivery_is_due_at_its_deadline_and_once() -> None:
    """Not a nanosecond before, and never again."""
    deadlines, delivery = Deadlines(), make_delivery(100)
    deadlines.add(delivery)

    assert list(deadlines.pop_due(99)) == []
    assert list(deadlines.pop_due(100)) == [delivery]
    assert list(deadlines.pop_due(200)) == []


def test_answered_delivery_is_never_due() -> None:
    """A delivery with nothing left in flight is passed over."""
    deadlines, answered, held = Deadlines(), make_delivery(100), make_delivery(101)
    deadlines.add(answered)
    deadlines.add(held)
    answered.remaining = 0

    assert list(deadlines.pop_due(200)) == [held]
    assert list(deadlines.live()) == []


def test_touched_deadlines_come_in_their_own_order() -> None:
    """Touching gives any deadline, so those are sorted."""
    deadlines = Deadlines()
    late, early = make_delivery(300), make_delivery(200)
    deadlines.add_touched(late)
    deadlines.add_touched(early)

    assert deadlines.next_ns() == 200
    assert list(deadlines.pop_due(300)) == [early, late]


def test_caller_may_stop_half_way() -> None:
    """What was not asked for stays due for the next turn."""
    deadlines = Deadlines()
    held = [make_delivery(100 + at) for at in range(4)]
    for delivery in held:
        deadlines.add(delivery)

    first = next(iter(deadlines.pop_due(1000)))

    assert [first, *deadlines.pop_due(1000)] == held


def test_answered_deliveries_do_not_pile_up() -> None:
    """Behind one that is held for long, a hundred thousand answered ones cost a bounded amount."""
    deadlines, held = Deadlines(), make_delivery(1)
    deadlines.add(held)
    deadlines.add_touched(make_delivery(1))

    for at in range(10_000):
        answered, touched = make_delivery(100 + at), make_delivery(100 + at)
        deadlines.add(answered)
        deadlines.add_touched(touched)
        answered.remaining = touched.remaining = 0

    assert len(deadlines.lanes[60]) < 300
    assert len(deadlines.touched) < 300
    assert deadlines.next_ns() == 1


def test_clear_forgets_all() -> None:
    """After clearing nothing is in flight."""
    deadlines = Deadlines()
    deadlines.add(make_delivery(5))
    deadlines.add_touched(make_delivery(6))

    deadlines.clear()

    assert list(deadlines.live()) == []
    assert deadlines.next_ns() == NEVER


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "touch", "answer", "pass"]), st.integers(0, 40), st.sampled_from([10, 25])),
        max_size=60,
    )
)
def test_deadlines_agree_with_a_plain_list(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is added, answered and due, nothing is lost, early, late or due twice."""
    deadlines, held, now_ns = Deadlines(), [], 0
    for what, amount, timeout_ns in steps:
        if what == "add":
            held.append(make_delivery(now_ns + timeout_ns, timeout_ns))
            deadlines.add(held[-1])
        elif what == "touch":
            held.append(make_delivery(now_ns + amount + 1, timeout_ns))
            deadlines.add_touched(held[-1])
        elif what == "answer" and held:
            held.pop(amount % len(held)).remaining = 0
        elif what == "pass":
            now_ns += amount
            due = {id(each) for each in deadlines.pop_due(now_ns)}
            assert due == {id(each) for each in held if each.deadline_ns <= now_ns}
            held = [each for each in held if each.deadline_ns > now_ns]
        assert deadlines.next_ns() <= min((each.deadline_ns for each in held), default=NEVER)
        assert {id(each) for each in deadlines.live()} == {id(each) for each in held}


@pytest.mark.parametrize("timeout_ns", [10, 10_000])
def test_lanes_of_other_timeouts_do_not_hide_each_other(timeout_ns: int) -> None:
    """A short timeout behind long ones is due in its own time."""
    deadlines = Deadlines()
    deadlines.add(make_delivery(5_000, 5_000))
    deadlines.add(make_delivery(timeout_ns, timeout_ns))

    assert deadlines.next_ns() == min(timeout_ns, 5_000)
