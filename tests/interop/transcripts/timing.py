"""Two kinds of time that a transcript can be played in: virtual, exact and at once; real, and about.

A transcript's times are exact. A real server is allowed to be early by `EARLY_SECONDS`,
since it began to count a little before we heard of it, and late by what a step allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from nsqlite import VirtualClock

EARLY_SECONDS = 0.15
HUSH_SECONDS = 0.1
LIMIT_SECONDS = 10.0
ROUND_TRIPS = 300
SECOND_NS = 1_000_000_000


class Time(Protocol):
    """How a player lets time pass, and how long it waits for others."""

    is_virtual: bool

    def wall_ns(self) -> int:
        """Return the hour."""

    def mark(self) -> None:
        """Bytes went or came: what is said to follow follows this."""

    def advance(self, seconds: float) -> None:
        """Let time pass; on real time it is only owed until the next step needs it."""

    def catch_up(self) -> None:
        """Let the time pass that is owed."""

    def hush(self) -> float:
        """Return the monotonic time until which a silence is listened to."""

    def deadline(self, late: float) -> float:
        """Return the monotonic time at which what is due is missed."""

    def tries(self) -> Iterator[None]:
        """Yield as often as it is worth looking whether something is true now."""


class VirtualTime:
    """A VirtualClock's time, for a node whose every timer is the clock's."""

    is_virtual = True

    def __init__(self, clock: VirtualClock, settle: Callable[[], None]) -> None:
        self._clock = clock
        self._settle = settle

    def wall_ns(self) -> int:
        """See Time."""
        return self._clock.wall_ns()

    def mark(self) -> None:
        """See Time: it stands still anyhow."""

    def advance(self, seconds: float) -> None:
        """Move the clock; what was sent before has been handled, and then what the clock set off."""
        self._settle()
        # The clock cuts a float down to nanoseconds: half a one more, and 0.299 is not one short.
        self._clock.advance((round(seconds * SECOND_NS) + 0.5) / SECOND_NS if seconds else 0.0)
        self._settle()

    def catch_up(self) -> None:
        """See Time: nothing is owed."""

    def hush(self) -> float:
        """See Time. Whatever was going to come has come."""
        self._settle()
        return time.monotonic()

    def deadline(self, late: float) -> float:
        """See Time: a limit for a node that hangs."""
        return time.monotonic() + LIMIT_SECONDS

    def tries(self) -> Iterator[None]:
        """See Time: between two looks, the node has handled all that it was sent."""
        for _ in range(ROUND_TRIPS):
            self._settle()
            yield


class RealTime:
    """The machine's time, for a real nsqd. The only place where a transcript waits."""

    is_virtual = False

    def __init__(self) -> None:
        self._due = self._marked = time.monotonic()
        self._bell = threading.Event()  # which nobody rings

    def wall_ns(self) -> int:
        """See Time."""
        return time.time_ns()

    def mark(self) -> None:
        """See Time."""
        self._marked = time.monotonic()

    def advance(self, seconds: float) -> None:
        """See Time."""
        self._due = max(self._due, self._marked) + seconds

    def catch_up(self) -> None:
        """See Time."""
        self._bell.wait(max(0.0, self._due - time.monotonic()))

    def hush(self) -> float:
        """See Time."""
        return max(self._due - EARLY_SECONDS, time.monotonic() + HUSH_SECONDS)

    def deadline(self, late: float) -> float:
        """See Time."""
        return max(self._due, time.monotonic()) + late

    def tries(self) -> Iterator[None]:
        """See Time."""
        deadline = self.deadline(LIMIT_SECONDS)
        while time.monotonic() < deadline:
            yield
            self._bell.wait(0.01)
