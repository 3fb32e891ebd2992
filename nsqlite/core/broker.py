"""All topics of a node, the numbers it gives out, and who is to be woken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.latency import Latencies
from nsqlite.core.progress import Progress
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic
from nsqlite.ids import first_id
from nsqlite.names import is_ephemeral
from nsqlite.options import Options
from nsqlite.run import AnyRun
from nsqlite.state import NodeState


class Broker:
    """The state of a node. Whoever calls holds the node's lock.

    Attributes:
        progress: What happened to messages since the journal was last written.
        wakes: Waiters to wake once the lock is free.
        watchers: Who is woken after any topic or channel was made or deleted.
        next_id: The next message id.
        latencies: What measures from publish to finish; None unless percentiles are asked for.
        reserved: Topic number to the seq behind what the turn in progress has decided to publish.
    """

    topic_type: Callable[..., Topic] = Topic  # nsqlite.testing has one that remembers what happened

    def __init__(self, options: Options, node_id: int, *, is_durable: bool, keeps_cache: bool) -> None:
        self.options = options
        self.node_id = node_id
        self.is_durable = is_durable
        self.cache_limit = options.cache_bytes if keeps_cache else 0
        self.topics: dict[str, Topic] = {}
        self.progress: list[Progress] = []
        self.wakes: deque[Any] = deque()
        self.watchers: list[Any] = []
        self.reserved: dict[int, int] = {}
        self.next_id = 0
        self.next_number = 1
        self._cache: deque[tuple[Topic, AnyRun]] = deque()
        self.cached_bytes = 0
        self.latencies = Latencies.wanted(options)

    # -- topics and channels --------------------------------------------------------------

    def take_number(self) -> int:
        """A number no topic or channel ever had."""
        self.next_number += 1
        return self.next_number - 1

    def add_topic(self, number: int, name: str) -> Topic:
        """Make a topic."""
        topic = self.topics[name] = self.topic_type(number, name, self.options.mem_queue_size, self.latencies)
        self.wakes.extend(self.watchers)
        return topic

    def add_channel(self, topic: Topic, number: int, name: str) -> Channel:
        """Make a channel that begins with what is routed from now on."""
        return self.add_channels(topic, [(number, name)])[0]

    def add_channels(self, topic: Topic, named: Sequence[tuple[int, str]]) -> list[Channel]:
        """Make channels, by number and name, that all begin with what is routed from now on."""
        made = topic.add_channels(named, topic.routed, self.progress if self.is_durable else None)
        self.wakes.extend(self.watchers)
        self.attend_all(topic)
        return made

    def remove_topic(self, topic: Topic) -> list[Channel]:
        """Take a topic away with all its channels, which are returned."""
        del self.topics[topic.name]
        topic.is_deleted = True
        self.wakes.extend(self.watchers)
        return [self.remove_channel(topic, channel) for channel in list(topic.channels.values())]

    def remove_channel(self, topic: Topic, channel: Channel) -> Channel:
        """Take a channel away and wake all who wait on it, to be told."""
        topic.remove_channel(channel.name)
        self.wakes.extend(self.watchers)
        self.wakes.extend(channel.waiters)
        self.wakes.extend(each.watcher for each in channel.consumers if each.watcher is not None)
        channel.waiters.clear()
        channel.waits.clear()
        return channel

    # -- waking ---------------------------------------------------------------------------

    def attend(self, channel: Channel) -> None:
        """Note whom to wake after a change: one for each message that waits, and one to watch the time.

        Who has no room for a message is passed by: woken, it would only pass its wake-up on,
        and two of them would do so for ever.
        """
        waiters = channel.waiters
        if not waiters:
            return
        waits = channel.waits
        count = 0 if channel.is_paused else channel.depth
        full: list[Any] = []
        while count > 0 and waiters:
            waiter = waiters.popleft()
            consumer = waits[waiter][1]
            if consumer is not None and consumer.room <= 0:
                full.append(waiter)
                continue
            del waits[waiter]
            self.wakes.append(waiter)
            count -= 1
        waiters.extendleft(reversed(full))
        due_ns = channel.next_due_ns
        if waiters and due_ns < NEVER and not any(waits[waiter][0] <= due_ns for waiter in waiters):
            waiter = waiters.popleft()
            del waits[waiter]
            self.wakes.append(waiter)
        if not waiters:
            channel.topic.hungry.discard(channel)

    def attend_all(self, topic: Topic) -> None:
        """Attend to every channel of a topic on which somebody waits."""
        if topic.hungry:
            for channel in list(topic.hungry):
                self.attend(channel)

    def tick(self, channel: Channel, now_ns: int) -> None:
        """Move what is due in a channel, and wake whom that concerns."""
        if now_ns >= channel.next_due_ns and channel.tick(now_ns):
            self.attend(channel)

    def wait(self, channel: Channel, waiter: Any, until_ns: int, consumer: Consumer | None = None) -> None:
        """Let a waiter queue on a channel; it will look by itself at `until_ns`."""
        channel.waiters.append(waiter)
        channel.waits[waiter] = (until_ns, consumer)
        channel.topic.hungry.add(channel)

    def stop_waiting(self, channel: Channel, waiter: Any) -> None:
        """Take a waiter off the queue; if it was woken already, its wake-up goes to the next."""
        try:
            channel.waiters.remove(waiter)
            del channel.waits[waiter]
        except ValueError:
            self.attend(channel)
        if not channel.waiters:
            channel.topic.hungry.discard(channel)
        else:
            self.attend(channel)

    # -- state ----------------------------------------------------------------------------

    def snapshot(self, has_rows: Callable[[int], bool] | None = None) -> NodeState:
        """What a settlement writes. O(topics + their channels + changes); no message is touched.

        Args:
            has_rows: Whether storage has messages of a topic, by its number. Topics of which nothing is
                there and nothing is to be written are left out. None leaves none out.
        """
        state = NodeState(last_id=self.next_id - 1, next_number=self.next_number)
        for topic in self.topics.values():
            if not topic.is_ephemeral and (has_rows is None or has_rows(topic.number) or topic.log.has_unsettled):
                state.topics[topic.number] = topic.snapshot()
        return state

    def take_back(self, state: NodeState) -> None:
        """Note again as changed what a settlement failed to write."""
        by_number = {topic.number: topic for topic in self.topics.values()}
        for each in state.topics.values():
            topic = by_number.get(each.number)
            channels = {} if topic is None else {channel.number: channel for channel in topic.channels.values()}
            for held in each.channels.values():
                channel = channels.get(held.number)
                if channel is None:
                    continue
                if not channel.is_emptied:
                    channel.changed = {**held.changed, **channel.changed}
                channel.is_emptied = channel.is_emptied or held.is_emptied

    def settled(self, state: NodeState) -> None:
        """Let what a settlement wrote leave memory, except a cache."""
        for topic in self.topics.values():
            if topic.is_ephemeral:
                self._cache_runs(topic, topic.log.unsettled())
                topic.tail = None
                topic.log.settled_end = topic.end
            elif (written := state.topics.get(topic.number)) is not None:
                unsettled = topic.log.unsettled()
                topic.log.settled_end = written.end
                settled = unsettled[: len(unsettled) - len(topic.log.unsettled())]
                if topic.pinned_from() is None:  # what is delayed is not needed soon: it goes at once
                    topic.log.forget([run.first_seq for run in settled if run.due_ns])
                    settled = [run for run in settled if not run.due_ns]
                self._cache_runs(topic, settled)
        self._evict()

    def loaded(self, topic: Topic, runs: Iterable[AnyRun]) -> None:
        """Take up runs that were read back from storage. They stay at least until the next are."""
        self._evict()  # before: in a cache smaller than a run, it would go before anybody took it
        self.take_up(topic, runs)

    def take_up(self, topic: Topic, runs: Iterable[AnyRun]) -> None:
        """As `loaded`, and nothing goes for it."""
        self._cache_runs(topic, topic.loaded(runs))

    def _cache_runs(self, topic: Topic, runs: Iterable[AnyRun]) -> None:
        for run in runs:
            self._cache.append((topic, run))
            self.cached_bytes += run.memory_bytes

    def _evict(self) -> None:
        """Let the oldest of the cache go until it fits. What only memory has stays."""
        gone: dict[Topic, list[int]] = {}
        for _ in range(len(self._cache)):
            if self.cached_bytes <= self.cache_limit:
                break
            entry = self._cache.popleft()
            topic, run = entry
            pinned = None if topic.is_deleted else topic.pinned_from()
            if pinned is not None and run.first_seq + run.count > pinned:
                self._cache.append(entry)
                continue
            self.cached_bytes -= run.memory_bytes
            gone.setdefault(topic, []).append(run.first_seq)
        for topic, first_seqs in gone.items():
            topic.log.forget(first_seqs)

    def restore(self, state: NodeState, now_ns: int, wall_ns: int) -> None:
        """Become what was stored."""
        self.next_id = first_id(self.node_id, state.last_id, wall_ns)
        self.next_number = state.next_number
        for each in state.topics.values():
            topic = self.add_topic(each.number, each.name)
            topic.restore(each, self.progress if self.is_durable else None, now_ns, wall_ns)

    def channels(self) -> Iterator[Channel]:
        """All channels of all topics."""
        for topic in self.topics.values():
            yield from topic.channels.values()

    def check(self) -> None:
        """Assert every invariant of the node's memory."""
        numbers = [topic.number for topic in self.topics.values()]
        numbers += [channel.number for channel in self.channels()]
        assert len(numbers) == len(set(numbers))
        assert all(number < self.next_number for number in numbers)
        assert self.cached_bytes == sum(run.memory_bytes for _, run in self._cache)
        for name, topic in self.topics.items():
            assert name == topic.name
            assert topic.is_ephemeral == is_ephemeral(name)
            topic.check()
