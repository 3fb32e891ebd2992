"""Time for tests: it stands still until the test moves it."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import thread as pool
from contextlib import contextmanager, suppress
from numbers import Real
from typing import Any, Final

from nsqlite.clock import VirtualClock, _Alarm
from nsqlite.core.timers import NEVER
from nsqlite.errors import ClosedError, InvalidOptionError, MisuseError
from nsqlite.options import SECOND_NS

# A store's own threads.
SYNC_THREAD: Final = "nsqlite-sync"
SETTLE_THREAD: Final = "nsqlite-settle"


class ClockClosedError(ClosedError):
    """The test that moves this clock has ended: nobody will wake who sleeps on it."""

    def __init__(self) -> None:
        super().__init__("the test has ended, and its clock does not move any more: end this thread or task, too")


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
        self._wakers: dict[Any, Callable[[], object]] = {}
        self._woken: set[threading.Thread] = set()  # and not come to rest again
        self._movers: set[threading.Thread] = set()
        self._changed = threading.Condition(self._guard)
        self._is_closed = False
        self._of_stores: set[_Alarm] = set()

    @property
    def now(self) -> float:
        """Seconds since the clock was made."""
        return (self.monotonic_ns() - self._begun_ns) / SECOND_NS

    def advance(self, seconds: float) -> None:
        """Move time forward; what falls due becomes deliverable, times out, or wakes who slept.

        Raises:
            InvalidOptionError: These are not finite seconds from 0 up.
        """
        if _checked(seconds) < 0:
            raise InvalidOptionError("seconds", seconds, "time moves forward only: give seconds from 0 up")
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
        """For a thread under test: return once time has been moved so far.

        Raises:
            ClockClosedError: The test has ended.
            MisuseError: This thread is in `drain`, which moves the clock, or runs a loop.
        """
        until_ns = self._until(seconds)
        if until_ns <= self.monotonic_ns():
            return
        self._refuse_mover()
        waiting = threading.Lock()
        waiting.acquire()

        def wake() -> None:
            with suppress(RuntimeError):  # time has come at the same moment
                waiting.release()

        with self._sleeping(until_ns, wake):
            self.wait(waiting, until_ns)

    async def asleep(self, seconds: float) -> None:
        """As `sleep`, for a task."""
        has_come = asyncio.Event()
        until_ns = self._until(seconds)
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(has_come.set)

        alarm = self.call_at(loop, until_ns, has_come.set)
        try:
            with self._sleeping(until_ns, wake):
                await has_come.wait()
        finally:
            alarm.cancel()

    def wait_for_sleepers(self, count: int = 1, *, timeout: float = 5.0) -> None:
        """Return once so many threads or tasks sleep on it: before `advance`, after threads were started.

        Raises:
            AssertionError: They do not within the timeout, in seconds of real time.
            MisuseError: A loop runs in this thread.
        """
        refuse_in_loop("wait_for_sleepers()", "await asyncio.to_thread(clock.wait_for_sleepers)")

        def asleep() -> int:
            return sum(until_ns > self._monotonic_ns for until_ns in self._sleepers.values())

        with self._changed:
            if not self._changed.wait_for(lambda: asleep() >= count, timeout):
                raise AssertionError(f"{asleep()} of {count} threads or tasks sleep on the clock after {timeout:g} s")

    def close(self) -> None:
        """Let who sleeps on it go on, and who would: with ClockClosedError. Twice is fine."""
        with self._guard:
            self._is_closed = True
            wakers = list(self._wakers.values())
        for wake in wakers:
            wake()

    def reopen(self) -> None:
        """Let others sleep on it again: another node follows it."""
        self._is_closed = False

    def _until(self, seconds: float) -> int:
        """When a sleep ends."""
        if self._is_closed:
            raise ClockClosedError
        return self.monotonic_ns() + int(_checked(seconds) * SECOND_NS)

    @contextmanager
    def _sleeping(self, until_ns: int, wake: Callable[[], object]) -> Iterator[None]:
        me = myself()
        with self._guard:
            if self._is_closed:
                raise ClockClosedError
            self._sleepers[me], self._wakers[me] = until_ns, wake
            self._woken.discard(me)
            self._changed.notify_all()
        for tell in list(self.told):
            tell()
        try:
            yield
            if self.monotonic_ns() < until_ns:
                raise ClockClosedError
        finally:
            with self._guard:
                if isinstance(me, threading.Thread):
                    self._woken.add(me)
                del self._sleepers[me], self._wakers[me]

    def is_asleep(self, caller: Any) -> bool:
        """Whether a thread or task is in `sleep` or `asleep`, and its time has not come."""
        return self._sleepers.get(caller, 0) > self.monotonic_ns()

    # -- who is at work, and who moves time -------------------------------------------------

    def woken(self) -> list[threading.Thread]:
        """The threads whose time has come, and that have neither come to rest since nor ended."""
        with self._guard:
            self._woken = {each for each in self._woken if each.is_alive() and not _is_back_in_pool(each)}
            due = [
                each
                for each, until_ns in self._sleepers.items()
                if until_ns <= self._monotonic_ns and isinstance(each, threading.Thread)
            ]
            return [*self._woken, *due]

    def rests(self) -> None:
        """The caller waits for something else than time."""
        with self._guard:
            self._woken.discard(threading.current_thread())

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Meanwhile this thread moves time, and would never come back from a sleep."""
        me = threading.current_thread()
        is_outer = me not in self._movers  # a handler may drain, too
        self._movers.add(me)
        try:
            yield
        finally:
            if is_outer:
                self._movers.discard(me)

    def _refuse_mover(self) -> None:
        if threading.current_thread() in self._movers:
            raise MisuseError(
                "this thread drains, and would sleep for ever on the clock that it moves: "
                "use an async handler and `await clock.asleep(...)`, or a thread of its own"
            )
        refuse_in_loop("sleep()", "await clock.asleep(...)")

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


def refuse_in_loop(call: str, instead: str) -> None:
    """Refuse a blocking call where a loop runs, which would stand still meanwhile.

    Raises:
        MisuseError: Naming what to use.
    """
    if asyncio._get_running_loop() is not None:
        raise MisuseError(f"{call} would block the running loop: use `{instead}`")


def _checked(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, Real) or not math.isfinite(seconds):
        raise InvalidOptionError("seconds", seconds, "give finite seconds, as an int or a float")
    return float(seconds)


def _is_back_in_pool(thread: threading.Thread) -> bool:
    """Whether a thread of an executor is through with what slept: it outlives its work."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is pool._worker.__code__


def _seconds(duration_ns: int) -> float:
    """As seconds that are, as nanoseconds again, not less: what is due would not be, for the want of one."""
    seconds = duration_ns / SECOND_NS
    while int(seconds * SECOND_NS) < duration_ns:
        seconds = math.nextafter(seconds, math.inf)
    return seconds
