"""Go's durations, `1h30m` or `250ms`, as integer nanoseconds and back; pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

NS: Final = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
MAX_NS: Final = (1 << 63) - 1
# Digits that only together are far too many for 64 bits would make Python count them at its leisure.
_MAX_CHARACTERS: Final = 100
_PIECE: Final = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration as Go's `time.ParseDuration` reads it: every number has a unit, but 0.

    Raises:
        ValueError: In Go's words.
    """
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0
    if not unsigned or len(unsigned) > _MAX_CHARACTERS:
        raise ValueError(f"invalid duration {text!r}")
    total, at = 0, 0
    while at < len(unsigned):
        piece = _PIECE.match(unsigned, at)
        if piece is None:
            raise ValueError(f"invalid duration {text!r}")
        total += _nanoseconds(piece, text)
        at = piece.end()
    if text.startswith("-"):
        total = -total
    if not -MAX_NS - 1 <= total <= MAX_NS:
        raise ValueError(f"invalid duration {text!r}")
    return total


def _nanoseconds(piece: re.Match[str], text: str) -> int:
    whole, fraction, unit = piece[1], piece[2] or "", piece[3]
    if not unit:
        raise ValueError(f"missing unit in duration {text!r}")
    if unit not in NS:
        raise ValueError(f"unknown unit {unit!r} in duration {text!r}")
    part = Fraction(int(fraction), 10 ** len(fraction)) * NS[unit] if fraction else Fraction()
    return int(whole or 0) * NS[unit] + int(part)


def format_duration(ns: int) -> str:
    """Nanoseconds as Go prints a duration: `1h30m0s`, `1.5s`, `250ms`, `0s`."""
    sign = "-" if ns < 0 else ""
    ns = abs(ns)
    if ns < NS["s"]:
        if ns == 0:
            return "0s"
        unit = "ns" if ns < NS["us"] else "\N{MICRO SIGN}s" if ns < NS["ms"] else "ms"
        return f"{sign}{_decimal(ns, NS[unit])}{unit}"
    minutes, rest = divmod(ns, NS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, NS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
