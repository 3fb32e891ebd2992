"""A virtual clock that tells when a caller has gone to sleep, so that no test guesses."""

import threading

from nsqlite.clock import VirtualClock

PATIENCE_SECONDS = 20.0  # for what happens at once, or never; only a failing test waits so long


class AttendedClock(VirtualClock):
    """Virtual time that tells who sleeps on it."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        super().__init__(wall_ns)
        self._sleeps = threading.Semaphore(0)
        self._asleep: dict[str, int | None] = {}
        self._changed = threading.Condition()

    def wait(self, lock: threading.Lock, deadline_ns: int | None) -> bool:
        """As VirtualClock, and tell about it: a caller to `await_sleeper`, a node's thread to `await_thread`."""
        name = threading.current_thread().name
        if not name.startswith("nsqlite-"):
            self._sleeps.release()
            return super().wait(lock, deadline_ns)
        with self._changed:
            self._asleep[name] = deadline_ns
            self._changed.notify_all()
        try:
            return super().wait(lock, deadline_ns)
        finally:
            with self._changed:
                del self._asleep[name]

    def await_sleeper(self) -> None:
        """Return when one more caller has lain down to sleep."""
        assert self._sleeps.acquire(timeout=PATIENCE_SECONDS), "nobody went to sleep"

    def await_thread(self, name: str, seconds: float) -> None:
        """Return when a node's thread sleeps and will look again in `seconds` at the latest."""
        by_ns = self.monotonic_ns() + int(seconds * 1_000_000_000)

        def sleeps() -> bool:
            deadline_ns = self._asleep.get(name)
            return deadline_ns is not None and deadline_ns <= by_ns

        with self._changed:
            assert self._changed.wait_for(sleeps, PATIENCE_SECONDS), f"{name} does not sleep so shortly"

    def await_idle(self, *names: str) -> None:
        """Return when these threads of a node sleep and no time will wake them."""

        def are_idle() -> bool:
            return all(name in self._asleep and self._asleep[name] is None for name in names)

        with self._changed:
            assert self._changed.wait_for(are_idle, PATIENCE_SECONDS), f"{names} still look at the clock"
