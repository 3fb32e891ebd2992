"""Time for tests: it stands still until the test moves it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from nsqlite.clock import VirtualClock, _Alarm
from nsqlite.core.timers import NEVER
from nsqlite.options import SECOND_NS

# A store's own threads.
SYNC_THREAD: Final = "nsqlite-sync"
SETTLE_THREAD: Final = "nsqlite-settle"


class Clock(VirtualClock):
    """A virtual clock that knows what is due next, and on which code under test can sleep.

    Attributes:
        sources: Each tells the monotonic time at which something is due next; NEVER if nothing is.
        before: Each is called before time moves, with the nanoseconds by which it will.
        told: Each is called when somebody goes to sleep on it, from any thread.

    Example:
        >>> clock = Clock()
        >>> clock.advance(3600)
        >>> clock.now
        3600.0
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun_ns = self.monotonic_ns()
        self.sources: list[Callable[[], int]] = []
        self.before: list[Callable[[int], object]] = []
        self.told: list[Callable[[], object]] = []
        self._sleepers: dict[Any, int] = {}
        self._of_stores: set[_Alarm] = set()

    @property
    def now(self) -> float:
        """Seconds since the clock was made."""
        return (self.monotonic_ns() - self._begun_ns) / SECOND_NS

    def advance(self, seconds: float) -> None:
        """Move time forward; what falls due becomes deliverable, times out, or wakes who slept."""
        for call in list(self.before) if seconds > 0 else ():
            call(int(seconds * SECOND_NS))
        super().advance(seconds)

    def next_ns(self) -> int:
        """When the next thing is due, as monotonic time; NEVER if nothing is. A store's housekeeping does not count."""
        with self._guard:
            alarms = [alarm for _, _, alarm in self._alarms]
            self._of_stores.intersection_update(alarms)
            due = [at for at, _, alarm in self._alarms if not alarm.is_cancelled and alarm not in self._of_stores]
            due += [at for at in self._sleepers.values() if at > self.monotonic_ns()]  # whose alarm may be on its way
        return min([*due, *(source() for source in list(self.sources))], default=NEVER)

    def advance_to_next(self) -> bool:
        """Move time to the next thing that is due; False, and time stands still, if nothing is."""
        next_ns = self.next_ns()
        if next_ns >= NEVER:
            return False
        self.advance(_seconds(max(0, next_ns - self.monotonic_ns())))
        return True

    def sleep(self, seconds: float) -> None:
        """For a thread under test: return once time has been moved so far."""
        waiting = threading.Lock()
        waiting.acquire()
        until_ns = self.monotonic_ns() + int(seconds * SECOND_NS)
        with self._sleeping(until_ns):
            self.wait(waiting, until_ns)

    async def asleep(self, seconds: float) -> None:
        """As `sleep`, for a task."""
        has_come = asyncio.Event()
        until_ns = self.monotonic_ns() + int(seconds * SECOND_NS)
        alarm = self.call_at(asyncio.get_running_loop(), until_ns, has_come.set)
        try:
            with self._sleeping(until_ns):
                await has_come.wait()
        finally:
            alarm.cancel()

    @contextmanager
    def _sleeping(self, until_ns: int) -> Iterator[None]:
        me = myself()
        with self._guard:
            self._sleepers[me] = until_ns
        for tell in list(self.told):
            tell()
        try:
            yield
        finally:
            with self._guard:
                self._sleepers.pop(me, None)

    def is_asleep(self, caller: Any) -> bool:
        """Whether a thread or task is in `sleep` or `asleep`, and its time has not come."""
        return self._sleepers.get(caller, 0) > self.monotonic_ns()

    def _set(self, deadline_ns: int, ring: Callable[[], object]) -> _Alarm | None:
        alarm = super()._set(deadline_ns, ring)
        if alarm is not None and threading.current_thread().name in {SYNC_THREAD, SETTLE_THREAD}:
            with self._guard:
                self._of_stores.add(alarm)
        return alarm


def myself() -> Any:
    """The running task, or else thread."""
    with suppress(RuntimeError):
        task = asyncio.current_task()
        if task is not None:
            return task
    return threading.current_thread()


def _seconds(duration_ns: int) -> float:
    """As seconds that are, as nanoseconds again, not less: what is due would not be, for the want of one."""
    seconds = duration_ns / SECOND_NS
    while int(seconds * SECOND_NS) < duration_ns:
        seconds = math.nextafter(seconds, math.inf)
    return seconds
