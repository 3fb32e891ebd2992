"""Storage that keeps nothing beyond the process: rows in a dict, no journal.

The model that the durable storage must match, and what "memory" runs on.
"""

from __future__ import annotations

from collections.abc import Sequence

from sortedcontainers import SortedDict

from nsqlite.run import Run
from nsqlite.state import NodeState
from nsqlite.storage.interface import Damage
from nsqlite.storage.settling import settle


class InMemoryStorage:
    """See nsqlite.storage.interface.Storage."""

    is_durable = False
    loads_block = False

    def __init__(self, node_id: int = 0) -> None:
        self.node_id = node_id
        self._rows: dict[int, SortedDict[int, list[Run]]] = {}
        self._settled = NodeState()
        self._lsn = 0
        self.row_bytes = 0

    # -- Storage --------------------------------------------------------------------------

    def recover(self) -> NodeState:
        """Nothing: a new node."""
        return NodeState()

    def append(self, pieces: Sequence[bytes], *, is_promise: bool = True, waits_for_sync: bool = False) -> int:
        """Count it."""
        self._lsn += 1
        return self._lsn

    def has_room(self, size_bytes: int) -> bool:
        """Always."""
        return True

    @property
    def store_bytes(self) -> int:
        """Bytes of settled messages."""
        return self.row_bytes

    def sync(self) -> None:
        """Nothing to sync."""

    def read(self, topic: int, seq: int, ahead_bytes: int = 0) -> list[Run] | Damage:
        """The row around a seq."""
        rows = self._rows.get(topic)
        at = -1 if rows is None else rows.bisect_right(seq) - 1
        if rows is not None and at >= 0:
            runs = rows.peekitem(at)[1]
            if runs[-1].first_seq + runs[-1].count > seq:
                return runs
        return Damage(seq, seq + 1)

    def has_rows(self, topic: int) -> bool:
        """Whether messages of a topic were settled and are still owed."""
        return bool(self._rows.get(topic))

    def settle(self, state: NodeState) -> None:
        """See Storage.settle. Here topics without rows and without runs may be left out of the state."""
        for topic in state.topics.values():
            for channel in topic.channels.values():
                channel.gather()
        settle(self, self._settled, state)
        self._settled = state
        for topic in state.topics.values():
            topic.runs = ()

    def close(self) -> None:
        """Forget all."""
        self._rows.clear()

    # -- Tables ---------------------------------------------------------------------------

    def row_starts(self, topic: int, start: int, stop: int) -> list[int]:
        """See Tables."""
        rows = self._rows.get(topic)
        if rows is None:
            return []
        low = max(0, rows.bisect_right(start) - 1)
        return list(rows.islice(low, rows.bisect_left(stop)))

    def read_row(self, topic: int, first_seq: int) -> list[Run] | None:
        """See Tables."""
        return self._rows[topic][first_seq]

    def put_row(self, topic: int, runs: Sequence[Run]) -> None:
        """See Tables."""
        rows = self._rows.get(topic)
        if rows is None:
            rows = self._rows[topic] = SortedDict()
        rows[runs[0].first_seq] = list(runs)
        self.row_bytes += sum(run.size_bytes for run in runs)

    def delete_row(self, topic: int, first_seq: int) -> None:
        """See Tables."""
        self.row_bytes -= sum(run.size_bytes for run in self._rows[topic].pop(first_seq))

    def delete_topic(self, topic: int) -> None:
        """See Tables."""
        for first_seq in list(self._rows.get(topic, ())):
            self.delete_row(topic, first_seq)
        self._rows.pop(topic, None)

    def put_state(self, state: NodeState, previous: NodeState) -> None:
        """Nothing: the node itself holds it."""
