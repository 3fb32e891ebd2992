"""Where two bodies, rows of bodies or JSON values differ first."""

from typing import Any

import pytest

from nsqlite.testing.difference import MAX_DIFFERENCES, common, likeness, of_bodies, of_bytes, of_json

LONG = b"a bill for order 7, to be paid within thirty days, by "


@pytest.mark.parametrize("one,other,count", [(b"", b"x", 0), (b"abc", b"abd", 2), (b"ab", b"abc", 2), ("äb", "äc", 1)])
def test_common_is_how_far_two_agree(one: Any, other: Any, count: int) -> None:
    """From their beginning, whichever is longer."""
    assert common(one, other) == common(other, one) == count


def test_likeness_looks_from_both_ends() -> None:
    """A body that differs in its middle is near."""
    assert likeness(b"abXyz", b"abYyz") == 4


@pytest.mark.parametrize(
    "wanted,found,said",
    [
        (b"B", b"A", "at byte 0: 'B' is wanted, 'A' is found"),
        (LONG + b"Ann", LONG + b"Bob", "at byte 54: ...'ty days, by Ann' is wanted, ...'ty days, by Bob' is found"),
        (LONG, LONG + b"Bob", "at byte 54: the end is wanted, ...'ty days, by Bob' is found"),
        (b"1" + b"x" * 50, b"2", f"at byte 0: '1{'x' * 23}'... is wanted, '2' is found"),
    ],
)
def test_bodies_differ_at_a_byte(wanted: bytes, found: bytes, said: str) -> None:
    """Short ones are shown whole, of long ones what is around it."""
    assert of_bytes(wanted, found) == said


@pytest.mark.parametrize(
    "wanted,found,said",
    [
        ([b"A", b"B"], [b"A", b"C"], "at index 1, at byte 0: 'B' is wanted, 'C' is found"),
        ([b"A"], [b"A", b"C"], "at index 1: nothing is wanted, 'C' is found"),
        ([b"A", b"B"], [b"A"], "at index 1: 'B' is wanted, nothing is found"),
    ],
)
def test_rows_of_bodies_differ_at_an_index(wanted: list[bytes], found: list[bytes], said: str) -> None:
    """The first, also where one is longer."""
    assert of_bodies(wanted, found) == said


@pytest.mark.parametrize(
    "wanted,found,said",
    [
        ({"a": [1, {"b": 7}]}, {"a": [1, {"b": 8}]}, ["at ['a'][1]['b']: 7 is wanted, 8 is found"]),
        ({"a": 1}, {"b": 1}, ["at ['a']: 1 is wanted, nothing is found", "at ['b']: nothing is wanted, 1 is found"]),
        ([1], [1, None], ["at [1]: nothing is wanted, None is found"]),
        (7, "7", ["at its root: 7 is wanted, '7' is found"]),
        ("x" * 50 + "y", "x" * 50, ["at its root, character 50: ...'xxxxxxxxxxxxy' is wanted, the end is found"]),
        (None, "x" * 300, [f"at its root: None is wanted, '{'x' * 199}... is found"]),
        ({"a": 1}, {"a": 1.0}, []),
    ],
)
def test_json_differs_at_keys_and_indexes(wanted: Any, found: Any, said: list[str]) -> None:
    """Every place is named, with both values."""
    assert of_json(wanted, found) == said


def test_json_differences_are_not_counted_for_ever() -> None:
    """Values that have nothing in common are told apart soon enough."""
    assert len(of_json([0] * 1000, [1] * 1000)) == MAX_DIFFERENCES
