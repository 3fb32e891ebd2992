"""The two threads of a durable node: one syncs, one settles. Both sleep while nothing happens.

The **sync** thread journals progress that nobody took along (25 ms), syncs the journal
(`sync_interval`) and leads the turns that asyncio callers began. The **settling** thread
moves what is owed from the journal to LMDB, makes segments ahead, and replaces the
journal when it has failed.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from nsqlite.core.timers import NEVER
from nsqlite.errors import StorageFailedError, StoreError, StoreFullError
from nsqlite.options import SECOND_NS
from nsqlite.state import NodeState
from nsqlite.storage.allocator import find_trim
from nsqlite.waiting import Signal, ThreadWaiter

if TYPE_CHECKING:
    from nsqlite.engine import Engine

TRIM_BYTES: Final = 4 << 20
FLUSH_NS: Final = 25_000_000
log: Final = logging.getLogger("nsqlite")


class Background:
    """What a durable node does beside its callers.

    Attributes:
        is_awake: Whether the sync thread knows that something happened; who makes
            something happen and finds False calls `rouse`.
        is_rescuing: Whether the journal failed and is being replaced.
        room_waiters: Publishers that wait for a settlement.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._storage: Any = engine.storage
        self.is_awake = False
        self.is_rescuing = False
        self._rescue_error: StoreError | None = None
        self._is_stopping = False
        self._is_lead_asked = False
        self._is_settlement_asked = False
        self._begun = 0
        self._ended = 0  # which settlement was the last to end
        self._give_memory_back = find_trim()
        self._settle_error: StoreError | None = None
        self.room_waiters: list[ThreadWaiter] = []
        self._rescue_waiters: list[ThreadWaiter] = []
        self._sync_signal = Signal()
        self._settle_signal = Signal()
        self._threads = [
            threading.Thread(target=self._run, args=(run,), name=f"nsqlite-{name}", daemon=True)
            for name, run in (("sync", self._sync_loop), ("settle", self._settle_loop))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, loop: Any) -> None:
        try:
            loop()
        except BaseException as error:
            if not self._is_stopping:
                log.exception("a background thread ended", extra={"event": "thread_failed"})
                with self._engine.lock:
                    self._engine.fail(error)
                self._engine.wake()

    # -- asking ---------------------------------------------------------------------------

    def rouse(self) -> None:
        """Something was changed that is to be journaled, synced or settled before long."""
        self.is_awake = True
        self._sync_signal.give()

    def ask_to_lead(self) -> None:
        """Have the sync thread lead the next turn."""
        self._is_lead_asked = True
        self._sync_signal.give()

    def ask_settlement(self) -> None:
        """Have a settlement made now."""
        if not self._is_settlement_asked:
            self._is_settlement_asked = True
            self._settle_signal.give()

    def ask_rescue(self, error: StoreError) -> None:
        """Have the journal replaced: it failed. Under the lock."""
        if not self.is_rescuing and not self._engine.is_refusing:
            self.is_rescuing = True
            self._rescue_error = error
            self._engine.health.failed(str(error))
            self._settle_signal.give()

    # -- waiting --------------------------------------------------------------------------

    def _ask_and_line_up(self) -> ThreadWaiter:
        """Ask for a settlement, and get in line for its end."""
        waiter = ThreadWaiter()
        with self._engine.lock:
            self.room_waiters.append(waiter)
            self.ask_settlement()
        return waiter

    def wait_for_room(self, error: StoreFullError) -> None:
        """Return when a settlement has made room; raise `error` if none does. Without the lock."""
        deadline_ns = self._clock.monotonic_ns() + int(self._engine.options.full_timeout * SECOND_NS)
        needed = self._begun + 1  # one that has begun already may fail for what was true before
        while True:
            waiter = self._ask_and_line_up()
            is_woken = waiter.wait(self._clock, deadline_ns)
            with self._engine.lock:
                if waiter in self.room_waiters:
                    self.room_waiters.remove(waiter)
                has_room = self._storage.has_room(error.needed_bytes)
                is_over = self._is_stopping or self._engine.is_refusing
                if has_room and not is_over:
                    return
                if not is_woken or is_over or self._ended >= needed:
                    raise error

    def wait_for_rescue(self, error: StorageFailedError) -> None:
        """Return if a promise that was never tried may be tried now; else raise what became of it."""
        waiter = ThreadWaiter()
        with self._engine.lock:
            if error.is_tried:
                self.ask_rescue(error)
            if self.is_rescuing:
                self._rescue_waiters.append(waiter)
            else:
                waiter.wake()
        waiter.wait(self._clock)
        if self._engine.is_refusing:
            raise StorageFailedError(str(self._rescue_error or error), outcome_unknown=error.is_tried)
        if error.is_tried:
            raise StorageFailedError(str(error.why), outcome_unknown=False)

    # -- the sync thread ------------------------------------------------------------------

    def _sync_loop(self) -> None:
        flush_at = sync_at = NEVER
        while not self._is_stopping:
            self._sync_signal.wait(self._clock, min(flush_at, sync_at))
            if self._is_lead_asked:
                self._is_lead_asked = False
                self._engine.lead()
            now_ns = self._clock.monotonic_ns()
            if self.is_awake:
                flush_at = min(flush_at, now_ns + FLUSH_NS)
                sync_at = min(sync_at, now_ns + int(self._engine.options.sync_interval * SECOND_NS))
            if now_ns >= flush_at:
                flush_at = NEVER
                self._flush()
                self._settle_signal.give()
            if now_ns >= sync_at:
                sync_at = NEVER
                self._sync()

    def _flush(self) -> None:
        with self._engine.lock:
            self.is_awake = False
            self._engine.flush_progress()
            self.is_awake = False
        self._engine.wake()

    def _sync(self) -> None:
        if self.is_rescuing or self._engine.is_refusing:
            return
        try:
            self._engine.sync_storage()
        except StorageFailedError as error:
            with self._engine.lock:
                self.ask_rescue(error)

    def sync(self) -> None:
        """See Engine.sync."""
        engine = self._engine
        with engine.lock:
            engine.refuse_unless_open()
            engine.flush_progress()
            if engine.is_refusing:
                raise StorageFailedError("the journal failed before", outcome_unknown=True)
            needs_settlement = engine.is_progress_ahead
        if needs_settlement or self.is_rescuing:
            self.settle_now()
            return
        try:
            engine.sync_storage()
        except StorageFailedError as error:
            error.is_tried = False  # a settlement keeps all that was answered
            with engine.lock:
                self.ask_rescue(error)
            self.wait_for_rescue(error)

    def settle_now(self) -> None:
        """Have everything answered so far in LMDB when this returns.

        Raises:
            StoreError: It could not be written.
        """
        needed = self._begun + 1  # one that has begun already may fail for what was true before
        while True:
            waiter = self._ask_and_line_up()
            waiter.wait(self._clock)
            if self._ended >= needed or self._is_stopping:  # the next may have begun before this thread ran
                if self._settle_error is not None:
                    raise self._settle_error
                return

    # -- the settling thread --------------------------------------------------------------

    def _settle_loop(self) -> None:
        settle_at = NEVER
        interval_ns = int(self._engine.options.settle_interval * SECOND_NS)
        while True:
            is_given = self._settle_signal.wait(self._clock, settle_at)
            if self._is_stopping:
                break
            now_ns = self._clock.monotonic_ns()
            if self.is_rescuing:
                self._rescue()
            elif self._is_settlement_asked or now_ns >= settle_at:
                settle_at = NEVER
                if not self._settle():
                    settle_at = now_ns + interval_ns
            elif is_given:
                settle_at = min(settle_at, now_ns + interval_ns)
        self._release_waiters()

    def _settle(self) -> bool:
        """Settle once; whether it went well."""
        engine = self._engine
        with engine.lock:
            self._is_settlement_asked = False
            self._begun += 1
            engine.flush_progress()
            size_bytes = engine.unsettled_bytes
            state = engine.snapshot()
            engine.is_settling = True
        begun_ns = self._clock.monotonic_ns()
        try:
            self._storage.settle(state)
        except StoreError as error:
            self._failed_to_settle(state, error)
        else:
            self._settle_error = None
            ended_ns = self._clock.monotonic_ns()
            with self._storage.no_sync(), engine.lock:
                engine.settled(state)
                engine.settlement_times.add(ended_ns - begun_ns)
                extra = self._storage.after_settling(state.settled)
            self._storage.tidy(extra, engine.lock)
            if size_bytes >= TRIM_BYTES:
                self._give_memory_back()
        finally:
            engine.is_settling = False
        self._release_waiters()
        return self._settle_error is None

    def _failed_to_settle(self, state: NodeState, error: StoreError) -> None:
        with self._engine.lock:
            self._settle_error = error
            self._engine.broker.take_back(state)
            self._engine.health.failed(str(error))
        log.error("settling failed: %s", error, extra={"event": "settle_failed"})

    def _rescue(self) -> None:
        """Replace a journal that failed: settle what memory has under a new epoch."""
        engine = self._engine
        log.error("the journal failed and is replaced: %s", self._rescue_error, extra={"event": "journal_failed"})
        with engine.lock:
            self._begun += 1
            self._is_settlement_asked = False
            engine.flush_progress()
            state = engine.snapshot(is_whole=True)
        try:
            self._storage.restart(state)
        except StoreError as error:
            engine.is_refusing = True
            self._failed_to_settle(state, error)
        else:
            self._settle_error = None
            with engine.lock:
                engine.settled(state)
        with engine.lock:
            self.is_rescuing = False
            waiters, self._rescue_waiters = self._rescue_waiters, []
        for waiter in waiters:
            waiter.wake()
        self._release_waiters()

    def _release_waiters(self) -> None:
        with self._engine.lock:
            self._ended = self._begun
            waiters, self.room_waiters = self.room_waiters, []
            if self._is_stopping:
                waiters += self._rescue_waiters
        for waiter in waiters:
            waiter.wake()

    # -- the end --------------------------------------------------------------------------

    def close(self, *, is_failed: bool, is_quick: bool) -> None:
        """Stop both threads, then settle for the last time and let go of the store.

        Raises:
            StoreError: The last settlement failed; the journal holds what it would have written.
        """
        self._is_stopping = True
        for signal in (self._sync_signal, self._settle_signal):
            signal.give()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=0.5 if is_quick else None)
        engine, storage = self._engine, self._storage
        self._release_waiters()
        if is_failed or is_quick:
            if not is_failed:
                with engine.lock:
                    engine.flush_progress()
            storage.close()
            return
        is_settled = False
        try:
            with engine.lock:
                state = engine.snapshot(is_whole=True)
            storage.settle(state)
            is_settled = True
        finally:
            storage.close(is_settled=is_settled)
