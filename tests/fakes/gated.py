"""A store whose next sync, or settlement, waits until the test lets it go, or fails as a disk would."""

import threading
from pathlib import Path

from nsqlite.clock import Clock
from nsqlite.engine import Engine
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.node import Node
from nsqlite.options import Options
from nsqlite.state import NodeState
from nsqlite.storage.durable import DurableStorage
from tests.fakes.clock import PATIENCE_SECONDS


class Gate:
    """A door that one thread stands before until another opens it."""

    def __init__(self) -> None:
        self.is_shut = False
        self._arrived = threading.Event()
        self._opened = threading.Event()

    def shut(self) -> None:
        """Let the next who comes wait."""
        self._arrived.clear()
        self._opened.clear()
        self.is_shut = True

    def await_arrival(self) -> None:
        """Return when somebody stands there."""
        assert self._arrived.wait(PATIENCE_SECONDS), "nobody came to the gate"

    def open(self) -> None:
        """Let who waits, and all others, go on."""
        self.is_shut = False
        self._opened.set()

    def pass_through(self) -> None:
        """Wait here if it is shut."""
        if self.is_shut:
            self._arrived.set()
            assert self._opened.wait(PATIENCE_SECONDS), "the gate stayed shut"


class GatedStorage(DurableStorage):
    """A durable storage with a gate before each sync and each settlement, and a disk that may fail.

    Attributes:
        sync_count: Syncs that were begun.
        failing_syncs: How many of the next syncs fail.
        failing_appends: How many of the next appends fail, half written.
        failing_settlements: How many of the next settlements and restarts find the disk full.
    """

    def __init__(self, path: str, options: Options, *, is_synced: bool) -> None:
        super().__init__(path, options, is_synced=is_synced)
        self.sync_gate = Gate()
        self.settle_gate = Gate()
        self.sync_count = 0
        self.failing_syncs = self.failing_appends = self.failing_settlements = 0

    def append(self, pieces: list[bytes], *, is_promise: bool = True, waits_for_sync: bool = False) -> int:
        """As DurableStorage, or fail."""
        if self.failing_appends:
            self.failing_appends -= 1
            raise StorageFailedError("input/output error", outcome_unknown=False)
        return super().append(pieces, is_promise=is_promise, waits_for_sync=waits_for_sync)

    def sync(self) -> None:
        """As DurableStorage, once the gate is open, or fail."""
        self.sync_count += 1
        self.sync_gate.pass_through()
        if self.failing_syncs:
            self.failing_syncs -= 1
            raise StorageFailedError("input/output error", outcome_unknown=False)
        super().sync()

    def settle(self, state: NodeState) -> None:
        """As DurableStorage, once the gate is open, or find the disk full."""
        self.settle_gate.pass_through()
        self._fail_to_settle()
        super().settle(state)

    def restart(self, state: NodeState) -> None:
        """As DurableStorage, or find the disk full."""
        self._fail_to_settle()
        super().restart(state)

    def _fail_to_settle(self) -> None:
        if getattr(self, "failing_settlements", 0):
            self.failing_settlements -= 1
            raise StoreFullError("no space left on device")


def open_gated(
    path: Path, clock: Clock, durability: str = "fsync", *, failing_settlements: int = 0, **fields: object
) -> tuple[Node, GatedStorage]:
    """A node on a gated store; its first settlements may fail."""
    options = Options(durability=durability, **fields)
    storage = GatedStorage(str(path), options, is_synced=durability == "fsync")
    storage.failing_settlements = failing_settlements
    return Node(Engine(storage, options, clock, is_synced=durability == "fsync")), storage
