"""Time as a parameter: what the hour is, and how to wait for another.

A node asks its clock for everything, so a test may spend an hour in a microsecond.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from nsqlite.options import SECOND_NS


class Handle(Protocol):
    """A call that was asked for and can be taken back."""

    def cancel(self) -> None:
        """Do not make the call, if it was not made yet."""


class Clock(Protocol):
    """What a node needs of time. All times are int nanoseconds."""

    def wall_ns(self) -> int:
        """Time since the epoch; may step."""

    def monotonic_ns(self) -> int:
        """Time since whenever; never steps back."""

    def wait(self, lock: threading.Lock, deadline_ns: int | None) -> bool:
        """Acquire a lock that another thread releases to wake this one.

        Args:
            lock: Held by nobody who will not release it.
            deadline_ns: Monotonic time to give up at, None for never.

        Returns:
            Whether it was acquired.
        """

    def call_at(self, loop: Any, deadline_ns: int, callback: Callable[[], object]) -> Handle:
        """Have an asyncio loop call back at a monotonic time. Call it in the loop."""


class SystemClock:
    """The machine's own time."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def wait(self, lock: threading.Lock, deadline_ns: int | None) -> bool:
        """See Clock.wait."""
        if deadline_ns is None:
            return lock.acquire()
        remaining = (deadline_ns - time.monotonic_ns()) / SECOND_NS
        if remaining <= 0:
            return lock.acquire(blocking=False)
        return lock.acquire(timeout=min(remaining, threading.TIMEOUT_MAX))

    def call_at(self, loop: Any, deadline_ns: int, callback: Callable[[], object]) -> Handle:
        """See Clock.call_at."""
        handle: Handle = loop.call_later(max(0, deadline_ns - time.monotonic_ns()) / SECOND_NS, callback)
        return handle


class _Alarm:
    """One who waits on a virtual clock."""

    __slots__ = ("is_cancelled", "ring")

    def __init__(self, ring: Callable[[], object]) -> None:
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not ring."""
        self.is_cancelled = True


class VirtualClock:
    """Time that stands still until it is told to move. Thread-safe.

    Example:
        >>> clock = VirtualClock()
        >>> before = clock.monotonic_ns()
        >>> clock.advance(1.5)
        >>> clock.monotonic_ns() - before
        1500000000
    """

    def __init__(self, wall_ns: int = 1_700_000_000 * SECOND_NS) -> None:
        self._guard = threading.Lock()
        self._wall_ns = wall_ns
        self._monotonic_ns = 1_000 * SECOND_NS
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._order = count()

    def wall_ns(self) -> int:
        """See Clock.wall_ns."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """See Clock.monotonic_ns."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Move wall and monotonic time forward, and wake who waited for it."""
        if seconds < 0:
            raise ValueError("time moves forward; step_wall() moves the wall clock back")
        with self._guard:
            moved = int(seconds * SECOND_NS)
            self._wall_ns += moved
            self._monotonic_ns += moved
            due = []
            while self._alarms and self._alarms[0][0] <= self._monotonic_ns:
                due.append(heapq.heappop(self._alarms)[2])
        for alarm in due:
            if not alarm.is_cancelled:
                alarm.ring()

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, either way, as an administrator or NTP may."""
        with self._guard:
            self._wall_ns += int(seconds * SECOND_NS)

    def wait(self, lock: threading.Lock, deadline_ns: int | None) -> bool:
        """See Clock.wait. Ends when the lock is released or time has moved far enough."""
        if deadline_ns is None:
            return lock.acquire()
        told = threading.Event()

        def ring() -> None:
            told.set()
            try:
                lock.release()
            except RuntimeError:
                pass  # who was waited for had released it at the same moment

        alarm = self._set(deadline_ns, ring)
        if alarm is None:
            return lock.acquire(blocking=False)
        lock.acquire()
        alarm.cancel()
        return not told.is_set()

    def call_at(self, loop: Any, deadline_ns: int, callback: Callable[[], object]) -> Handle:
        """See Clock.call_at."""

        def call() -> None:
            if alarm is None or not alarm.is_cancelled:  # perhaps since the loop was told
                callback()

        alarm = self._set(deadline_ns, lambda: loop.call_soon_threadsafe(call))
        if alarm is None:
            handle: Handle = loop.call_soon(callback)
            return handle
        return alarm

    def _set(self, deadline_ns: int, ring: Callable[[], object]) -> _Alarm | None:
        """Note an alarm, or None if its time has come already."""
        with self._guard:
            if deadline_ns <= self._monotonic_ns:
                return None
            alarm = _Alarm(ring)
            heapq.heappush(self._alarms, (deadline_ns, next(self._order), alarm))
            return alarm
