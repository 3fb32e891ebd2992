"""A client's subscription: messages from its channel to its socket, and its answers back.

The client pulls: woken when something is ready, it takes up to its RDY, as long as its
socket takes what is written. That is all the backpressure there is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from nsqlite.clock import Handle
from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.held import Held
from nsqlite.core.timers import NEVER
from nsqlite.errors import ClosedError, DamagedRecordError, NodeFailedError, NsqliteError
from nsqlite.net.protocol.commands import Fin, Req, Touch
from nsqlite.net.protocol.errors import FinFailedError, ProtocolError, ReqFailedError, TouchFailedError
from nsqlite.net.protocol.negotiation import MILLISECOND_NS
from nsqlite.ops import ChangeChannel
from nsqlite.run import with_attempts
from nsqlite.stats import ClientStats
from nsqlite.storage import layout

if TYPE_CHECKING:
    from nsqlite.door import Door
    from nsqlite.net.peer import Peer

BUDGET_BYTES: Final = 256 * 1024  # what one client takes before the others have their turn
LARGE_RDY: Final = 1000  # a quarter of it is more than a client works off in a millisecond
log: Final = logging.getLogger("nsqlite")


class WireConsumer(Consumer):
    """A client as its channel sees it."""

    __slots__ = ("_describe",)

    def __init__(self, describe: Callable[[], ClientStats], msg_timeout_ns: int, watcher: Waker) -> None:
        super().__init__("", 0, msg_timeout_ns)
        self._describe = describe
        self.held = Held()
        self.watcher = watcher

    def stats(self) -> ClientStats:
        """All that is known of the client."""
        return self._describe()


class Waker:
    """Has a subscription look for messages, from whatever thread; many calls in one round are one look."""

    __slots__ = ("_is_called", "_look", "_loop", "_pass_on", "_thread")

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], None], pass_on: Callable[[], None]) -> None:
        self._loop = loop
        self._look = look
        self._pass_on = pass_on
        self._thread = threading.get_ident()
        self._is_called = False

    def wake(self) -> None:
        """Look soon."""
        if self._is_called:
            return
        self._is_called = True
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(self._run)
            else:
                self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # the loop was closed before its listener: nobody looks here any more, but others may
            self._is_called = False
            self._pass_on()

    def _run(self) -> None:
        self._is_called = False
        self._look()


class Subscription:
    """One client on one channel.

    Attributes:
        consumer: Its ceiling, counters and messages.
    """

    def __init__(self, peer: Peer, door: Door, channel: Channel, describe: Callable[[], ClientStats]) -> None:
        """Take part in a channel.

        Raises:
            TooManyConsumersError, ClosedError: It does not.
        """
        agreement = peer.agreement
        self._peer = peer
        self._door = door
        self._engine = door.engine
        self._waker = Waker(door.loop, self._woken, self.stop_waiting)
        self._sample_rate = agreement.sample_rate
        self._is_loading = False
        self._is_closed = False
        self._alarm: Handle | None = None
        self._alarm_ns = NEVER
        self.channel = channel
        self.consumer = WireConsumer(describe, agreement.msg_timeout_ns, self._waker)
        self._engine.add_consumer(channel, self.consumer)

    @property
    def is_full(self) -> bool:
        """Whether the client holds so many messages that its answers may wait for each other for a moment."""
        consumer = self.consumer
        return consumer.rdy_count >= LARGE_RDY and 4 * consumer.in_flight_count > 3 * consumer.rdy_count

    # -- messages out ---------------------------------------------------------------------

    def pump(self) -> None:
        """Send what is ready, as far as RDY and socket go; wait for more. Hot."""
        if self._is_closed or self._is_loading or self._peer.is_choked:
            return
        try:
            deliveries, until_ns, missing = self._engine.pull(self.channel, self.consumer, self._waker, BUDGET_BYTES)
            if deliveries:
                self._send(deliveries)
        except NsqliteError as error:
            self._refused(error)
            return
        if missing >= 0:
            self._load(missing)
        elif until_ns == 0:
            self._waker.wake()  # there is more, and the others have their turn first
        elif until_ns < self._alarm_ns and (self.consumer.room or self.consumer.in_flight_count):
            self._set_alarm(until_ns)

    def _refused(self, error: NsqliteError) -> None:
        if isinstance(error, (ClosedError, NodeFailedError)):
            self._peer.close()  # as nsqd: a deleted channel's clients are let go without a frame
        elif isinstance(error, DamagedRecordError):
            log.error("%s", error, extra={"event": "damaged_record", "topic": error.topic})
            self._waker.wake()
        else:
            self._peer.failed(error)

    def _woken(self) -> None:
        if self._is_closed or self._is_loading or self._peer.is_choked:
            self.stop_waiting()  # the wake-up goes to who can use it
        else:
            self.pump()

    def stop_waiting(self) -> None:
        """Be passed by until the next `pump`."""
        self._engine.end_wait(self.channel, self._waker)

    def _send(self, deliveries: Sequence[Delivery]) -> None:
        if self._sample_rate:
            self._engine.sample(self.channel, deliveries, self._is_sampled)
        pieces: list[bytes] = []
        for delivery in deliveries:
            run = delivery.run
            start = delivery.first_seq - run.first_seq
            if delivery.remaining != delivery.count or delivery.attempts > 1:
                pieces += self._one_by_one(delivery)
            else:
                pieces.append(run.span(start, start + delivery.count))
        is_ready = self.consumer.room > 0 and not self.channel.is_paused
        self._peer.send_messages(pieces, may_wait=is_ready)

    def _one_by_one(self, delivery: Delivery) -> list[bytes]:
        run = delivery.run
        return [
            with_attempts(run.frame(seq - run.first_seq), delivery.attempts)
            for seq in range(delivery.first_seq, delivery.first_seq + delivery.count)
            if delivery.holds(seq)
        ]

    def _is_sampled(self) -> bool:
        return random.randrange(100) < self._sample_rate  # noqa: S311  # a sample, not a secret

    def _load(self, seq: int) -> None:
        self._is_loading = True
        self.stop_waiting()
        self._door.load(self.channel, seq).add_done_callback(self._loaded)

    def _loaded(self, done: asyncio.Future[None]) -> None:
        self._is_loading = False
        error = None if done.cancelled() else done.exception()
        if isinstance(error, NsqliteError):
            self._refused(error)
        elif error is not None:
            raise error
        else:
            self.pump()

    def _set_alarm(self, until_ns: int) -> None:
        """Look again at a time, and not at the later one that was set before."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = until_ns
        self._alarm = self._engine.clock.call_at(self._door.loop, until_ns, self._alarmed)

    def _alarmed(self) -> None:
        self._alarm, self._alarm_ns = None, NEVER
        self._woken()

    # -- answers in -----------------------------------------------------------------------

    def set_ready(self, count: int) -> None:
        """RDY."""
        self._engine.set_ready(self.channel, self.consumer, count)
        if not self.consumer.room:
            self._peer.outgoing.flush()  # nothing will come that could take along what waits there

    def finish(self, command: Fin) -> list[ProtocolError]:
        """FIN, as many as came together; what could not be finished."""
        numbers = command.numbers
        missed = [numbers[at] for at in self._engine.finish_numbers(self.channel, self.consumer, numbers)]
        return self._not_held(FinFailedError, "FIN", missed, command.raw) if missed else []

    def requeue(self, command: Req) -> None:
        """REQ.

        Raises:
            ReqFailedError: The client does not hold it.
        """
        delay_ns = command.delay_ms * MILLISECOND_NS
        if not self._engine.requeue_number(self.channel, self.consumer, command.number, delay_ns):
            raise self._not_held(ReqFailedError, "REQ", [command.number], command.raw)[0]

    def touch(self, command: Touch) -> None:
        """TOUCH.

        Raises:
            TouchFailedError: The client does not hold it.
        """
        if not self._engine.touch_number(self.channel, self.consumer, command.number):
            raise self._not_held(TouchFailedError, "TOUCH", [command.number], command.raw)[0]

    def _not_held(
        self, kind: type[ProtocolError], name: str, numbers: Sequence[int], raw: bytes
    ) -> list[ProtocolError]:
        elsewhere = self._engine.held_by_anybody(self.channel, numbers)
        return [
            kind(
                name.encode()
                + b" "
                + (raw or b"%016x" % number)
                + (b" failed client does not own message" if number in elsewhere else b" failed ID not in flight")
            )
            for number in numbers
        ]

    # -- the end --------------------------------------------------------------------------

    def leave(self) -> bool:
        """Leave the channel; whether it is to go with its last client. Twice is fine.

        What the client holds stays in flight until its time is over, as in nsqd.
        """
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()  # it may be for a day that a deferred message waits, and holds all of the client
        self.stop_waiting()
        return self._engine.detach_consumer(self.channel, self.consumer)

    async def delete_channel(self) -> None:
        """Delete the channel that the last client has left."""
        with suppress(NsqliteError):  # somebody else was first, or the node is closed
            await self._door.run(lambda: ChangeChannel(self.channel, layout.CHANNEL_DELETED))
