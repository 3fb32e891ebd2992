"""Tests of saying something seldom."""

from nsqlite.net.seldom import Seldom


def test_something_is_said_once_an_interval() -> None:
    """At once the first time, whatever the clock says; then when the interval is over."""
    seldom = Seldom(10)

    assert [seldom.may(now_ns) for now_ns in (0, 1, 9, 10, 11, 19, 25, 34, 35)] == [
        True, False, False, True, False, False, True, False, True,
    ]  # fmt: skip
