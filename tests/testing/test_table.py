"""What a failing assertion prints, to the character."""

import pytest

from nsqlite.testing.events import Event
from nsqlite.testing.table import MAX_ROWS, full_body, shown_body, shown_seconds, table

ID = b"0123456789abcdef"


def test_table_of_nothing() -> None:
    """A test in which nothing happened is told so."""
    assert table([], {}) == "nothing happened"


def test_table_of_events_and_what_is_owed() -> None:
    """Columns are as wide as they have to be, times have no more digits than they need, and what is not is blank."""
    events = [
        Event("published", 0.0, "orders", "", ID, b"7", delay=3600.0),
        Event("delivered", 3600.0, "orders", "billing", ID, b"7", 1),
        Event("requeued", 3600.25, "orders", "billing", ID, b"7", 1, 1.5),
        Event("timed out", 12_345.678_9, "a", "b", ID, b"\x00binary", 12),
    ]

    text = table(events, {("orders", "billing"): (0, 1, 20), ("a", "b"): (3, 0, 0)})

    assert text.splitlines() == [
        "  TIME         EVENT      TOPIC   CHANNEL  ATTEMPTS  DELAY   BODY",
        "  0 s          published  orders                     3600 s  '7'",
        "  3600 s       delivered  orders  billing  1                 '7'",
        "  3600.25 s    requeued   orders  billing  1         1.5 s   '7'",
        "  12345.679 s  timed out  a       b        12                '\\x00binary'",
        "",
        "  TOPIC   CHANNEL  WAITING  IN FLIGHT  DEFERRED",
        "  a       b        3        0          0",
        "  orders  billing  0        1          20",
    ]


def test_table_keeps_the_last_rows() -> None:
    """A long story is cut at its beginning, and says by how much."""
    events = [Event("published", 0.0, "orders", "", ID, b"%d" % number) for number in range(MAX_ROWS + 5)]

    lines = table(events, {}).splitlines()

    assert lines[0] == "... 5 more before"
    assert len(lines) == MAX_ROWS + 2
    assert lines[2].endswith("'5'")
    assert lines[-1].endswith(f"'{MAX_ROWS + 4}'")


@pytest.mark.parametrize(
    "body,shown",
    [
        (b"7", "'7'"),
        (b"it's", '"it\'s"'),
        (b"\xff\n", "'\\xff\\n'"),
        (b"x" * 38, "'" + "x" * 38 + "'"),
        (b"x" * 39, "'" + "x" * 36 + "..."),
    ],
)
def test_body_is_shown_short(body: bytes, shown: str) -> None:
    """At most forty characters, with what cannot be printed escaped."""
    assert shown_body(body) == shown
    assert len(shown) <= 40


@pytest.mark.parametrize(
    "seconds,shown", [(0, "0 s"), (1, "1 s"), (0.5, "0.5 s"), (100, "100 s"), (0.0004, "0 s"), (1.2345, "1.234 s")]
)
def test_seconds_are_shown_short(seconds: float, shown: str) -> None:
    """To the millisecond."""
    assert shown_seconds(seconds) == shown


def test_full_body_is_not_cut() -> None:
    """What was wanted is told whole."""
    assert full_body(b"x" * 100 + b"\n") == "'" + "x" * 100 + "\\n'"
