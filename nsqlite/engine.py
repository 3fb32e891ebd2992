"""A node without a face: opening, closing and the whole.

What it does is in the classes it is made of, one above the other: Gate (the lock),
Journaling (what is written), Turns (promises), Receiving (messages and answers), Serving (the same
for clients of a listener).
"""

from __future__ import annotations

import threading

from nsqlite.background import Background
from nsqlite.clock import Clock
from nsqlite.core.broker import Broker
from nsqlite.gate import State
from nsqlite.options import Options
from nsqlite.serving import Serving
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.turns import answer_all
from nsqlite.waiting import ThreadWaiter


class Engine(Serving):
    """One open node, whatever its face."""

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        """Take up what the storage has.

        Raises:
            StoreError: It cannot be read or written; it was let go.
        """
        super().__init__(storage, options, clock, is_synced=is_synced)
        recovered = storage.recover()
        self.broker.restore(recovered, clock.monotonic_ns(), clock.wall_ns())
        if isinstance(storage, DurableStorage):
            self._begin_epoch(storage, recovered.settled)

    def _begin_epoch(self, storage: DurableStorage, settled: int) -> None:
        try:
            state = self.broker.snapshot()
            state.settled = settled
            storage.restart(state)
        except BaseException:
            storage.close()
            raise
        self.broker.settled(state)
        self.background = Background(self)

    def sync(self) -> None:
        """Return when all that was answered before is on stable storage, finishes too.

        Raises:
            StorageFailedError: It is not; see `outcome_unknown`.
        """
        if self.background is None:
            self.locked(lambda _: None)
            return
        self.background.sync()

    def close(self, *, is_quick: bool = False) -> None:
        """End: let the turn in progress finish, refuse others, settle, let go. Twice is fine.

        Args:
            is_quick: At exit: journal the progress and let go, without a settlement.

        Raises:
            StoreError: It could not be settled; the journal keeps it, and the lock is gone.
        """
        with self.lock:
            if self._is_busy and self.state is not State.FAILED:
                self._refuse()
            if self.state in (State.CLOSING, State.CLOSED):
                return
            was, self.state = self.state, State.CLOSING if self.state is State.OPEN else self.state
            self._wake_all()
            turn_ends = ThreadWaiter()
            if self.turn_lsn and was is State.OPEN:  # a turn that was broken off never ends
                self._idle_waiters.append(turn_ends)
            else:
                turn_ends.wake()
        self.wake()
        turn_ends.wait(self.clock)
        if was is State.FORKED:
            return
        try:
            if self.background is not None:
                self.background.close(is_failed=was is State.FAILED, is_quick=is_quick)
            else:
                self.storage.close()
        finally:
            with self.lock:
                self.state = State.CLOSED if was is State.OPEN else was
                refused = self._refuse_rest()
            answer_all(refused)

    def forked(self) -> None:
        """In a child: refuse everything from now on, close descriptors, touch nothing else."""
        self.state = State.FORKED
        self.lock = threading.RLock()
        self._is_busy = False
        if isinstance(self.storage, DurableStorage):
            self.storage.forget()

    def check(self) -> None:
        """Assert every invariant."""

        def check(broker: Broker) -> None:
            broker.check()
            if isinstance(self.storage, DurableStorage):
                self.storage.journal.check()

        self.locked(check)
