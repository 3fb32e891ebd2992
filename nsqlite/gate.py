"""The door to a node: its lock, whether it may be entered, and who is woken on the way out."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nsqlite.clock import Clock
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic
from nsqlite.errors import (
    ChannelDeletedError,
    ForkedError,
    NodeClosedError,
    NodeFailedError,
    NsqliteError,
    ReentrantError,
    TopicDeletedError,
)
from nsqlite.health import Health
from nsqlite.options import Options
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage

if TYPE_CHECKING:
    from nsqlite.background import Background


class State(enum.Enum):
    """A node's life."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"
    FORKED = "forked"


class Gate:
    """The lock and what it guards.

    Attributes:
        broker: The state; touched under the lock only.
        storage: Where promises are kept.
        is_synced: Whether a promise waits for stable storage.
        is_refusing: Whether the store failed for good, so that nothing can be promised.
        failure: What broke a turn off, if something did.
        watchers: `wake()` of each is called with the lock free, from any thread, after any topic or channel was
            made or deleted; once or more often.
    """

    broker_type: Callable[..., Broker] = Broker
    background: Background | None

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        self.storage = storage
        self.options = options
        self.clock = clock
        self.is_synced = is_synced
        self.is_durable = storage.is_durable
        self.health = Health()
        self.lock = threading.RLock()
        self.state = State.OPEN
        self.failure = ""
        self.is_refusing = False
        self.start_time_ns = clock.wall_ns()
        is_durable = self.is_durable
        self.broker = self.broker_type(options, storage.node_id, is_durable=is_durable, keeps_cache=is_durable)
        self.watchers = self.broker.watchers
        self.background = None
        self._is_busy = False
        self._wall_ns = clock.wall_ns
        self._monotonic_ns = clock.monotonic_ns

    def refuse_unless_open(self) -> None:
        """Raise why a call cannot be taken, if it cannot. Under the lock."""
        if self._is_busy or self.state is not State.OPEN:
            self._refuse()

    def _refuse(self, topic: Topic | None = None, channel: Channel | None = None) -> None:
        """Raise why a call cannot be taken."""
        if self.state is State.FORKED:
            raise ForkedError
        if self._is_busy:
            raise ReentrantError
        if self.state is State.FAILED:
            raise NodeFailedError(self.failure)
        if self.state is not State.OPEN:
            raise NodeClosedError
        if topic is not None and topic.is_deleted:
            raise TopicDeletedError(topic.name)
        refuse_deleted(channel)

    def _break(self, error: BaseException) -> None:
        """Fail the node if a turn was broken off by something that nobody raised on purpose."""
        if not isinstance(error, NsqliteError):
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Memory may be half changed and is not trusted any more: refuse, and let all who wait know."""
        if self.state is State.OPEN:
            self.state = State.FAILED
            self.failure = f"{type(error).__name__}: {error}"
            self._wake_all()

    def _wake_all(self) -> None:
        for channel in self.broker.channels():
            self.broker.wakes.extend(channel.waiters)
            self.broker.wakes.extend(each.watcher for each in channel.consumers if each.watcher is not None)

    def wake(self) -> None:
        """Wake whom turns have noted, with the lock free."""
        wakes = self.broker.wakes
        while wakes:
            try:
                waiter = wakes.popleft()
            except IndexError:
                return
            waiter.wake()

    def locked(self, work: Callable[[Broker], Any], *, even_closed: bool = False) -> Any:
        """Run something short under the lock, as a turn that promises nothing."""
        with self.lock:
            if self._is_busy or (self.state is not State.OPEN and not even_closed):
                self._refuse()
            self._is_busy = True
            try:
                return work(self.broker)
            except BaseException as error:
                self._break(error)
                raise
            finally:
                self._is_busy = False

    def look_into(self, topic: Topic, read: Callable[[], Any]) -> Any:
        """Read something of a topic that is not deleted."""

        def look(_: Broker) -> Any:
            if topic.is_deleted:
                raise TopicDeletedError(topic.name)
            return read()

        return self.locked(look)

    def until_ns(self, timeout_ns: int | None) -> int:
        """A deadline as monotonic time."""
        return NEVER if timeout_ns is None else self._monotonic_ns() + timeout_ns


def refuse_deleted(channel: Channel | None) -> None:
    """Raise ChannelDeletedError if the channel is."""
    if channel is not None and channel.is_deleted:
        raise ChannelDeletedError(channel.topic.name, channel.name)
