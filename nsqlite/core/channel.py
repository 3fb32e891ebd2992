"""A channel: a cursor into its topic's log, and exceptions.

A message that the cursor has passed and nobody has finished is in exactly one place,
and the place is its state:

    in flight    handed out: in a delivery
    ready        requeued, timed out, or its delay is over: waits for a consumer
    deferred     waits for its due time

What is behind the cursor and in none of them is finished.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.progress import AGAIN, DEFERRED, FINISHED, HANDED, Progress
from nsqlite.core.timers import NEVER, Deadlines
from nsqlite.names import is_ephemeral
from nsqlite.seqset import SeqSet
from nsqlite.state import (
    DUE_SHIFT,
    MAX_ATTEMPTS,
    ChannelState,
    pack_exception,
    unpack_exception,
)

if TYPE_CHECKING:
    from nsqlite.core.topic import Topic
    from nsqlite.run import AnyRun

MOVES_A_TURN = 1000
_WITHOUT_DUE = (1 << DUE_SHIFT) - 1


class Channel:
    """One channel of a topic.

    Attributes:
        cursor: The next seq never handed out.
        stepped_ahead: Seqs between cursor and the topic's `routed` that it will step over.
        next_due_ns: Monotonic time before which nothing falls due; may be early.
        missing: Seq of the message that stopped the last `take`, because its run is not in
            memory; -1 if none did.
        recovered: How many at the front of `ready` were in flight when the store was
            closed: they come ahead of fresh messages.
        waiters: Who waits for a message, longest first; opaque here.
        wall_ahead_ns: What wall time is ahead of monotonic time, as of the last deferral.
        waits: For each waiter, when it will look by itself, and the consumer it waits for.
        message_base: What `message_count` counts from.
        latency: What messages took from publish to finish; None if nobody asks.
    """

    def __init__(self, topic: Topic, number: int, name: str, cursor: int, progress: list[Progress] | None) -> None:
        self.topic = topic
        self.number = number
        self.name = name
        self.cursor = cursor
        self.progress = progress
        self.is_volatile = is_ephemeral(name) or topic.is_ephemeral
        self.is_bounded = is_ephemeral(name)
        self.is_paused = False
        self.is_deleted = False
        self.stepped_ahead = 0
        self.skips: deque[tuple[int, int]] = deque()
        self.skipped_ahead = 0
        self.current: AnyRun | None = None
        self.missing = -1

        self.in_flight_count = 0
        self.deadlines = Deadlines()
        self.ready: deque[int] = deque()
        self.ready_count = 0
        self.deferred: list[int] = []
        self.deferred_count = 0
        self.recovered = 0
        self.wall_ahead_ns = 0
        self.next_due_ns = NEVER
        self._is_ready_next = True
        self.kept: dict[int, AnyRun] = {}

        self.excepted = SeqSet()
        self.changed: dict[int, int | None] = {}
        self.is_emptied = False

        self.waiters: deque[Any] = deque()
        self.consumers: list[Consumer] = []
        self.message_base = topic.routed
        self.waits: dict[Any, tuple[int, Consumer | None]] = {}
        self.requeue_count = 0
        self.timeout_count = 0
        self.finish_count = 0
        self.dropped_count = 0
        self.latency = topic.latencies.of_channel() if topic.latencies is not None else None

    # -- counts ---------------------------------------------------------------------------

    @property
    def fresh_count(self) -> int:
        """Messages routed to it that were never handed out, those deferred left out."""
        return self.topic.routed - self.cursor - self.stepped_ahead - self.skipped_ahead

    @property
    def message_count(self) -> int:
        """Messages it was routed since it was made or its store was opened."""
        return self.topic.routed - self.message_base

    @property
    def depth(self) -> int:
        """Messages that wait for a consumer."""
        return self.fresh_count + self.ready_count

    # -- handing out ----------------------------------------------------------------------

    def take(
        self,
        limit: int,
        now_ns: int,
        timeout_ns: int,
        max_timeout_ns: int,
        consumer: Consumer | None = None,
        budget_bytes: int = NEVER,
    ) -> list[Delivery]:
        """Hand out up to `limit` messages, fresh and ready ones in turn, O(runs touched).

        Ends early at a message whose run is not in memory, which `missing` then names, and
        with the run that uses up `budget_bytes`.
        """
        taken: list[Delivery] = []
        self.missing = -1
        if self.is_paused:
            return taken
        while limit > 0 and budget_bytes > 0:
            if self.stepped_ahead or self.skips:
                self._step_over()
            has_fresh = self.cursor < self.topic.routed
            is_fresh = not (self.ready and (self._is_ready_next or self.recovered or not has_fresh))
            if not is_fresh:
                found = self._pick_ready(limit)
            elif has_fresh:
                found = self._pick_fresh(limit)
            else:
                break
            if found is None:
                break  # the same again next time: were it the others' turn, loads might evict each other for ever
            self._is_ready_next = is_fresh
            run, seq, count, attempts = found
            delivery = Delivery(
                run, seq, count, attempts, now_ns + timeout_ns, now_ns + max_timeout_ns, timeout_ns, consumer
            )
            self._put_in_flight(delivery)
            taken.append(delivery)
            limit -= count
            budget_bytes -= delivery.size_bytes
        return taken

    def take_fresh(self, now_ns: int, timeout_ns: int, max_timeout_ns: int) -> Delivery | None:
        """Hand out the next fresh message in the plainest case; None leaves it to `take`.

        Hot: a third less than `take` (benchmarks/memory_one.py).
        """
        seq, run = self.cursor, self.current
        if (
            run is None
            or seq - run.first_seq >= run.count
            or seq >= self.topic.routed
            or self.ready
            or self.stepped_ahead
            or self.skips
            or self.is_paused
        ):
            return None
        self.cursor = seq + 1
        if self.progress is not None:
            self.progress.append((HANDED, self.number, seq, 1))
        deadline_ns = now_ns + timeout_ns
        delivery = Delivery(run, seq, 1, 1, deadline_ns, now_ns + max_timeout_ns, timeout_ns, None)
        self.in_flight_count += 1
        self.deadlines.add(delivery)
        if deadline_ns < self.next_due_ns:
            self.next_due_ns = deadline_ns
        self._is_ready_next = True
        return delivery

    def _pick_fresh(self, limit: int) -> tuple[AnyRun, int, int, int] | None:
        """Move the cursor over up to `limit` messages of one run."""
        seq = self.cursor
        run = self.current
        if run is None or not 0 <= seq - run.first_seq < run.count:
            run = self.current = self.topic.log.find(seq)
            if run is None:
                self.missing = seq
                return None
        stop = min(seq + limit, run.first_seq + run.count, self.topic.routed)
        if self.stepped_ahead:
            stop = self.topic.stepped.next_present(seq, stop)
        if self.skips:
            stop = min(stop, self.skips[0][0])
        self.cursor = stop
        if self.progress is not None:
            self.progress.append((HANDED, self.number, seq, stop - seq))
        return run, seq, stop - seq, 1

    def _pick_ready(self, limit: int) -> tuple[AnyRun, int, int, int] | None:
        """Take up to `limit` messages off the first ready stretch."""
        _, seq, whole, before = unpack_exception(self.ready[0])
        run = self.kept.get(seq) or self.topic.log.find(seq)
        if run is None:
            self.missing = seq
            return None
        count = min(limit, whole, run.first_seq + run.count - seq)
        attempts = min(before + 1, MAX_ATTEMPTS)
        rest = whole - count
        if rest:
            self.ready[0] = pack_exception(0, seq + count, rest, before)
        else:
            self.ready.popleft()
        self.ready_count -= count
        self.recovered = max(0, self.recovered - count)
        self._note_again(seq, count, attempts, rest, before)
        if self.kept:
            for each in range(seq, seq + count):
                self.kept.pop(each, None)
        return run, seq, count, attempts

    def _note_again(self, seq: int, count: int, attempts: int, rest: int, before: int) -> None:
        if self.is_volatile:
            return
        self.changed[seq] = None
        if attempts == 1:
            self.excepted.discard_range(seq, seq + count)
        else:
            for each in range(seq, seq + count):
                self.changed[each] = pack_exception(0, each, 1, attempts)
        if rest:
            self.changed[seq + count] = pack_exception(0, seq + count, rest, before)
        if self.progress is not None:
            self.progress.append((AGAIN, self.number, seq, count, attempts, rest))

    def _put_in_flight(self, delivery: Delivery) -> None:
        count = delivery.count
        self.in_flight_count += count
        self.deadlines.add(delivery)
        if delivery.deadline_ns < self.next_due_ns:
            self.next_due_ns = delivery.deadline_ns
        consumer = delivery.consumer
        if consumer is not None:
            consumer.in_flight_count += count
            consumer.message_count += count
            if consumer.held is not None:
                consumer.held.add(delivery)

    def _step_over(self) -> None:
        """Move the cursor over what it does not hand out."""
        topic = self.topic
        while True:
            if self.skips and self.skips[0][0] <= self.cursor:
                start, stop = self.skips.popleft()
                self.skipped_ahead -= stop - start
                self.cursor = stop
            elif self.stepped_ahead and self.cursor < topic.routed and self.cursor in topic.stepped:
                stop = min(topic.stepped.next_absent(self.cursor), topic.routed)
                if self.skips:
                    stop = min(stop, self.skips[0][0])
                self.stepped_ahead -= stop - self.cursor
                self.cursor = stop
            else:
                return

    def owes(self, seq: int) -> bool:
        """Whether a message waits here, fresh, ready or deferred; of what is excepted, in flight too."""
        if seq >= self.cursor and seq not in self.topic.stepped:
            return True
        if not self.is_volatile:
            return seq in self.excepted
        return any(_overlaps(each, seq, seq + 1) for each in (*self.ready, *self.deferred))

    # -- answers --------------------------------------------------------------------------

    def finish(self, seq: int, delivery: Delivery, count: int = 1, now_ns: int = 0, wall_ns: int = 0) -> bool:
        """Let messages go for ever, `count` in a row; False, and nothing happens, if this delivery holds not all.

        The times are for `latency`; without them nothing is measured.
        Hot: O(1) whatever the count, in the order of delivery (benchmarks/net).
        """
        if not delivery.let_go(seq, count):
            return False
        self.in_flight_count -= count
        self.finish_count += count
        consumer = delivery.consumer
        if consumer is not None:
            consumer.in_flight_count -= count
            consumer.finish_count += count
        if wall_ns and self.latency is not None:
            start = seq - delivery.run.first_seq
            self.latency.finished(delivery.run, start, start + count, now_ns, wall_ns)
        self._finished(seq, count, delivery)
        return True

    def discard(self, seq: int, delivery: Delivery) -> None:
        """Let a message that is in flight go as if it had never been handed out: sampled away."""
        delivery.let_go(seq)
        self._take_back(seq, delivery)
        self.kept.pop(seq, None)
        if delivery.consumer is not None:
            delivery.consumer.message_count -= 1
        self._finished(seq, 1, delivery)

    def _finished(self, seq: int, count: int, delivery: Delivery) -> None:
        if delivery.attempts > 1 and not self.is_volatile:
            self.excepted.discard_range(seq, seq + count)
            self.changed.update(dict.fromkeys(range(seq, seq + count)))
        if self.progress is not None:
            self.progress.append((FINISHED, self.number, seq, count))

    def requeue(self, seq: int, delivery: Delivery, delay_ns: int, now_ns: int, wall_ns: int) -> bool:
        """Put a message back, at once or after a delay; False if it is not in flight."""
        if not delivery.let_go(seq):
            return False
        self._take_back(seq, delivery)
        self.requeue_count += 1
        if delivery.consumer is not None:
            delivery.consumer.requeue_count += 1
        if delay_ns:
            self.defer(now_ns + delay_ns, wall_ns + delay_ns, seq, 1, delivery.attempts)
            if self.progress is not None:
                self.progress.append((DEFERRED, self.number, seq, delivery.attempts, wall_ns + delay_ns))
        else:
            self._make_ready(seq, delivery.attempts)
        return True

    def touch(self, seq: int, delivery: Delivery, now_ns: int) -> Delivery | None:
        """Postpone a message's deadline; return the delivery that holds it from now on, or None."""
        if not delivery.let_go(seq):
            return None
        deadline_ns = min(now_ns + delivery.timeout_ns, delivery.limit_ns)
        touched = Delivery(
            delivery.run,
            seq,
            1,
            delivery.attempts,
            deadline_ns,
            delivery.limit_ns,
            delivery.timeout_ns,
            delivery.consumer,
        )
        self.deadlines.add_touched(touched)
        if touched.consumer is not None and touched.consumer.held is not None:
            touched.consumer.held.add(touched)
        self.next_due_ns = min(self.next_due_ns, deadline_ns)
        return touched

    def _take_back(self, seq: int, delivery: Delivery) -> None:
        """Count a message that a delivery has let go as not in flight any more."""
        self.in_flight_count -= 1
        if delivery.consumer is not None:
            delivery.consumer.in_flight_count -= 1
        if self.is_volatile:
            self.kept[seq] = delivery.run

    def _make_ready(self, seq: int, attempts: int) -> None:
        packed = pack_exception(0, seq, 1, attempts)
        self.ready.append(packed)
        self.ready_count += 1
        if not self.is_volatile:
            self.excepted.add(seq)
            self.changed[seq] = packed

    def defer(self, due_ns: int, due_wall_ns: int, seq: int, count: int, attempts: int) -> None:
        """Let a stretch wait until a monotonic time; the store keeps the wall time."""
        heapq.heappush(self.deferred, pack_exception(due_ns, seq, count, attempts))
        self.wall_ahead_ns = due_wall_ns - due_ns
        self.deferred_count += count
        self.next_due_ns = min(self.next_due_ns, due_ns)
        if not self.is_volatile:
            self.excepted.add_range(seq, seq + count)
            self.changed[seq] = pack_exception(due_wall_ns, seq, count, attempts)

    def owe(self, seq: int, count: int, attempts: int) -> None:
        """Have a stretch ready that was not routed to it and was handed out `attempts` times elsewhere."""
        packed = pack_exception(0, seq, count, attempts)
        self.ready.append(packed)
        self.ready_count += count
        self.excepted.add_range(seq, seq + count)
        self.changed[seq] = packed

    # -- time -----------------------------------------------------------------------------

    def tick(self, now_ns: int) -> int:
        """Move what is due to where it is ready, at most MOVES_A_TURN; return how many moved."""
        if now_ns < self.next_due_ns:
            return 0
        moved = 0
        deferred = self.deferred
        while deferred and deferred[0] >> DUE_SHIFT <= now_ns and moved < MOVES_A_TURN:
            packed = heapq.heappop(deferred) & _WITHOUT_DUE
            count = unpack_exception(packed)[2]
            self.ready.append(packed)
            self.ready_count += count
            self.deferred_count -= count
            moved += count
        if moved < MOVES_A_TURN:
            for delivery in self.deadlines.pop_due(now_ns):
                moved += self._time_out(delivery)
                if moved >= MOVES_A_TURN:
                    break
        due_ns = self.deadlines.next_ns()
        self.next_due_ns = min(due_ns, deferred[0] >> DUE_SHIFT) if deferred else due_ns
        return moved

    def _time_out(self, delivery: Delivery) -> int:
        late = delivery.seqs()
        delivery.let_all_go()
        for seq in late:
            self._take_back(seq, delivery)
            self._make_ready(seq, delivery.attempts)
        self.timeout_count += len(late)
        return len(late)

    def overdue(self, now_ns: int) -> tuple[int, int]:
        """Messages in flight and deferred whose time has come but that no turn has moved yet."""
        if now_ns < self.next_due_ns:
            return 0, 0
        late = sum(each.remaining for each in self.deadlines.live() if each.deadline_ns <= now_ns)
        limit = now_ns + 1 << DUE_SHIFT
        return late, sum(unpack_exception(each)[2] for each in self.deferred if each < limit)

    # -- from the topic -------------------------------------------------------------------

    def route(self, start: int, stop: int, stepped: int, room: int) -> None:
        """See the topic's log grown from start to stop, `stepped` of which it will step over."""
        self.stepped_ahead += stepped
        if self.is_bounded and self.depth > room:
            self._drop_newest(start, stop, room)

    def _drop_newest(self, start: int, stop: int, room: int) -> None:
        """Step over what has no room. The newest go, as in nsqd."""
        over = self.depth - room
        fresh = [seq for seq in range(start, stop) if seq not in self.topic.stepped]
        dropped = fresh[max(0, len(fresh) - over) :]
        for seq in dropped:
            if self.skips and self.skips[-1][1] == seq:
                self.skips[-1] = (self.skips[-1][0], seq + 1)
            else:
                self.skips.append((seq, seq + 1))
        self.skipped_ahead += len(dropped)
        self.dropped_count += len(dropped)

    def empty(self) -> None:
        """Drop all its messages, in flight and deferred ones too."""
        for delivery in self.deadlines.live():
            if delivery.consumer is not None:
                delivery.consumer.in_flight_count -= delivery.remaining
            delivery.let_all_go()
        self.in_flight_count = 0
        self.deadlines.clear()
        self.ready.clear()
        self.deferred.clear()
        self.kept.clear()
        self.skips.clear()
        self.ready_count = self.deferred_count = self.recovered = 0
        self.stepped_ahead = self.skipped_ahead = 0
        self.excepted = SeqSet()
        self.changed = {}
        self.is_emptied = True
        self.cursor = self.topic.routed
        self.current = None
        self.next_due_ns = NEVER

    def pass_over(self, start: int, stop: int) -> None:
        """Give up a stretch that cannot be read, wherever its messages wait. In flight ones stay."""
        self.stepped_ahead = self.topic.stepped.count_range(self.cursor, self.topic.routed)
        for places in (self.ready, self.deferred):
            gone = [each for each in places if _overlaps(each, start, stop)]
            for each in gone:
                self._cut(each, start, stop, is_ready=places is self.ready)
        heapq.heapify(self.deferred)

    def _cut(self, packed: int, start: int, stop: int, *, is_ready: bool) -> None:
        """Take start..stop out of one ready or deferred stretch."""
        due_ns, seq, count, attempts = unpack_exception(packed)
        places: deque[int] | list[int] = self.ready if is_ready else self.deferred
        places.remove(packed)
        rest = [(seq, min(start, seq + count)), (max(stop, seq), seq + count)]
        self.changed[seq] = None
        kept = 0
        for first, last in rest:
            if first < last:
                places.append(pack_exception(due_ns, first, last - first, attempts))
                due_wall_ns = due_ns + self.wall_ahead_ns if due_ns else 0
                self.changed[first] = pack_exception(due_wall_ns, first, last - first, attempts)
                kept += last - first
        if is_ready:
            self.ready_count -= count - kept
            self.recovered = min(self.recovered, self.ready_count)
        else:
            self.deferred_count -= count - kept
        self.excepted.discard_range(max(start, seq), min(stop, seq + count))

    # -- state ----------------------------------------------------------------------------

    def snapshot(self) -> ChannelState:
        """What a settlement writes of it; afterwards nothing counts as changed."""
        changed, self.changed = self.changed, {}
        emptied, self.is_emptied = self.is_emptied, False
        return ChannelState(
            number=self.number,
            name=self.name,
            cursor=self.cursor,
            is_paused=self.is_paused,
            taken=[stretch for delivery in self.deadlines.live() for stretch in delivery.stretches()],
            excepted=self.excepted.copy(),
            changed=changed,
            is_emptied=emptied,
        )

    def restore(self, state: ChannelState, now_ns: int, wall_ns: int) -> None:
        """Become what was stored: in flight is ready at once, due times are monotonic again."""
        self.cursor = state.cursor
        self.is_paused = state.is_paused
        self.excepted = state.excepted
        self.changed = state.changed
        self.is_emptied = state.is_emptied
        shift = now_ns - wall_ns
        self.wall_ahead_ns = -shift
        for start, stop in state.in_flight.ranges():
            for first in range(start, stop, 0xFFFF):
                self._restore_ready(first, min(stop, first + 0xFFFF) - first)
        ready: list[int] = []
        for packed in state.exceptions:
            due = packed >> DUE_SHIFT
            if due > wall_ns:
                self.deferred.append(packed + (shift << DUE_SHIFT))
                self.deferred_count += unpack_exception(packed)[2]
            else:
                ready.append(packed & _WITHOUT_DUE)
        ready.sort()
        self.ready.extend(ready)
        self.ready_count += sum(unpack_exception(packed)[2] for packed in ready)
        self.recovered = self.ready_count
        heapq.heapify(self.deferred)
        self.next_due_ns = self.deferred[0] >> DUE_SHIFT if self.deferred else NEVER
        self.stepped_ahead = self.topic.stepped.count_range(self.cursor, self.topic.routed)

    def _restore_ready(self, first: int, count: int) -> None:
        packed = pack_exception(0, first, count, 1)
        self.ready.append(packed)
        self.ready_count += count
        self.excepted.add_range(first, first + count)
        self.changed[first] = packed

    def check(self) -> None:
        """Assert that every message is in one place and every counter is what it counts."""
        routed = self.topic.routed
        assert 0 <= self.cursor <= routed
        assert self.stepped_ahead == self.topic.stepped.count_range(self.cursor, routed) or self.skips
        assert self.fresh_count >= 0
        live = list(self.deadlines.live())
        held = [seq for delivery in live for seq in delivery.seqs()]
        places = [*self._seqs(self.ready), *self._seqs(self.deferred), *held]
        assert len(places) == len(set(places)), "a message is in two places"
        assert all(seq < self.cursor or seq in self.topic.stepped for seq in places)
        assert self.ready_count == sum(1 for _ in self._seqs(self.ready))
        assert self.deferred_count == sum(1 for _ in self._seqs(self.deferred))
        assert self.in_flight_count == len(held)
        assert self.recovered <= self.ready_count
        self.excepted.check()
        if not self.is_volatile:
            again = {seq for delivery in live if delivery.attempts > 1 for seq in delivery.seqs()}
            assert set(self.excepted) == {*self._seqs(self.ready), *self._seqs(self.deferred), *again}
        for delivery in live:
            delivery.check()
        for consumer in self.consumers:
            assert consumer.in_flight_count == sum(each.remaining for each in live if each.consumer is consumer)
            if consumer.held is not None:
                consumer.held.check()
        due = min((each.deadline_ns for each in self.deadlines.live()), default=NEVER)
        assert self.next_due_ns <= min(due, self.deferred[0] >> DUE_SHIFT if self.deferred else NEVER)

    @staticmethod
    def _seqs(stretches: Iterable[int]) -> Iterable[int]:
        for packed in stretches:
            _, seq, count, _ = unpack_exception(packed)
            yield from range(seq, seq + count)


def _overlaps(packed: int, start: int, stop: int) -> bool:
    _, seq, count, _ = unpack_exception(packed)
    return seq < stop and start < seq + count
