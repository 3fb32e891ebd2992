"""A virtual clock that tells when a caller has gone to sleep, so that no test guesses."""

import threading

from nsqlite.clock import VirtualClock

PATIENCE_SECONDS = 20.0  # for what happens at once, or never; only a failing test waits so long


class AttendedClock(VirtualClock):
    """Virtual time that counts the sleepers; a node's own threads are not counted."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        super().__init__(wall_ns)
        self._sleeps = threading.Semaphore(0)

    def wait(self, lock: threading.Lock, deadline_ns: int | None) -> bool:
        """As VirtualClock, and tell `await_sleeper` about it."""
        if not threading.current_thread().name.startswith("nsqlite-"):
            self._sleeps.release()
        return super().wait(lock, deadline_ns)

    def await_sleeper(self) -> None:
        """Return when one more caller has lain down to sleep."""
        assert self._sleeps.acquire(timeout=PATIENCE_SECONDS), "nobody went to sleep"
