"""Ids rise, whatever the wall clock does, and say which node gave them."""

from hypothesis import given
from hypothesis import strategies as st

from nsqlite.ids import COUNTER_BITS, MAX_NODE_ID, first_id, format_id, format_ids

WALL_NS = 1_700_000_000_000_000_000


def test_first_id_starts_at_the_wall_clock() -> None:
    """A new node's counter is the wall clock in microseconds, behind the node id."""
    assert first_id(5, 0, WALL_NS) == 5 << COUNTER_BITS | WALL_NS // 1000


def test_first_id_goes_on_from_the_last_one() -> None:
    """A wall clock that stepped back does not bring old ids again."""
    last = 5 << COUNTER_BITS | WALL_NS // 1000 + 10**9

    assert first_id(5, last, WALL_NS) == last + 1


def test_first_id_jumps_to_a_later_wall_clock() -> None:
    """A wall clock that went on is followed."""
    last = 5 << COUNTER_BITS | WALL_NS // 1000 - 10**9

    assert first_id(5, last, WALL_NS) == 5 << COUNTER_BITS | WALL_NS // 1000


@given(node_id=st.integers(0, MAX_NODE_ID), old=st.integers(0, MAX_NODE_ID), wall_ns=st.integers(0, 2**62))
def test_first_id_holds_its_node_and_a_new_counter(node_id: int, old: int, wall_ns: int) -> None:
    """A store that was given another node id counts on under the new one."""
    counter = 1 << 50

    made = first_id(node_id, old << COUNTER_BITS | counter, wall_ns)

    assert made >> COUNTER_BITS == node_id
    assert made & ((1 << COUNTER_BITS) - 1) > counter
    assert made < 1 << 64


@given(first=st.integers(0, 2**64 - 100), count=st.integers(0, 100))
def test_format_ids_is_format_id_for_each(first: int, count: int) -> None:
    """Many ids at once are the ids one by one: 16 lower-case hex digits."""
    ids = format_ids(first, count)

    assert ids == [format_id(first + i) for i in range(count)]
    assert all(len(each) == 16 and int(each, 16) == first + i for i, each in enumerate(ids))
    assert all(each == each.lower() for each in ids)


def test_ids_sort_as_numbers() -> None:
    """Bytes of ids sort as the ids do."""
    ids = format_ids((1 << 20) - 5, 10)

    assert ids == sorted(ids)
