"""A node that remembers what happens to its messages: the product's own classes, each with a note at the side."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any

from nsqlite.background import FLUSH_NS
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.gate import State
from nsqlite.options import SECOND_NS, Options
from nsqlite.run import BODY_AT, ID_AT, AnyRun, Run
from nsqlite.state import DUE_SHIFT
from nsqlite.testing import events
from nsqlite.testing.callers import Callers
from nsqlite.testing.clock import SYNC_THREAD, Clock
from nsqlite.testing.events import Event, History


class Witness:
    """Who writes a node's history down.

    Attributes:
        history: What happened, also before a crash.
        callers: Who takes messages in this process.
    """

    def __init__(self, clock: Any, history: History) -> None:
        self.history = history
        self.callers = Callers(history, clock)
        self._clock = clock
        self._begun_ns = clock.monotonic_ns()

    def note(
        self, kind: str, where: Topic | Channel, run: AnyRun, seqs: Iterable[int], attempts: int = 0, delay_ns: int = 0
    ) -> None:
        """Write the same thing down of some messages of a run."""
        topic, channel = (where.topic.name, where.name) if isinstance(where, Channel) else (where.name, "")
        at = (self._clock.monotonic_ns() - self._begun_ns) / SECOND_NS
        for seq in seqs:
            frame = run.frame(seq - run.first_seq)
            message_id, body = frame[ID_AT:BODY_AT], frame[BODY_AT:]
            self.history.add(Event(kind, at, topic, channel, message_id, body, attempts, delay_ns / SECOND_NS))


class WatchedChannel(Channel):
    """A channel that has a witness."""

    def __init__(self, witness: Witness, *made_of: Any) -> None:
        super().__init__(*made_of)
        self._witness = witness

    def take_fresh(self, now_ns: int, timeout_ns: int, max_timeout_ns: int) -> Delivery | None:
        """See Channel. It does not go through `_put_in_flight`."""
        delivery = super().take_fresh(now_ns, timeout_ns, max_timeout_ns)
        if delivery is not None:
            self._witness.note(events.DELIVERED, self, delivery.run, delivery.seqs(), delivery.attempts)
        return delivery

    def _put_in_flight(self, delivery: Delivery) -> None:
        super()._put_in_flight(delivery)
        self._witness.note(events.DELIVERED, self, delivery.run, delivery.seqs(), delivery.attempts)

    def finish(self, seq: int, delivery: Delivery, count: int = 1, now_ns: int = 0, wall_ns: int = 0) -> bool:
        """See Channel."""
        if not super().finish(seq, delivery, count, now_ns, wall_ns):
            return False
        self._witness.note(events.FINISHED, self, delivery.run, range(seq, seq + count), delivery.attempts)
        return True

    def requeue(self, seq: int, delivery: Delivery, delay_ns: int, now_ns: int, wall_ns: int) -> bool:
        """See Channel."""
        if not super().requeue(seq, delivery, delay_ns, now_ns, wall_ns):
            return False
        self._witness.note(events.REQUEUED, self, delivery.run, [seq], delivery.attempts, delay_ns)
        return True

    def touch(self, seq: int, delivery: Delivery, now_ns: int) -> Delivery | None:
        """See Channel."""
        touched = super().touch(seq, delivery, now_ns)
        if touched is not None:
            self._witness.note(events.TOUCHED, self, delivery.run, [seq], delivery.attempts)
        return touched

    def finish_in_vain(self, seq: int, delivery: Delivery) -> bool:
        """Let a message look finished to its consumer, and have it ready again; False if it is not in flight."""
        if not delivery.let_go(seq):
            return False
        self._take_back(seq, delivery)
        self.finish_count += 1
        if delivery.consumer is not None:
            delivery.consumer.finish_count += 1
        self._witness.note(events.FINISHED, self, delivery.run, [seq], delivery.attempts)
        self._make_ready(seq, delivery.attempts)
        return True

    def time_out_all(self) -> None:
        """Let all that is in flight time out, whatever its deadline."""
        for delivery in list(self.deadlines.live()):
            self._time_out(delivery)

    def _time_out(self, delivery: Delivery) -> int:
        late = delivery.seqs()
        count = super()._time_out(delivery)
        self._witness.note(events.TIMED_OUT, self, delivery.run, late, delivery.attempts)
        return count


class WatchedTopic(Topic):
    """A topic that has a witness, and so have its channels."""

    def __init__(self, witness: Witness, *made_of: Any) -> None:
        super().__init__(*made_of)
        self._witness = witness
        self.channel_type = partial(WatchedChannel, witness)

    def append_frame(self, frame: bytes, message_id: int) -> None:
        """See Topic."""
        seq = self.end
        super().append_frame(frame, message_id)
        assert self.tail is not None
        self._witness.note(events.PUBLISHED, self, self.tail, [seq])

    def append_run(self, run: Run, due_ns: int) -> None:
        """See Topic."""
        super().append_run(run, due_ns)
        delay_ns = run.due_ns - run.timestamp(0) if run.due_ns else 0
        self._witness.note(events.PUBLISHED, self, run, range(run.first_seq, run.first_seq + run.count), 0, delay_ns)


class WatchedBroker(Broker):
    """A broker that has a witness, and so have its topics."""

    def __init__(self, witness: Witness, *made_of: Any, **options: Any) -> None:
        super().__init__(*made_of, **options)
        self.topic_type = partial(WatchedTopic, witness)


class WatchedEngine(Engine):
    """An engine that has a witness. It also tells of those who take messages in the process."""

    def __init__(
        self, witness: Witness, storage: Any, options: Options, clock: Any, *, is_synced: bool = False
    ) -> None:
        self._witness = witness
        self._progress_since_ns = NEVER
        self.broker_type = partial(WatchedBroker, witness)
        super().__init__(storage, options, clock, is_synced=is_synced)

    def journal_progress(self, in_ns: int = 0) -> None:
        """Journal the progress that, so long from now, would have waited for 25 ms; a disk has a thread for it."""
        with self.lock:
            is_late = self.clock.monotonic_ns() + in_ns >= self._progress_since_ns + FLUSH_NS
            if is_late and self.state is State.OPEN:
                self.flush_progress()

    def flush_progress(self) -> None:
        """See Journaling. Where the test moves time, it does what a disk's thread would do some moment later."""
        if isinstance(self.clock, Clock) and threading.current_thread().name == SYNC_THREAD:
            return
        super().flush_progress()
        self._progress_since_ns = NEVER

    def _append(self, pieces: list[bytes], *, waits_for_sync: bool = False, needs_room: bool = True) -> int:
        lsn = super()._append(pieces, waits_for_sync=waits_for_sync, needs_room=needs_room)
        self._progress_since_ns = NEVER  # it went ahead of the promise
        return lsn

    def _answered(self) -> None:
        self._progress_since_ns = min(self._progress_since_ns, self.clock.monotonic_ns())
        super()._answered()

    def sync(self) -> None:
        """See Engine."""
        if self.background is None:
            self.locked(lambda _: self.flush_progress())
        super().sync()

    def close(self, *, is_quick: bool = False) -> None:
        """See Engine."""
        with self.lock:
            if self.background is None and self.state is State.OPEN and not self._is_busy:
                self.flush_progress()
        super().close(is_quick=is_quick)

    def take_one(self, channel: Channel) -> Delivery | None:
        """See Receiving."""
        with self._witness.callers.at(channel):
            return super().take_one(channel)

    def take(self, channel: Channel, limit: int, consumer: Any = None) -> list[Delivery]:
        """See Receiving."""
        with self._witness.callers.at(channel):
            return super().take(channel, limit, consumer)

    def begin_wait(self, channel: Channel, waiter: Any, deadline_ns: int, consumer: Any = None) -> int:
        """See Receiving."""
        with self._witness.callers.at(channel):
            with self.lock:
                channel.next_due_ns = due_ns(channel)  # else it may wait for what was finished long ago
            until_ns = super().begin_wait(channel, waiter, deadline_ns, consumer)
        if until_ns > 0:
            self._witness.callers.waits(channel, waiter)
        elif until_ns < 0:
            self._witness.callers.leaves()
        return until_ns

    def _wake_all(self) -> None:
        self._witness.callers.woken(waiter for channel in self.broker.channels() for waiter in channel.waiters)
        super()._wake_all()

    def detach_consumer(self, channel: Channel, consumer: Any) -> bool:
        """See Receiving."""
        with self.lock:
            if not consumer.is_closed:
                self._witness.callers.woken(channel.waiters)
            return super().detach_consumer(channel, consumer)

    def end_wait(self, channel: Channel, waiter: Any) -> None:
        """See Receiving."""
        if isinstance(sys.exception(), asyncio.CancelledError):
            self._witness.callers.leaves()  # its task looks no more
        else:
            self._witness.callers.goes_on(channel)
        super().end_wait(channel, waiter)


def next_due_ns(engine: Engine) -> int:
    """When something of a node is due next; for a clock's `sources`."""

    def look(broker: Broker) -> int:
        dues = [due_ns(channel) for channel in broker.channels()]
        dues += [until_ns for channel in broker.channels() for until_ns, _ in channel.waits.values()]
        return min(dues, default=NEVER)

    found_ns: int = engine.locked(look, even_closed=True)
    return found_ns


def due_ns(channel: Channel) -> int:
    """When something of a channel is due next: its own `next_due_ns` may be early."""
    deferred = channel.deferred
    dues = [each.deadline_ns for each in channel.deadlines.live()]
    return min(dues, default=NEVER) if not deferred else min(*dues, deferred[0] >> DUE_SHIFT, NEVER)
