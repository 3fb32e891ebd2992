"""Turns: the one place where calls become changes.

A turn takes what waits, decides, journals, applies, answers. At "memory" and "commit" a
caller runs its own turn under the lock, since nothing in it waits for a disk. At "fsync"
the first caller leads one turn for all that wait, gives the lock away while the journal
is synced, and hands the lead on; such turns are strictly serial.

No foreign code runs under the lock: waking, logging and clocks come before or after.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from nsqlite.background import Background
from nsqlite.clock import Clock
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic
from nsqlite.errors import (
    ChannelDeletedError,
    ClosedError,
    ConsumerClosedError,
    DamagedRecordError,
    ForkedError,
    NodeClosedError,
    NodeFailedError,
    NsqliteError,
    ReentrantError,
    StorageFailedError,
    StoreFullError,
    TooManyConsumersError,
    TopicDeletedError,
)
from nsqlite.health import Health
from nsqlite.ops import ChangeChannel, Op, Publish, grouped
from nsqlite.options import Options
from nsqlite.run import FRAME_TYPE_MESSAGE, HEAD, SIZE_OVERHEAD
from nsqlite.state import NodeState
from nsqlite.storage import layout
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.storage.interface import Damage
from nsqlite.waiting import GiveWay, ThreadWaiter

MEMORY_SETTLE_BYTES: Final = 1 << 20
PROGRESS_BYTES: Final = 24
YIELD_BYTES: Final = 64 * 1024
_PACK_HEAD: Final = HEAD.pack
_PACK_PUBLISH: Final = layout.PUBLISH_HEAD.pack
_GIVE_WAY: Final = GiveWay()


class State(enum.Enum):
    """A node's life."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"
    FORKED = "forked"


class Engine:
    """The lock, the turns, and what they change.

    Attributes:
        broker: The state; touched under the lock only.
        storage: Where promises are kept.
        is_synced: Whether a promise waits for stable storage.
        is_settling: Whether a settlement is being written; publishers then make way for it.
        is_refusing: Whether the store failed for good, so that nothing can be promised.
        is_progress_ahead: Whether memory has progress that the journal had no room for.
        turn_lsn: Of the record whose turn is being synced; 0 if none is.
    """

    def __init__(self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool) -> None:
        self.storage = storage
        self.options = options
        self.clock = clock
        self.is_synced = is_synced
        self.health = Health()
        self.lock = threading.RLock()
        self.state = State.OPEN
        self.failure = ""
        self._is_busy = False
        self._wall_ns = clock.wall_ns
        self._monotonic_ns = clock.monotonic_ns
        self._timeout_ns = options.msg_timeout_ns
        self._max_timeout_ns = options.max_msg_timeout_ns

        self._ops: deque[Op] = deque()
        self._leader: int | None = None
        self._idle_waiters: list[ThreadWaiter] = []
        self.turn_lsn = 0
        self._loads: dict[tuple[int, int], list[Any]] = {}

        self.unsettled_bytes = 0
        self._yielded_bytes = 0
        self.is_settling = False
        self.is_refusing = False
        self.is_progress_ahead = False
        self.start_time_ns = clock.wall_ns()

        self.is_durable = storage.is_durable
        self.broker = Broker(options, storage.node_id, is_durable=self.is_durable, keeps_cache=self.is_durable)
        self._settle_limit = options.settle_bytes if self.is_durable else MEMORY_SETTLE_BYTES
        recovered = storage.recover()
        self.broker.restore(recovered, clock.monotonic_ns(), clock.wall_ns())
        self.background: Background | None = None
        if isinstance(storage, DurableStorage):
            self._begin_epoch(storage, recovered.settled)

    def _begin_epoch(self, storage: DurableStorage, settled: int) -> None:
        try:
            state = self.broker.snapshot()
            state.settled = settled
            storage.restart(state)
        except BaseException:
            storage.close()
            raise
        self.broker.settled(state)
        self.background = Background(self)

    # -- entering and leaving -------------------------------------------------------------

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
        _refuse_deleted(channel)

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

    # -- publishing -----------------------------------------------------------------------

    def publish_one(self, topic: Topic, body: bytes) -> bytes:
        """Publish one body without delay; return its id.

        Hot: one turn under the lock (benchmarks/publish_one.py).
        """
        while True:
            try:
                text = self._publish_alone(topic, body) if self.is_synced else self.publish_one_now(topic, body)
                break
            except (StoreFullError, StorageFailedError) as error:
                self._after_failure(error)
        return self.run(Publish(topic, [body], 0))[0] if text is None else text

    def publish_one_now(self, topic: Topic, body: bytes) -> bytes:
        """As `publish_one`, below "fsync" and without waiting for room.

        Raises:
            StoreFullError, StorageFailedError: It did not happen, and can be tried by `run`.
        """
        if topic.is_ephemeral:
            return self.run_now(Publish(topic, [body], 0))[0]  # type: ignore[no-any-return]
        wall_ns = self._wall_ns()
        broker = self.broker
        with self.lock:
            if self._is_busy or self.state is not State.OPEN or topic.is_deleted:
                self._refuse(topic)
            self._is_busy = True
            try:
                message_id = broker.next_id
                text = b"%016x" % message_id
                frame = _PACK_HEAD(len(body) + SIZE_OVERHEAD, FRAME_TYPE_MESSAGE, wall_ns, 1) + text + body
                size = len(frame)
                if self.is_durable:
                    kind = layout.ROUTED if topic.is_flowing else layout.PUBLISHED
                    self._append([_PACK_PUBLISH(kind, topic.number, topic.end, message_id, 1, 0, size), frame])
                broker.next_id = message_id + 1
                topic.append_frame(frame, message_id)
                self.unsettled_bytes += size
                if topic.hungry:
                    broker.attend_all(topic)
                if self.unsettled_bytes >= self._settle_limit:
                    self._ask_settlement()
            except BaseException as error:
                self._break(error)
                raise
            finally:
                self._is_busy = False
        if broker.wakes:
            self.wake()
        return text

    def _publish_alone(self, topic: Topic, body: bytes) -> bytes | None:
        """A synced turn of one message, when nobody else leads or waits; None if somebody does.

        Hot: what runs between two syncs runs on cold caches, so little of it runs
        (benchmarks/fsync_one.py).
        """
        wall_ns = self._wall_ns()
        broker = self.broker
        is_leading = False
        try:
            with self.lock:
                if self._is_busy or self.state is not State.OPEN or topic.is_deleted:
                    self._refuse(topic)
                if self._leader is not None or topic.is_ephemeral:
                    return None
                self._leader, is_leading = threading.get_ident(), True
                self._is_busy = True
                message_id = broker.next_id
                text = b"%016x" % message_id
                frame = _PACK_HEAD(len(body) + SIZE_OVERHEAD, FRAME_TYPE_MESSAGE, wall_ns, 1) + text + body
                kind = layout.ROUTED if topic.is_flowing else layout.PUBLISHED
                head = _PACK_PUBLISH(kind, topic.number, topic.end, message_id, 1, 0, len(frame))
                broker.next_id = message_id + 1
                self.turn_lsn = self._append([head, frame], waits_for_sync=True)
                self._is_busy = False
            self.storage.sync()
            with self.lock:
                self._is_busy = True
                topic.append_frame(frame, message_id)
                self._end_alone(topic, len(frame))
                is_leading = self._is_busy = False
        except BaseException as error:
            if is_leading:
                self._give_up_turn(error)
            raise
        if broker.wakes:
            self.wake()
        return text

    def _end_alone(self, topic: Topic, size: int) -> None:
        self.unsettled_bytes += size
        if topic.hungry:
            self.broker.attend_all(topic)
        self.turn_lsn = 0
        if self.unsettled_bytes >= self._settle_limit:
            self._ask_settlement()
        self._leader = None
        if self._ops or self._idle_waiters:
            self._end_lead()

    def _give_up_turn(self, error: BaseException) -> None:
        """Take back a turn of one that failed; the journal is replaced before anybody leads again."""
        with self.lock:
            self.turn_lsn = 0
            self._is_busy = False
            self._break(error)
            if isinstance(error, StorageFailedError) and error.is_tried and self.background is not None:
                self.background.ask_rescue(error)
            self._end_lead()
        self.wake()

    # -- turns that promise ---------------------------------------------------------------

    def run(self, op: Op) -> Any:
        """Have one promise kept, from a thread; return its result."""
        if not self.is_synced:
            return self._run_here(op)
        self._enqueue(op, ThreadWaiter())
        try:
            while not op.is_answered:
                if op.leads:
                    op.leads = False
                    self.lead()
                elif op.waiter is not None:
                    op.waiter.wait(self.clock)
                    op.waiter = ThreadWaiter() if not op.is_answered else None
        except BaseException:
            self._abandon(op)
            raise
        return op.outcome()

    def _run_here(self, op: Op) -> Any:
        while True:
            try:
                with self.lock:
                    self._turn([op])
                break
            except (StoreFullError, StorageFailedError) as error:
                self._after_failure(error)
        self.wake()
        return op.outcome()

    def run_now(self, op: Op) -> Any:
        """Journal and apply one op at once, waiting neither for a sync nor for room.

        Raises:
            StoreFullError, StorageFailedError: It did not happen, and can be tried by `run`.
        """
        with self.lock:
            turn_lsn = self.turn_lsn
            try:
                turn = self._decide_turn([op])
            finally:
                self.turn_lsn = turn_lsn
            self._apply_turn(turn, turn_lsn)
        self.wake()
        return op.outcome()

    def submit(self, ops: Sequence[Op]) -> None:
        """Have promises kept for asyncio callers: each `on_done` is called, from any thread."""
        for op in ops:
            self._enqueue(op, None)

    def _enqueue(self, op: Op, waiter: ThreadWaiter | None) -> None:
        with self.lock:
            if self._is_busy or self.state is not State.OPEN or self._leader == threading.get_ident():
                self._refuse()
                raise ReentrantError
            op.waiter = waiter
            self._ops.append(op)
            if self._leader is None:
                self._hand_lead()

    def _hand_lead(self) -> None:
        """Give the lead to whoever waits first. Under the lock."""
        self._leader = None
        if not self._ops:
            return
        first = self._ops[0]
        self._leader = -1
        if first.waiter is not None:
            first.leads = True
            first.waiter.wake()
        elif self.background is not None:
            self.background.ask_to_lead()

    def _end_lead(self) -> None:
        """Hand the lead on, and let who waits for the turn's end know. Under the lock."""
        self._hand_lead()
        self.broker.wakes.extend(self._idle_waiters)
        self._idle_waiters.clear()

    def _abandon(self, op: Op) -> None:
        """Take back an op whose caller was interrupted; if a turn has it already, it may happen."""
        with self.lock:
            if op in self._ops:
                self._ops.remove(op)
            if op.leads:
                self._hand_lead()

    def lead(self) -> None:
        """Run one turn for all that wait, then hand the lead on."""
        ops: list[Op] = []
        try:
            with self.lock:
                self._leader = threading.get_ident()
                ops = self._take_ops()
            self._lead_turn(ops)
        except BaseException as error:
            with self.lock:
                if not isinstance(error, NsqliteError):
                    self._break(error)
                for op in ops:
                    if not op.is_answered:
                        op.error = op.error or (error if isinstance(error, Exception) else NodeFailedError(repr(error)))
            if not isinstance(error, Exception):
                raise
        finally:
            with self.lock:
                if self.state is not State.OPEN:
                    for op in self._ops:
                        op.error = NodeFailedError(self.failure) if self.state is State.FAILED else NodeClosedError()
                    ops += self._ops
                    self._ops.clear()
                self._end_lead()
            for op in ops:
                if not op.is_answered:
                    op.answer()
            self.wake()

    def _take_ops(self) -> list[Op]:
        """The publishes that wait first, or one other op. Under the lock."""
        ops: list[Op] = []
        while self._ops and (isinstance(self._ops[0], Publish) or not ops):
            op = self._ops.popleft()
            ops.append(op)
            if not isinstance(op, Publish):
                break
        return ops

    def _lead_turn(self, ops: list[Op]) -> None:
        while True:
            try:
                with self.lock:
                    turn = self._decide_turn(ops, waits_for_sync=True)
                if self.turn_lsn:
                    self.storage.sync()
                with self.lock:
                    self._apply_turn(turn)
                return
            except (StoreFullError, StorageFailedError) as error:
                self.turn_lsn = 0
                self._after_failure(error)

    def _turn(self, ops: list[Op]) -> None:
        """Decide, journal and apply at once. Under the lock."""
        self._apply_turn(self._decide_turn(ops))

    def _decide_turn(self, ops: list[Op], *, waits_for_sync: bool = False) -> list[Op]:
        """Decide and journal; return what is to be applied. What cannot be promised gets its error."""
        if self._is_busy or self.state is not State.OPEN:
            self._refuse()
        wall_ns, now_ns = self._wall_ns(), self._monotonic_ns()
        publishes = [op for op in ops if isinstance(op, Publish)]
        turn: list[Op] = []
        entries: list[bytes] = []
        self._is_busy = True
        try:
            self.broker.reserved = {}
            for op in grouped(publishes) if publishes else ops:
                try:
                    entries += op.decide(self.broker, wall_ns, now_ns)
                except NsqliteError as error:
                    for each in getattr(op, "ops", [op]):
                        each.error = error
                else:
                    turn.append(op)
            if entries and self.is_durable:
                lsn = self._append(entries, waits_for_sync=waits_for_sync)
                self.turn_lsn = lsn if waits_for_sync else 0
            self.unsettled_bytes += sum(map(len, entries))
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._is_busy = False
        return turn

    def _apply_turn(self, turn: list[Op], turn_lsn: int = 0) -> None:
        self._is_busy = True
        try:
            for op in turn:
                op.apply(self.broker)
            self.turn_lsn = turn_lsn
            if self.unsettled_bytes >= self._settle_limit:
                self._ask_settlement()
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._is_busy = False

    # -- the journal ----------------------------------------------------------------------

    def _append(self, pieces: list[bytes], *, waits_for_sync: bool = False) -> int:
        """Journal a promise, with the progress that waits ahead of it. Under the lock."""
        if self.is_refusing or (self.background is not None and self.background.is_rescuing):
            error = StorageFailedError("the journal failed before", outcome_unknown=self.is_refusing)
            error.is_tried = False
            raise error
        progress = self.broker.progress
        if progress:
            pieces = [layout.pack_progress(progress), *pieces]
        lsn = self.storage.append(pieces, waits_for_sync=waits_for_sync)
        if progress:
            progress.clear()
        self._journaled(pieces)
        return lsn

    def _journaled(self, pieces: list[bytes]) -> None:
        background = self.background
        if background is None:
            return
        if not background.is_awake:
            background.rouse()
        if self.is_settling:
            self._yielded_bytes += sum(map(len, pieces))
            if self._yielded_bytes >= YIELD_BYTES:
                self._yielded_bytes = 0
                self.broker.wakes.append(_GIVE_WAY)

    def flush_progress(self) -> None:
        """Journal the progress that waits; without room it waits for the next settlement. Under the lock."""
        progress = self.broker.progress
        if not progress:
            return
        payload = layout.pack_progress(progress)
        progress.clear()
        self.unsettled_bytes += len(payload)
        if self.is_refusing or (self.background is not None and self.background.is_rescuing):
            self.is_progress_ahead = True
            return
        try:
            self.storage.append([payload], is_promise=False)
        except StoreFullError:
            self.is_progress_ahead = True  # memory has it, and the next settlement writes what memory has
        except StorageFailedError as error:
            if self.background is not None:
                self.background.ask_rescue(error)
        else:
            self._journaled([payload])

    def _ask_settlement(self) -> None:
        if self.background is not None:
            self.background.ask_settlement()
            return
        state = self.snapshot()
        self.storage.settle(state)
        self.broker.settled(state)

    def snapshot(self, *, is_whole: bool = False) -> NodeState:
        """What a settlement writes. Under the lock, for milliseconds.

        Args:
            is_whole: Whether the journal's last record counts as settled even though its
                turn was not applied, because it never will be.
        """
        state = self.broker.snapshot()
        self.unsettled_bytes = 0
        if isinstance(self.storage, DurableStorage):
            is_ahead = self.turn_lsn and not is_whole
            state.settled = self.turn_lsn - 1 if is_ahead else self.storage.journal.lsn
        return state

    def settled(self, state: NodeState) -> None:
        """Let what was settled leave memory. Under the lock."""
        self.broker.settled(state)
        self.is_progress_ahead = False
        self.health.succeeded()

    def _after_failure(self, error: StoreFullError | StorageFailedError) -> None:
        """Wait for room, or for the journal to be replaced; raise when that does not come. Lock free."""
        if self.background is None:
            raise error
        if isinstance(error, StoreFullError):
            self.background.wait_for_room(error)
        else:
            self.background.wait_for_rescue(error)

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

        Hot: benchmarks/receive_and_finish.py.
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

    def _take(self, channel: Channel, limit: int, consumer: Consumer | None, now_ns: int) -> list[Delivery]:
        broker = self.broker
        if now_ns >= channel.next_due_ns:
            broker.tick(channel, now_ns)
        timeout_ns = self._timeout_ns
        if consumer is not None:
            limit = min(limit, consumer.rdy_count - consumer.in_flight_count)
            timeout_ns = consumer.msg_timeout_ns
        deliveries = channel.take(limit, now_ns, timeout_ns, self._max_timeout_ns, consumer)
        if not deliveries and channel.missing >= 0 and not self.storage.loads_block:
            self._take_up(channel.topic, channel.missing, self.storage.read(channel.topic.number, channel.missing))
            deliveries = channel.take(limit, now_ns, timeout_ns, self._max_timeout_ns, consumer)
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
                self.load(channel.topic, channel.missing)
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
        """Let a waiter queue on a channel; return until when to sleep, 0 for not at all, -1 if
        the deadline has come."""
        now_ns = self._monotonic_ns()

        def begin(broker: Broker) -> int:
            _refuse_deleted(channel)
            if consumer is not None and consumer.is_closed:
                raise ConsumerClosedError
            broker.tick(channel, now_ns)
            has_room = consumer is None or consumer.room > 0
            if channel.depth and not channel.is_paused and has_room:
                return 0
            if now_ns >= deadline_ns:
                return -1
            until_ns = min(deadline_ns, channel.next_due_ns)
            broker.wait(channel, waiter, until_ns)
            if consumer is not None:
                consumer.waiter = waiter
            return until_ns

        return int(self.locked(begin))

    def end_wait(self, channel: Channel, waiter: Any) -> None:
        """Take a waiter off a channel's queue, passing on a wake-up it cannot use."""
        with self.lock:
            if not self._is_busy:
                self.broker.stop_waiting(channel, waiter)
        self.wake()

    def load(self, topic: Topic, seq: int) -> None:
        """Read the run around a seq back from storage, once for all who want it. Lock free.

        Raises:
            DamagedRecordError: Once for each stretch that cannot be read.
        """
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
            found = self.storage.read(topic.number, seq)
            self.locked(lambda _: self._take_up(topic, seq, found))
        finally:
            with self.lock:
                waiting = self._loads.pop(key)
            for each in waiting:
                each.wake()

    def _take_up(self, topic: Topic, seq: int, found: Any) -> None:
        if not isinstance(found, Damage):
            self.broker.loaded(topic, found)
            return
        run = topic.log.find(seq)
        if run is not None or topic.is_deleted:
            return  # it came back into memory, or went, meanwhile
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
        with self.lock:
            if self._is_busy or self.state is not State.OPEN:
                self._refuse()
            self._is_busy = True
            try:
                if now_ns >= channel.next_due_ns:
                    self.broker.tick(channel, now_ns)
                is_finished = channel.finish(seq, delivery)
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
            _refuse_deleted(channel)
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
            if consumer.waiter is not None:
                broker.wakes.append(consumer.waiter)
            channel.consumers.remove(consumer)
            return channel.is_bounded and not channel.consumers and not channel.is_deleted

        is_last = bool(self.locked(remove, even_closed=True))
        self.wake()
        return is_last

    def finish_many(self, channel: Channel, held: Sequence[tuple[Delivery, Sequence[int]]]) -> list[int]:
        """Finish messages by delivery; return the seqs that were not in flight."""
        now_ns = self._monotonic_ns()

        def finish(broker: Broker) -> list[int]:
            broker.tick(channel, now_ns)
            missed: list[int] = []
            for delivery, seqs in held:
                if len(seqs) == delivery.count and channel.finish_whole(delivery):
                    continue
                missed += [seq for seq in seqs if not channel.finish(seq, delivery)]
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

    # -- the whole ------------------------------------------------------------------------

    def sync(self) -> None:
        """Return when all that was answered before is on stable storage, finishes too.

        Raises:
            StorageFailedError: It is not; see `outcome_unknown`.
        """
        if self.background is None:
            self.locked(lambda _: None)
            return
        self.background.sync()

    def close(self, *, is_quick: bool = False) -> None:
        """End: let the turn in progress finish, refuse others, settle, let go. Twice is fine.

        Args:
            is_quick: At exit: journal the progress and let go, without a settlement.

        Raises:
            StoreError: It could not be settled; the journal keeps it, and the lock is gone.
        """
        with self.lock:
            if self._is_busy and self.state is not State.FAILED:
                self._refuse()
            if self.state in (State.CLOSING, State.CLOSED):
                return
            was, self.state = self.state, State.CLOSING if self.state is State.OPEN else self.state
            self._wake_all()
            turn_ends = ThreadWaiter()
            if self.turn_lsn:
                self._idle_waiters.append(turn_ends)
            else:
                turn_ends.wake()
        self.wake()
        turn_ends.wait(self.clock)
        if was is State.FORKED:
            return
        try:
            if self.background is not None:
                self.background.close(is_failed=was is State.FAILED, is_quick=is_quick)
            else:
                self.storage.close()
        finally:
            with self.lock:
                self.state = State.CLOSED if was is State.OPEN else was
                rest, self._ops = list(self._ops), deque()
            for op in rest:
                op.error = NodeClosedError()
                op.answer()

    def forked(self) -> None:
        """In a child: refuse everything from now on, close descriptors, touch nothing else."""
        self.state = State.FORKED
        self.lock = threading.RLock()
        self._is_busy = False
        if isinstance(self.storage, DurableStorage):
            self.storage.forget()

    def check(self) -> None:
        """Assert every invariant."""

        def check(broker: Broker) -> None:
            broker.check()
            if isinstance(self.storage, DurableStorage):
                self.storage.journal.check()

        self.locked(check)

    def until_ns(self, timeout_ns: int | None) -> int:
        """A deadline as monotonic time."""
        return NEVER if timeout_ns is None else self._monotonic_ns() + timeout_ns


def _refuse_deleted(channel: Channel | None) -> None:
    if channel is not None and channel.is_deleted:
        raise ChannelDeletedError(channel.topic.name, channel.name)
