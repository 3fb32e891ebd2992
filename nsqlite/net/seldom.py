"""Saying something again only after a while: what a stranger can cause may not fill the log. Pure."""

from __future__ import annotations

from typing import Final

MINUTE_NS: Final = 60_000_000_000


class Seldom:
    """Whether it is time to say it again."""

    def __init__(self, interval_ns: int = MINUTE_NS) -> None:
        self._interval_ns = interval_ns
        self._next_ns: int | None = None

    def may(self, now_ns: int) -> bool:
        """True the first time, and once an interval afterwards."""
        if self._next_ns is not None and now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + self._interval_ns
        return True
