"""What an assertion looks for: refused if nothing could match it, and told in full."""

import re
from datetime import timedelta
from typing import Any

import pytest

from nsqlite.errors import InvalidDelayError, InvalidOptionError
from nsqlite.testing.events import Event
from nsqlite.testing.wanted import Wanted, checked_bodies, checked_count

LONG = b"a bill for order 7, to be paid within thirty days"


def event(body: bytes, delay: float = 0.0) -> Event:
    """A publish."""
    return Event("published", 0.0, "orders", "", b"0" * 16, body, 0, delay)


def test_wanted_without_details_is_any_of_its_kind() -> None:
    """What is not given is not said."""
    assert str(Wanted("published", "orders")) == "published in orders"
    assert str(Wanted("finished", "orders", "billing", b"x", attempts=1, delay=0)) == (
        "finished in orders:billing with body 'x' at attempt 1 with a delay of 0 s"
    )


def test_wanted_body_is_told_in_full() -> None:
    """However long it is: the table has it short."""
    assert str(Wanted("published", "orders", body=LONG)) == f"published in orders with body '{LONG.decode()}'"


@pytest.mark.parametrize(
    "given,said",
    [
        ({"topic": b"orders"}, "it is of type bytes: give its name as a str"),
        ({"channel": b"billing"}, "it is of type bytes: give its name as a str"),
        ({"body": "8"}, "it is a str: encode it first, or use json="),
        ({"body": {"a": 1}}, "it is of type dict: give bytes, or use json="),
        ({"body": len}, "it is a function: use where="),
        ({"json": b"{}"}, "it is bytes: give the value that they say, or use body="),
        ({"where": b"x"}, "give a function of the body"),
        ({"attempts": 0}, "give an int from 1 up"),
        ({"attempts": True}, "give an int from 1 up"),
    ],
)
def test_what_nothing_could_match_is_refused(given: dict[str, Any], said: str) -> None:
    """With what to give."""
    with pytest.raises(InvalidOptionError, match=re.escape(said)):
        Wanted(**({"kind": "published", "topic": "orders"} | given))


@pytest.mark.parametrize("delay", [-1, "60", True, float("nan")])
def test_delay_that_is_no_time_is_refused(delay: Any) -> None:
    """As by `publish`; a timedelta is one."""
    assert Wanted("published", "orders", delay=timedelta(minutes=1)).delay == 60.0
    with pytest.raises(InvalidDelayError):
        Wanted("published", "orders", delay=delay)


@pytest.mark.parametrize("bodies", [b"7", "7", {"a": 1}, 7, ["7"]])
def test_bodies_that_are_not_several_are_refused(bodies: Any) -> None:
    """Nor is a str one of them."""
    assert checked_bodies(iter([bytearray(b"7")])) == [b"7"]
    with pytest.raises(InvalidOptionError, match=r"give a list of bytes|encode it first"):
        checked_bodies(bodies)


@pytest.mark.parametrize("count", [-1, True, False, 1.0, "1"])
def test_count_that_is_none_is_refused(count: Any) -> None:
    """0 is one."""
    assert checked_count(0) == 0
    with pytest.raises(InvalidOptionError, match="give an int from 0 up"):
        checked_count(count)


@pytest.mark.parametrize(
    "wanted,said",
    [
        ({"body": LONG + b"!"}, "the nearest differs at byte 49: ...' thirty days!' is wanted, the end is found"),
        ({"body": LONG, "delay": 60}, "the nearest has this body, with a delay of 0 s"),
        ({"json": {"id": 7, "to": "Ann"}}, "the nearest differs at ['id']: 7 is wanted, 8 is found"),
        ({"where": len, "delay": 7}, ""),
        ({"topic": "mail", "body": b"x"}, ""),
        ({"topic": "mail", "json": 7}, ""),
    ],
)
def test_nearest_is_told_by_its_difference(wanted: dict[str, Any], said: str) -> None:
    """Of all that happened there."""
    history = [
        event(b"x"),
        event(LONG),
        event(b'{"id": 8, "to": "Ann"}'),
        event(b'{"id": 9, "to": "Bob"}'),
        event(b"y"),
    ]

    assert Wanted(**({"kind": "published", "topic": "orders"} | wanted)).missed(history) == said


def test_nearest_that_is_no_json_is_told() -> None:
    """A body of another format has no keys to compare."""
    assert Wanted("published", "orders", json=[]).missed([event(b"x")]) == "the nearest differs in that it is no JSON"
