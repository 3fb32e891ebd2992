"""What a node asks of its storage. One contract suite holds every implementation to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from nsqlite.run import Run
from nsqlite.state import NodeState


@attrs.frozen
class Damage:
    """A stretch of a topic's log that cannot be read back, half open."""

    start: int
    stop: int


class Tables(Protocol):
    """The rows of what is still owed, inside one transaction."""

    def row_starts(self, topic: int, start: int, stop: int) -> list[int]:
        """First seqs of the rows that may hold seqs of start..stop, in order."""

    def read_row(self, topic: int, first_seq: int) -> list[Run] | None:
        """A row's runs in order; None if it is damaged."""

    def put_row(self, topic: int, runs: Sequence[Run]) -> None:
        """Write a row under the first seq of its first run."""

    def delete_row(self, topic: int, first_seq: int) -> None:
        """Delete a row."""

    def put_state(self, state: NodeState, previous: NodeState) -> None:
        """Write all that is not the log: topics, channels, exceptions, stepped seqs, position."""

    def delete_topic(self, topic: int) -> None:
        """Delete all rows of a topic."""


class Storage(Protocol):
    """Append, read, settle, recover, close.

    Attributes:
        is_durable: Whether anything outlives the process.
        loads_block: Whether `read` may wait for a disk, so that no lock may be held.
    """

    is_durable: bool
    loads_block: bool

    def recover(self) -> NodeState:
        """What was promised before. Called once, first."""

    def append(self, pieces: Sequence[bytes], *, is_promise: bool = True, waits_for_sync: bool = False) -> int:
        """Write one record, its payload in pieces, all or nothing; return its log sequence number.

        Under the node's lock. Once this returns the record survives the process.

        Args:
            is_promise: Whether a limit on the store holds; progress makes room.
            waits_for_sync: The caller calls `sync` at once, and the record need not
                survive anything before that returns.

        Raises:
            StoreFullError: Nothing was written.
            StorageFailedError: It may or may not be there; restart before the next one.
        """

    def has_room(self, size_bytes: int) -> bool:
        """Whether a record of this size may be appended now."""

    def sync(self) -> None:
        """Return when all records appended before are on stable storage.

        Raises:
            StorageFailedError: As `append`.
        """

    def read(self, topic: int, seq: int, ahead_bytes: int = 0) -> list[Run] | Damage:
        """The runs around a seq that a settlement wrote, or how far damage reaches.

        Args:
            ahead_bytes: How much of what follows may come with them.
        """

    def settle(self, state: NodeState) -> None:
        """Make `state` what `recover` finds without the journal, all or nothing.

        Raises:
            StoreFullError, StorageFailedError: Storage is as it was.
        """

    def close(self) -> None:
        """Let go of everything. What was appended stays."""
