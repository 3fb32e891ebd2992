"""A message in a consumer's hands."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from nsqlite.bodies import Seconds, delay_to_ns
from nsqlite.errors import NotInFlightError
from nsqlite.run import BODY_AT, ID_AT

if TYPE_CHECKING:
    from nsqlite.core.channel import Channel
    from nsqlite.core.delivery import Delivery
    from nsqlite.engine import Engine


class HeldMessage:
    """What the messages of threads and of asyncio have in common: a place in a delivery.

    Nothing is cut out of the run before somebody asks for it, and two of the slots stay
    unset until they are needed: making a message is most of what `receive_many` costs.
    """

    __slots__ = ("_body", "_channel", "_delivery", "_engine", "_is_answered", "_seq")

    def __init__(self, engine: Engine, channel: Channel, delivery: Delivery, seq: int) -> None:
        self._engine = engine
        self._channel = channel
        self._delivery = delivery
        self._seq = seq

    def _frame(self) -> bytes:
        run = self._delivery.run
        return run.frame(self._seq - run.first_seq)

    @property
    def id(self) -> bytes:
        """Sixteen lower-case hex digits, unique in the node and rising."""
        return self._frame()[ID_AT:BODY_AT]

    @property
    def body(self) -> bytes:
        """What was published."""
        try:
            return self._body
        except AttributeError:
            self._body: bytes = self._frame()[BODY_AT:]
            return self._body

    @property
    def is_answered(self) -> bool:
        """Whether this object has finished or requeued it."""
        return hasattr(self, "_is_answered")

    @property
    def timestamp(self) -> int:
        """When it was published, in nanoseconds since the epoch."""
        run = self._delivery.run
        return run.timestamp(self._seq - run.first_seq)

    @property
    def attempts(self) -> int:
        """How often it was handed to a consumer, this time included; from 1, at most 65,535."""
        return self._delivery.attempts

    def __repr__(self) -> str:
        where = f"{self._channel.topic.name}:{self._channel.name}"
        return f"<Message {self.id.decode()} of {where}, attempts={self.attempts}>"

    def _finish(self) -> None:
        if not self._engine.finish(self._channel, self._seq, self._delivery):
            raise NotInFlightError([self.id])
        self._is_answered = True

    def _requeue(self, delay: Seconds) -> None:
        delay_ns = delay_to_ns(delay)
        if not self._engine.requeue(self._channel, self._seq, self._delivery, delay_ns):
            raise NotInFlightError([self.id])
        self._is_answered = True

    def _touch(self) -> None:
        touched = self._engine.touch(self._channel, self._seq, self._delivery)
        if touched is None:
            raise NotInFlightError([self.id])
        self._delivery = touched


class Message(HeldMessage):
    """One message, in flight until it is answered or its time is over.

    As a context manager it is finished when the block ends, and requeued when the block
    raises anything; after an answer inside, leaving does nothing.

    Attributes:
        id: Sixteen hex digits as bytes.
        body: Bytes, at least one.
        timestamp: Nanoseconds since the epoch.
        attempts: From 1.
        is_answered: Whether this object has finished or requeued it.
    """

    __slots__ = ()

    def finish(self) -> None:
        """Let it go for ever. A kill within the next 25 ms may still bring it again.

        Raises:
            NotInFlightError: It was answered before, timed out, or was emptied or deleted.
        """
        if not self._engine.finish(self._channel, self._seq, self._delivery):
            raise NotInFlightError([self.id])
        self._is_answered = True

    def requeue(self, delay: Seconds = 0.0) -> None:
        """Give it back, to be delivered again at once or after `delay` seconds.

        Raises:
            NotInFlightError: As `finish`.
            InvalidDelayError: The delay is no finite, non-negative time.
        """
        self._requeue(delay)

    def touch(self) -> None:
        """Start its timeout anew, up to `max_msg_timeout` after its delivery.

        Raises:
            NotInFlightError: As `finish`.
        """
        self._touch()

    def __enter__(self) -> Message:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_answered:
            return
        if kind is None:
            self.finish()
            return
        try:
            self.requeue()
        except NotInFlightError:
            pass  # it is on its way again already, and the error of the block matters more
