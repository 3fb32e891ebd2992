"""One node under test: opened on a store in memory or on disk, crashed, and opened again on what was kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

from nsqlite.clock import Clock, SystemClock
from nsqlite.core.broker import Broker
from nsqlite.errors import InvalidOptionError
from nsqlite.gate import State
from nsqlite.node import Node
from nsqlite.options import Options, default_node_id, merged
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.testing.clock import Clock as TestClock
from nsqlite.testing.events import History
from nsqlite.testing.store import RecordedStorage
from nsqlite.testing.watching import WatchedChannel, WatchedEngine, Witness, next_due_ns

Durability = Literal["memory", "commit", "fsync", "disk"]
DURABILITIES: Final = ("memory", "commit", "fsync", "disk")


class Subject:
    """A node under test, through all its crashes.

    Attributes:
        history: What happened to its messages, in order.
        clock: Its time.
        durability: What a crash leaves: nothing at "memory"; at "commit" and "fsync" what a killed process leaves;
            "disk" is "fsync" on a real store in a folder that goes with it.
    """

    def __init__(self, durability: Durability = "fsync", clock: Clock | None = None, **options: Any) -> None:
        """Open it.

        Raises:
            InvalidOptionError: The durability, or an option of the node, is unknown or out of its range.
        """
        if durability not in DURABILITIES:
            raise InvalidOptionError("durability", durability, f"give one of {', '.join(DURABILITIES)}")
        self.durability: Durability = durability
        self.clock: Clock = SystemClock() if clock is None else clock
        self.history = History()
        self.witness = Witness(self.clock, self.history)
        self._options = merged(Options, None, options, name="nsqlite.Options")
        self._node_id = default_node_id() if self._options.node_id is None else self._options.node_id
        self._folder = tempfile.mkdtemp(prefix="nsqlite-test-") if durability == "disk" else ""
        self._storage: Any = None
        self._forget: list[Callable[[], None]] = []
        self.node = self._open()

    @property
    def engine(self) -> WatchedEngine:
        """The node's engine."""
        engine = self.node.engine
        assert isinstance(engine, WatchedEngine)
        return engine

    def _open(self) -> Node:
        if self._folder:
            self._storage = DurableStorage(self._folder, self._options, is_synced=True)
        elif self.durability == "memory":
            self._storage = InMemoryStorage(self._node_id)
        elif self._storage is None:
            self._storage = RecordedStorage(self._node_id)
        engine = WatchedEngine(self.witness, self._storage, self._options, self.clock, is_synced=bool(self._folder))
        if isinstance(self.clock, TestClock):
            self._follow(self.clock, engine)
        return Node(engine)

    def _follow(self, clock: TestClock, engine: WatchedEngine) -> None:
        """Let the clock know what is due, and let what takes 25 ms on a disk have happened when time moves."""

        def look() -> int:
            return next_due_ns(engine)

        hooks: list[tuple[list[Any], Any]] = [
            (clock.sources, look),
            (clock.before, engine.journal_progress),
            (clock.told, self.history.tell),
        ]
        for hooked, call in hooks:
            hooked.append(call)
        self._forget = [partial(hooked.remove, call) for hooked, call in hooks]
        clock.reopen()

    def crash(self) -> None:
        """End the node as if its process were killed, and open it again on what is left.

        Handles of topics, channels and messages raise NodeFailedError from then on; `node` is the new one.
        Progress of the last 25 ms is lost, as on a disk: what was finished in them comes again.
        """
        self.engine.journal_progress()
        self._let_go(ProcessLookupError("the test has killed this node"))
        self.node = self._open()

    def fill_disk(self, is_full: bool = True) -> None:
        """Let promises be refused with StoreFullError from now on, or no longer.

        Raises:
            InvalidOptionError: The store is on a real disk, or there is none.
        """
        self._recorded().is_full = is_full

    def fail_promises(self, times: int) -> None:
        """Let the next publishes and other promises fail with StorageFailedError; none of them happens.

        Raises:
            InvalidOptionError: The store is on a real disk, or there is none.
        """
        self._recorded().failures = times

    def _recorded(self) -> RecordedStorage:
        if not isinstance(self._storage, RecordedStorage):
            raise InvalidOptionError("durability", self.durability, 'give "fsync" or "commit" for a disk that fails')
        return self._storage

    def time_out(self, topic: str, channel: str) -> None:
        """Let all that is in flight in a channel time out now, whatever its deadline; nothing if there is none."""

        def work(broker: Broker) -> None:
            found = broker.topics.get(topic)
            core = None if found is None else found.channels.get(channel)
            if isinstance(core, WatchedChannel):
                core.time_out_all()
                broker.attend(core)
                # whose hands were full look again only when their messages are due
                broker.wakes.extend(each.watcher for each in core.consumers if each.watcher is not None)

        self.engine.locked(work)
        self.engine.wake()

    def _let_go(self, why: BaseException) -> None:
        engine = self.engine
        for forget in self._forget:
            forget()
        self._forget = []
        with engine.lock:
            engine.fail(why)
        engine.wake()
        engine.close()

    def owed(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """By topic and channel, how many messages wait, are in flight, are deferred; without those that owe nothing."""
        is_open = self.engine.state is State.OPEN
        now_ns = self.clock.monotonic_ns()

        def read(broker: Broker) -> dict[tuple[str, str], tuple[int, int, int]]:
            found = {}
            for channel in broker.channels():
                if is_open:
                    broker.tick(channel, now_ns)
                counts = (channel.depth, channel.in_flight_count, channel.deferred_count)
                if any(counts):
                    found[channel.topic.name, channel.name] = counts
            return found

        owed: dict[tuple[str, str], tuple[int, int, int]] = self.engine.locked(read, even_closed=True)
        self.engine.wake()
        return owed

    def check(self) -> None:
        """Check every invariant of the node.

        Raises:
            AssertionError: Naming the first that is broken; or the node has failed.
        """
        state = self.engine.state.value
        assert state != "failed", f"the node has failed: {self.engine.failure}"
        if state == "open":
            self.node.check()

    def close(self) -> None:
        """End it, with its folder if it has one. Twice is fine.

        Who sleeps on its clock goes on with ClockClosedError, if no other node follows that.
        """
        for forget in self._forget:
            forget()
        self._forget = []
        if isinstance(self.clock, TestClock) and not self.clock.sources:
            self.clock.close()
        self.node.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
