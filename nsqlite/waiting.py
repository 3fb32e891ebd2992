"""How a thread sleeps until somebody has something for it."""

from __future__ import annotations

import threading
import time

from nsqlite.clock import Clock
from nsqlite.core.timers import NEVER


class ThreadWaiter:
    """One sleep of one thread: made, handed to whoever will wake it, waited on once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        """End the sleep, or keep it from starting. May be called more than once."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # awake already

    def wait(self, clock: Clock, until_ns: int = NEVER) -> bool:
        """Sleep; True if woken, False if `until_ns` came first."""
        return clock.wait(self._lock, None if until_ns >= NEVER else until_ns)


class Signal:
    """Wakes one thread, again and again; a signal given while it is awake is not lost."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def give(self) -> None:
        """Let the thread look."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # given already

    def wait(self, clock: Clock, until_ns: int = NEVER) -> bool:
        """Sleep until a signal is given; True if it was, False if `until_ns` came first."""
        return clock.wait(self._lock, None if until_ns >= NEVER else until_ns)


class GiveWay:
    """Not a sleeper: being 'woken' lets another thread have the interpreter for a moment.

    A publisher that never waits would keep the settling thread from running for 5 ms
    each time that thread comes back from LMDB.
    """

    __slots__ = ()

    def wake(self) -> None:
        """Let another thread run, if one wants to."""
        time.sleep(0)
