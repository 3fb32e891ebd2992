"""Handing messages out and taking the answers: turns that promise nothing, so they never wait for a disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from nsqlite.clock import Clock
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic
from nsqlite.errors import ClosedError, ConsumerClosedError, DamagedRecordError, TooManyConsumersError
from nsqlite.gate import State, refuse_deleted
from nsqlite.journaling import PROGRESS_BYTES
from nsqlite.names import is_ephemeral
from nsqlite.ops import ChangeChannel, MakeChannel
from nsqlite.options import Options
from nsqlite.run import AnyRun
from nsqlite.storage import layout
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.storage.interface import Damage
from nsqlite.turns import Turns
from nsqlite.waiting import ThreadWaiter

AHEAD_BYTES: Final = 512 * 1024


class Receiving(Turns):
    """Deliveries, answers and consumers."""

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        super().__init__(storage, options, clock, is_synced=is_synced)
        self._timeout_ns = options.msg_timeout_ns
        self._max_timeout_ns = options.max_msg_timeout_ns
        self._ahead_bytes = min(AHEAD_BYTES, options.cache_bytes // 4)
        self._loads: dict[tuple[int, int], list[ThreadWaiter]] = {}

    # -- receiving ------------------------------------------------------------------------

    def take_one(self, channel: Channel) -> Delivery | None:
        """Hand out one message to a plain `receive`; None if it must be waited for or loaded.

        Hot: benchmarks/memory_one.py, benchmarks/commit_one.py.
        """
        now_ns = self._monotonic_ns()
        with self.lock:
            if self._is_busy or self.state is not State.OPEN or channel.is_deleted:
                self._refuse(None, channel)
            self._is_busy = True
            try:
                if now_ns >= channel.next_due_ns:
                    self.broker.tick(channel, now_ns)
                delivery = channel.take_fresh(now_ns, self._timeout_ns, self._max_timeout_ns)
                if delivery is None:
                    deliveries = self._take(channel, 1, None, now_ns)
                    delivery = deliveries[0] if deliveries else None
                elif channel.waiters:
                    self.broker.attend(channel)
                if self.broker.progress:
                    self.flush_progress()
            except BaseException as error:
                self._break(error)
                raise
            finally:
                self._is_busy = False
        if self.broker.wakes:
            self.wake()
        return delivery

    def take(self, channel: Channel, limit: int, consumer: Consumer | None = None) -> list[Delivery]:
        """Hand out what is ready; [] if nothing is, or if it must be loaded first (`channel.missing`).

        Hot: benchmarks/memory_one.py.
        """
        now_ns = self._monotonic_ns()
        broker = self.broker
        with self.lock:
            if self._is_busy or self.state is not State.OPEN or channel.is_deleted:
                self._refuse(None, channel)
            self._is_busy = True
            try:
                deliveries = self._take(channel, limit, consumer, now_ns)
            except BaseException as error:
                self._break(error)
                raise
            finally:
                self._is_busy = False
        if broker.wakes:
            self.wake()
        return deliveries

    def _take(
        self, channel: Channel, limit: int, consumer: Consumer | None, now_ns: int, budget_bytes: int = NEVER
    ) -> list[Delivery]:
        broker = self.broker
        if now_ns >= channel.next_due_ns:
            broker.tick(channel, now_ns)
        timeout_ns = self._timeout_ns
        if consumer is not None:
            limit = min(limit, consumer.rdy_count - consumer.in_flight_count)
            timeout_ns = consumer.msg_timeout_ns
        deliveries = last = channel.take(limit, now_ns, timeout_ns, self._max_timeout_ns, consumer, budget_bytes)
        while channel.missing >= 0 and not self.storage.loads_block:
            found = self.storage.read(channel.topic.number, channel.missing)
            if deliveries and isinstance(found, Damage):
                break  # raised when nobody has anything in hand
            self._take_up(channel.topic, channel.missing, found)
            limit -= sum(each.count for each in last)
            budget_bytes -= sum(each.size_bytes for each in last)
            last = channel.take(limit, now_ns, timeout_ns, self._max_timeout_ns, consumer, budget_bytes)
            deliveries = [*deliveries, *last]
        if broker.progress:
            self.flush_progress()
        if channel.waiters:
            broker.attend(channel)
        return deliveries

    def receive(
        self, channel: Channel, limit: int, deadline_ns: int, consumer: Consumer | None = None
    ) -> list[Delivery]:
        """Hand out up to `limit` messages, waiting until there is one; [] at the deadline."""
        while True:
            deliveries = self.take(channel, limit, consumer)
            if deliveries:
                return deliveries
            if channel.missing >= 0:
                self.load(channel, channel.missing)
                continue
            waiter = ThreadWaiter()
            until_ns = self.begin_wait(channel, waiter, deadline_ns, consumer)
            if until_ns < 0:
                return []
            if until_ns == 0:
                continue
            try:
                waiter.wait(self.clock, until_ns)
            finally:
                self.end_wait(channel, waiter)

    def begin_wait(self, channel: Channel, waiter: Any, deadline_ns: int, consumer: Consumer | None = None) -> int:
        """Let a waiter queue on a channel.

        Returns:
            Until when to sleep; 0 for not at all, -1 if the deadline has come.
        """
        now_ns = self._monotonic_ns()

        def begin(broker: Broker) -> int:
            refuse_deleted(channel)
            if consumer is not None and consumer.is_closed:
                raise ConsumerClosedError
            broker.tick(channel, now_ns)
            has_room = consumer is None or consumer.room > 0
            if channel.depth and not channel.is_paused and has_room:
                return 0
            if now_ns >= deadline_ns:
                return -1
            until_ns = min(deadline_ns, channel.next_due_ns)
            broker.wait(channel, waiter, until_ns, consumer)
            return until_ns

        return int(self.locked(begin))

    def end_wait(self, channel: Channel, waiter: Any) -> None:
        """Take a waiter off a channel's queue, passing on a wake-up it cannot use."""
        with self.lock:
            if not self._is_busy:
                self.broker.stop_waiting(channel, waiter)
        self.wake()

    def load(self, channel: Channel, seq: int) -> None:
        """Read the run around a seq back from storage, once for all who want it. Lock free.

        For a fresh message those behind it come too: they are next.

        Raises:
            DamagedRecordError: Once for each stretch that cannot be read.
        """
        topic = channel.topic
        key = (topic.number, seq)
        with self.lock:
            others = self._loads.get(key)
            waiter = ThreadWaiter()
            if others is None:
                self._loads[key] = []
            else:
                others.append(waiter)
        if others is not None:
            waiter.wait(self.clock)
            return
        try:
            ahead_bytes = self._ahead_bytes if seq >= channel.cursor else 0
            found = self.storage.read(topic.number, seq, ahead_bytes)
            self.locked(lambda _: self._take_up(topic, seq, found))
        finally:
            with self.lock:
                waiting = self._loads.pop(key)
            for each in waiting:
                each.wake()

    def make_channel(self, topic: Topic, name: str) -> MakeChannel:
        """The op that makes a channel. An ephemeral one that is first gets a topic's backlog in memory."""
        is_needed = is_ephemeral(name) and not topic.is_ephemeral and topic.depth and self.is_durable
        return MakeChannel(topic, name, self._backlog(topic) if is_needed else ())

    def _backlog(self, topic: Topic) -> list[AnyRun]:
        """The runs that wait in a topic, as far as an ephemeral channel has room for them. Lock free."""
        limit = self.options.mem_queue_size

        def wanted(_: Broker) -> list[tuple[int, int]]:
            delayed = [(first, first + 1) for first, _ in zip(topic.waiting, range(limit), strict=False)]
            return [(topic.routed, min(topic.end, topic.routed + limit)), *delayed]

        runs: dict[int, AnyRun] = {}
        for start, stop in self.locked(wanted):
            seq = start
            while seq < stop:
                run = self.locked(partial(_find, topic, seq))
                found = [run] if run is not None else self.storage.read(topic.number, seq, self._ahead_bytes)
                if isinstance(found, Damage):
                    seq = max(seq + 1, min(found.stop, stop))
                    continue
                runs.update((each.first_seq, each) for each in found)
                seq = max([seq + 1, *(each.first_seq + each.count for each in found)])
        return [runs[first] for first in sorted(runs)]

    def _take_up(self, topic: Topic, seq: int, found: Any) -> None:
        if not isinstance(found, Damage):
            self.broker.loaded(topic, found)
            return
        run = topic.log.find(seq)
        if run is not None or topic.is_deleted or not any(each.owes(seq) for each in topic.channels.values()):
            return  # it came back into memory, or was emptied or deleted, meanwhile
        stop = found.stop if found.stop > seq else topic.log.settled_end
        following = min((first for first in topic.log.firsts if first > seq), default=stop)
        stop = max(seq + 1, min(stop, following))
        topic.pass_over(found.start, stop)
        error = DamagedRecordError(topic.name, found.start, stop - found.start)
        self.health.failed(str(error))
        raise error

    # -- answers --------------------------------------------------------------------------

    def finish(self, channel: Channel, seq: int, delivery: Delivery) -> bool:
        """Finish one message; False if this delivery does not hold it. Hot."""
        now_ns = self._monotonic_ns()
        wall_ns = self._wall_ns() if channel.latency is not None else 0
        with self.lock:
            if self._is_busy or self.state is not State.OPEN:
                self._refuse()
            self._is_busy = True
            try:
                if now_ns >= channel.next_due_ns:
                    self.broker.tick(channel, now_ns)
                is_finished = channel.finish(seq, delivery, 1, now_ns, wall_ns)
                if channel.waiters and delivery.consumer is not None:
                    self.broker.attend(channel)
                self._answered()
            except BaseException as error:
                self._break(error)
                raise
            finally:
                self._is_busy = False
        if self.broker.wakes:
            self.wake()
        return is_finished

    def _answered(self) -> None:
        background = self.background
        if background is None:
            self.unsettled_bytes += PROGRESS_BYTES
            if self.unsettled_bytes >= self._settle_limit:
                self._ask_settlement()
        elif not background.is_awake:
            background.rouse()

    def add_consumer(self, channel: Channel, consumer: Consumer) -> None:
        """Let a consumer take part in a channel.

        Raises:
            TooManyConsumersError: The channel has `max_channel_consumers` already.
        """

        def add(_: Broker) -> None:
            refuse_deleted(channel)
            limit = self.options.max_channel_consumers
            if limit and len(channel.consumers) >= limit:
                raise TooManyConsumersError(channel.topic.name, channel.name, limit)
            channel.consumers.append(consumer)

        self.locked(add)

    def remove_consumer(self, channel: Channel, consumer: Consumer) -> None:
        """Let a consumer go. An ephemeral channel goes with its last one."""
        if self.detach_consumer(channel, consumer):
            with suppress(ClosedError):
                self.run(ChangeChannel(channel, layout.CHANNEL_DELETED))

    def detach_consumer(self, channel: Channel, consumer: Consumer) -> bool:
        """Take a consumer off its channel; whether the channel is to be deleted with it."""

        def remove(broker: Broker) -> bool:
            if consumer.is_closed:
                return False
            consumer.is_closed = True
            broker.wakes.extend(channel.waiters)  # several may wait for one consumer; the others wait again
            channel.consumers.remove(consumer)
            return channel.is_bounded and not channel.consumers and not channel.is_deleted

        is_last = bool(self.locked(remove, even_closed=True))
        self.wake()
        return is_last

    def finish_many(self, channel: Channel, held: Sequence[tuple[Delivery, Sequence[int]]]) -> list[int]:
        """Finish messages by delivery; return the seqs that were not in flight."""
        now_ns = self._monotonic_ns()
        wall_ns = self._wall_ns() if channel.latency is not None else 0

        def finish(broker: Broker) -> list[int]:
            broker.tick(channel, now_ns)
            missed: list[int] = []
            for delivery, seqs in held:
                is_whole = len(seqs) == delivery.count == len(set(seqs))  # one given twice stands for no other
                if is_whole and channel.finish(delivery.first_seq, delivery, delivery.count, now_ns, wall_ns):
                    continue
                missed += [seq for seq in seqs if not channel.finish(seq, delivery, 1, now_ns, wall_ns)]
            broker.attend(channel)
            self._answered()
            return missed

        missed: list[int] = self.locked(finish)
        self.wake()
        return missed

    def requeue(self, channel: Channel, seq: int, delivery: Delivery, delay_ns: int) -> bool:
        """Put a message back; False if this delivery does not hold it."""
        now_ns, wall_ns = self._monotonic_ns(), self._wall_ns()

        def requeue(broker: Broker) -> bool:
            broker.tick(channel, now_ns)
            is_requeued = channel.requeue(seq, delivery, delay_ns, now_ns, wall_ns)
            broker.attend(channel)
            self._answered()
            return is_requeued

        is_requeued = bool(self.locked(requeue))
        self.wake()
        return is_requeued

    def touch(self, channel: Channel, seq: int, delivery: Delivery) -> Delivery | None:
        """Postpone a message's deadline; None if this delivery does not hold it."""
        now_ns = self._monotonic_ns()

        def touch(broker: Broker) -> Delivery | None:
            broker.tick(channel, now_ns)
            touched = channel.touch(seq, delivery, now_ns)
            broker.attend(channel)
            return touched

        touched: Delivery | None = self.locked(touch)
        self.wake()
        return touched


def _find(topic: Topic, seq: int, _: Broker) -> AnyRun | None:
    return topic.log.find(seq)
