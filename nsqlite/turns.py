"""Turns: the one place where calls become changes.

A turn takes what waits, decides, journals, applies, answers. At "memory" and "commit" a
caller runs its own turn under the lock, since nothing in it waits for a disk. At "fsync"
the first caller leads one turn for all that wait, gives the lock away while the journal
is synced, and hands the lead on; such turns are strictly serial.

No foreign code runs under the lock: waking, logging and clocks come before or after.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from nsqlite.clock import Clock
from nsqlite.core.topic import Topic
from nsqlite.errors import (
    NodeClosedError,
    NodeFailedError,
    NsqliteError,
    ReentrantError,
    StorageFailedError,
    StoreFullError,
)
from nsqlite.gate import State
from nsqlite.histogram import SETTLEMENT_BOUNDS_NS, SYNC_BOUNDS_NS, Histogram
from nsqlite.journaling import Journaling
from nsqlite.ops import Op, Publish, grouped
from nsqlite.options import Options
from nsqlite.run import FRAME_TYPE_MESSAGE, HEAD, SIZE_OVERHEAD
from nsqlite.storage import layout
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.waiting import ThreadWaiter

_PACK_HEAD: Final = HEAD.pack
_PACK_PUBLISH: Final = layout.PUBLISH_HEAD.pack

_HANDED: Final = -1  # instead of a thread: the lead was given to one who has not begun


class Turns(Journaling):
    """Promises, one turn after another.

    Attributes:
        sync_times: What syncs of the journal took that went well; touched under the lock.
        settlement_times: The same of settlements of a durable node.
    """

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        super().__init__(storage, options, clock, is_synced=is_synced)
        self._ops: deque[Op] = deque()
        self._leader: int | None = None
        self._callers: dict[int, Op] = {}  # by thread: a signal handler would wait for what it interrupted
        self._idle_waiters: list[ThreadWaiter] = []
        self.sync_times = Histogram(SYNC_BOUNDS_NS)
        self.settlement_times = Histogram(SETTLEMENT_BOUNDS_NS)

    # -- publishing -----------------------------------------------------------------------

    def publish_one(self, topic: Topic, body: bytes) -> bytes:
        """Publish one body without delay; return its id.

        Hot: one turn under the lock (benchmarks/commit_one.py).
        """
        text: bytes | None
        while True:
            try:
                text = self._publish_alone(topic, body) if self.is_synced else self.publish_one_now(topic, body)
            except (StoreFullError, StorageFailedError) as error:
                self._after_failure(error)
                continue
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
                elif self.options.max_store_bytes is not None:
                    self._refuse_beyond_limit(size)
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
            begun_ns = self._monotonic_ns()
            self.storage.sync()
            ended_ns = self._monotonic_ns()
            with self.lock:
                self._is_busy = True
                self.sync_times.add(ended_ns - begun_ns)
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
        try:
            self._enqueue(op, ThreadWaiter())
            while not op.is_answered:
                if op.leads:
                    self.lead(op)
                elif op.waiter is not None:
                    op.waiter.wait(self.clock)
                    op.waiter = ThreadWaiter() if not op.is_answered else None
        except BaseException:
            self._abandon(op)
            raise
        finally:
            if self._callers.get(threading.get_ident()) is op:
                del self._callers[threading.get_ident()]
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
        self.carry_out(op)
        return op.outcome()

    def carry_out(self, op: Op) -> None:
        """As `run_now`, for who looks at the op instead of its outcome.

        Raises:
            StoreFullError, StorageFailedError: It did not happen, and can be tried by `run`.
        """
        with self.lock:
            self._turn([op])
        self.wake()

    def submit(self, ops: Sequence[Op]) -> None:
        """Have promises kept for asyncio callers: each `on_done` is called, from any thread.

        Raises:
            NsqliteError: None of them is in line.
        """
        with self.lock:
            for op in ops:
                self._enqueue(op, None)

    def _enqueue(self, op: Op, waiter: ThreadWaiter | None) -> None:
        with self.lock:
            caller = threading.get_ident()
            is_within = self._leader == caller or (waiter is not None and caller in self._callers)
            if self._is_busy or self.state is not State.OPEN or is_within:
                self._refuse()
                raise ReentrantError
            op.waiter = waiter
            if waiter is not None:
                self._callers[caller] = op
            self._ops.append(op)
            if self._leader is None:
                self._hand_lead()

    def _hand_lead(self) -> None:
        """Give the lead to whoever waits first. Under the lock."""
        self._leader = None
        if not self._ops:
            return
        first = self._ops[0]
        self._leader = _HANDED
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
            is_lost = self._leader == _HANDED and (not self._ops or self._ops[0].waiter is not None)
            if op.leads or is_lost:  # interrupted while it handed the lead on: once more does no harm
                self._hand_lead()

    def lead(self, leader: Op | None = None) -> None:
        """Run one turn for all that wait, then hand the lead on.

        An interrupt may come between any two calls: whoever is taken off the line is in
        `ops` by then, and the lead is the leader's until it is sure to be handed on.
        """
        ops: list[Op] = []
        try:
            with self.lock:
                if leader is not None:
                    leader.leads = False
                self._leader = threading.get_ident()
                self._take_ops(ops)
            self._lead_turn(ops)
        except BaseException as error:
            with self.lock:
                if not isinstance(error, NsqliteError):
                    self._break(error)
                for op in ops:
                    if not op.is_answered:
                        op.error = op.error or _broken_off(error)
            if not isinstance(error, Exception):
                raise
        finally:
            answer_all(ops)  # before the lead goes on, so that the next turn finds them in line again
            with self.lock:
                refused = self._refuse_rest() if self.state is not State.OPEN else []
                self._end_lead()
            answer_all(refused)
            self.wake()

    def _refuse_rest(self) -> list[Op]:
        """Take all ops off the line, to be told that the node takes no more. Under the lock."""
        refused = list(self._ops)
        self._ops.clear()
        for op in refused:
            op.error = NodeFailedError(self.failure) if self.state is State.FAILED else NodeClosedError()
        return refused

    def _take_ops(self, ops: list[Op]) -> None:
        """Move the publishes that wait first, or one other op, to `ops`. Under the lock."""
        while self._ops and (isinstance(self._ops[0], Publish) or not ops):
            op = self._ops[0]
            ops.append(op)
            self._ops.popleft()
            if not isinstance(op, Publish):
                break

    def _lead_turn(self, ops: list[Op]) -> None:
        while True:
            try:
                with self.lock:
                    turn = self._decide_turn(ops, waits_for_sync=True)
                if self.turn_lsn:
                    self.sync_storage()
                with self.lock:
                    self._apply_turn(turn)
                return
            except (StoreFullError, StorageFailedError) as error:
                self.turn_lsn = 0
                self._after_failure(error)

    def sync_storage(self) -> None:
        """Sync the journal, and note what that took. Lock free.

        Raises:
            StorageFailedError: As Storage.sync.
        """
        begun_ns = self._monotonic_ns()
        self.storage.sync()
        ended_ns = self._monotonic_ns()
        with self.lock:
            self.sync_times.add(ended_ns - begun_ns)

    def _turn(self, ops: list[Op]) -> None:
        """Decide, journal and apply at once, beside a turn that is being synced. Under the lock.

        The node is busy from the first to the last: a signal handler between them would
        find what was decided, and not yet there.
        """
        self.refuse_unless_open()
        turn_lsn = self.turn_lsn
        self._is_busy = True
        try:
            turn = self._decided(ops, waits_for_sync=False)
            self._applied(turn, turn_lsn)
        except BaseException as error:
            self.turn_lsn = turn_lsn
            self._break(error)
            raise
        finally:
            self._is_busy = False

    def _decide_turn(self, ops: list[Op], *, waits_for_sync: bool = False) -> list[Op]:
        """Decide and journal; return what is to be applied. What cannot be promised gets its error."""
        self.refuse_unless_open()
        self._is_busy = True
        try:
            return self._decided(ops, waits_for_sync=waits_for_sync)
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._is_busy = False

    def _decided(self, ops: list[Op], *, waits_for_sync: bool) -> list[Op]:
        wall_ns, now_ns = self._wall_ns(), self._monotonic_ns()
        publishes = [op for op in ops if isinstance(op, Publish)]
        turn: list[Op] = []
        entries: list[bytes] = []
        self.broker.reserved = {}
        for op in grouped(publishes) if publishes else ops:
            try:
                entries += op.decide(self.broker, wall_ns, now_ns)
            except NsqliteError as error:
                for each in getattr(op, "ops", [op]):
                    each.error = error
            else:
                turn.append(op)
        needs_room = any(op.needs_room for op in turn)
        if entries and self.is_durable:
            lsn = self._append(entries, waits_for_sync=waits_for_sync, needs_room=needs_room)
            self.turn_lsn = lsn if waits_for_sync else 0
            if self.is_settling and any(isinstance(op, Publish) and op.delay_ns for op in turn):
                self._give_way()  # each costs the settling thread a row of its own
        elif needs_room and self.options.max_store_bytes is not None:
            self._refuse_beyond_limit(sum(map(len, entries)))
        self.unsettled_bytes += sum(map(len, entries))
        return turn

    def _apply_turn(self, turn: list[Op], turn_lsn: int = 0) -> None:
        self._is_busy = True
        try:
            self._applied(turn, turn_lsn)
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._is_busy = False

    def _applied(self, turn: list[Op], turn_lsn: int) -> None:
        for op in turn:
            op.apply(self.broker)
        self.turn_lsn = turn_lsn
        if self.unsettled_bytes >= self._settle_limit:
            self._ask_settlement()


def _broken_off(error: BaseException) -> NsqliteError:
    """What they are told who were in a turn that ended in an error: the journal may have it."""
    if isinstance(error, NsqliteError):
        return error
    told = NodeFailedError(repr(error), outcome_unknown=True)
    told.__cause__ = error
    return told


def answer_all(ops: Sequence[Op]) -> None:
    """Let go on who was not answered yet."""
    for op in ops:
        if not op.is_answered:
            op.answer()
