"""Durations as Go reads and prints them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.go_duration import MAX_NS, format_duration, parse_duration

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    "text, ns",
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("60s", 60 * SECOND),
        ("+5s", 5 * SECOND),
        ("-1.5h", -5400 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("250ms", 250_000_000),
        ("1us", 1_000),
        ("1\N{MICRO SIGN}s", 1_000),
        ("1\N{GREEK SMALL LETTER MU}s", 1_000),
        ("7ns", 7),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("9223372036854775807ns", MAX_NS),
        ("-9223372036854775808ns", -MAX_NS - 1),
    ],
)
def test_parse_duration_reads_what_go_reads(text: str, ns: int) -> None:
    """Numbers with units add up, with a sign in front of all."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "invalid duration"),
        ("-", "invalid duration"),
        ("s", "invalid duration"),
        (".s", "invalid duration"),
        ("60", "missing unit in duration"),
        ("1s60", "missing unit in duration"),
        ("1d", "unknown unit 'd' in duration"),
        ("1 s", "unknown unit ' s' in duration"),
        ("1s ", "unknown unit 's ' in duration"),
        ("\N{ARABIC-INDIC DIGIT ONE}s", "invalid duration"),
        ("9223372036854775808ns", "invalid duration"),
        ("3000000h", "invalid duration"),
        ("1" * 10_000 + "s", "invalid duration"),
    ],
)
def test_parse_duration_refuses_what_go_refuses(text: str, words: str) -> None:
    """A number without a unit, an unknown unit, and what does not fit 64 bits are refused."""
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


@pytest.mark.parametrize(
    "ns, text",
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1\N{MICRO SIGN}s"),
        (25_000_000, "25ms"),
        (2_200_000, "2.2ms"),
        (SECOND, "1s"),
        (60 * SECOND, "1m0s"),
        (900 * SECOND, "15m0s"),
        (3600 * SECOND, "1h0m0s"),
        (-(3600 + 61) * SECOND - 1, "-1h1m1.000000001s"),
    ],
)
def test_format_duration_prints_as_go(ns: int, text: str) -> None:
    """Zeros behind the point are left out, units below the largest are not."""
    assert format_duration(ns) == text


@given(st.integers(-MAX_NS, MAX_NS))
def test_duration_comes_back_as_it_was(ns: int) -> None:
    """What is printed is read as the same."""
    assert parse_duration(format_duration(ns)) == ns
