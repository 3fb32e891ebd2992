"""What a turn writes before it counts, and what a settlement takes of it."""

from __future__ import annotations

from typing import Final

from nsqlite.clock import Clock
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.gate import Gate
from nsqlite.options import Options
from nsqlite.state import NodeState
from nsqlite.storage import layout
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.waiting import GiveWay

MEMORY_SETTLE_BYTES: Final = 1 << 20
PROGRESS_BYTES: Final = 24
YIELD_BYTES: Final = 64 * 1024
_GIVE_WAY: Final = GiveWay()


class Journaling(Gate):
    """Appending to the journal, under the lock.

    Attributes:
        unsettled_bytes: Journaled since the last settlement began; at "memory", published.
        is_settling: Whether a settlement is being written; publishers then make way for it.
        is_progress_ahead: Whether memory has progress that the journal had no room for.
        turn_lsn: Of the record whose turn is being synced; 0 if none is.
    """

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        super().__init__(storage, options, clock, is_synced=is_synced)
        self.unsettled_bytes = 0
        self.is_settling = False
        self.is_progress_ahead = False
        self.turn_lsn = 0
        self._yielded_bytes = 0
        self._lacking_bytes = 0  # what a promise found no room for last
        self._settle_limit = options.settle_bytes if self.is_durable else MEMORY_SETTLE_BYTES

    def _append(self, pieces: list[bytes], *, waits_for_sync: bool = False, needs_room: bool = True) -> int:
        """Journal a promise, with the progress that waits ahead of it. Under the lock."""
        if self.is_refusing or (self.background is not None and self.background.is_rescuing):
            error = StorageFailedError("the journal failed before", outcome_unknown=self.is_refusing)
            error.is_tried = False
            raise error
        progress = self.broker.progress
        if progress:
            pieces = [layout.pack_progress(progress), *pieces]
        lsn = self.storage.append(pieces, is_promise=needs_room, waits_for_sync=waits_for_sync)
        if progress:
            progress.clear()
        self._journaled(pieces)
        return lsn

    def _journaled(self, pieces: list[bytes]) -> None:
        background = self.background
        if background is None:
            return
        if not background.is_awake:
            background.rouse()
        if self.is_settling:
            self._yielded_bytes += sum(map(len, pieces))
            if self._yielded_bytes >= YIELD_BYTES:
                self._yielded_bytes = 0
                self._give_way()

    def _give_way(self) -> None:
        """Let another thread run once the lock is free."""
        self.broker.wakes.append(_GIVE_WAY)

    def _refuse_beyond_limit(self, size_bytes: int) -> None:
        """At "memory": raise StoreFullError if the messages held would pass `max_store_bytes`. Under the lock."""
        limit = self.options.max_store_bytes
        if limit is None or self.storage.store_bytes + self.unsettled_bytes + size_bytes <= limit:
            return
        self._ask_settlement()  # lets go of what nobody is owed
        if self.storage.store_bytes + size_bytes > limit:
            raise StoreFullError(f"max_store_bytes={limit}", size_bytes)

    def is_full(self) -> bool:
        """Whether the last promise that found no room would find none now."""
        size_bytes, limit = self._lacking_bytes, self.options.max_store_bytes
        if not size_bytes:
            return False
        if self.background is None:
            return limit is not None and self.storage.store_bytes + self.unsettled_bytes + size_bytes > limit
        with self.lock:
            return not self.storage.has_room(size_bytes)

    def flush_progress(self) -> None:
        """Journal the progress that waits; without room it waits for the next settlement. Under the lock."""
        progress = self.broker.progress
        if not progress:
            return
        payload = layout.pack_progress(progress)
        progress.clear()
        self.unsettled_bytes += len(payload)
        if self.is_refusing or (self.background is not None and self.background.is_rescuing):
            self.is_progress_ahead = True
            return
        try:
            self.storage.append([payload], is_promise=False)
        except StoreFullError:
            self.is_progress_ahead = True  # memory has it, and the next settlement writes what memory has
        except StorageFailedError as error:
            if self.background is not None:
                self.background.ask_rescue(error)
        else:
            self._journaled([payload])

    def _ask_settlement(self) -> None:
        if self.background is not None:
            self.background.ask_settlement()
            return
        state = self.snapshot()
        self.storage.settle(state)
        self.broker.settled(state)

    def snapshot(self, *, is_whole: bool = False) -> NodeState:
        """What a settlement writes. Under the lock, for milliseconds.

        Args:
            is_whole: Whether the journal's last record counts as settled even though its
                turn was not applied, because it never will be.
        """
        storage = self.storage
        # The one in memory keeps messages, and no topics.
        state = self.broker.snapshot(storage.has_rows if isinstance(storage, InMemoryStorage) else None)
        self.unsettled_bytes = 0
        if isinstance(storage, DurableStorage):
            is_ahead = self.turn_lsn and not is_whole
            if not is_ahead:
                storage.journal.mark()
            state.settled = self.turn_lsn - 1 if is_ahead else storage.journal.lsn
        return state

    def settled(self, state: NodeState) -> None:
        """Let what was settled leave memory. Under the lock."""
        self.broker.settled(state)
        self.is_progress_ahead = False
        self.health.succeeded()

    def _after_failure(self, error: StoreFullError | StorageFailedError) -> None:
        """Wait for room, or for the journal to be replaced; raise when that does not come. Lock free."""
        if isinstance(error, StoreFullError):
            self._lacking_bytes = max(1, error.needed_bytes)
        if self.background is None:
            raise error
        if isinstance(error, StoreFullError):
            self.background.wait_for_room(error)
        else:
            self.background.wait_for_rescue(error)
