"""A store in memory that outlives a crash: what a journal would hold, replayed as from a disk."""

from __future__ import annotations

from collections.abc import Sequence

from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.state import NodeState
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.storage.replay import Replay


class RecordedStorage(InMemoryStorage):
    """See nsqlite.storage.interface.Storage. The records are those of the real journal, and so is their replay.

    Attributes:
        is_full: Whether promises are refused, as by a full disk. Progress needs no room.
        failures: How many more promises fail, as by a disk that is broken for a moment.
    """

    is_durable = True

    def __init__(self, node_id: int) -> None:
        super().__init__(node_id)
        self._records: list[bytes] = []
        self.is_full = False
        self.failures = 0

    def recover(self) -> NodeState:
        """What all records together say."""
        self._rows.clear()
        self._settled = NodeState()
        replay = Replay(NodeState())
        for lsn, record in enumerate(self._records, 1):
            replay.apply(lsn, record)
        return replay.finish()

    def append(self, pieces: Sequence[bytes], *, is_promise: bool = True, waits_for_sync: bool = False) -> int:
        """See Storage.append."""
        if self.is_full and is_promise:
            raise StoreFullError("the test has filled the disk", sum(map(len, pieces)))
        if self.failures and is_promise:
            self.failures -= 1
            raise StorageFailedError("the test has broken the disk", outcome_unknown=False)
        self._records.append(b"".join(pieces))
        return len(self._records)

    def has_room(self, size_bytes: int) -> bool:
        """See Storage.has_room."""
        return not self.is_full

    @property
    def store_bytes(self) -> int:
        """Bytes of all records."""
        return sum(map(len, self._records))

    def close(self) -> None:
        """Let go; what was recorded stays, for who opens it again."""
