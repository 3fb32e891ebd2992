"""One hand-over of consecutive messages to one consumer, with one deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsqlite.core.consumer import Consumer
    from nsqlite.run import AnyRun


class Delivery:
    """A slice of a run in somebody's hands.

    Attributes:
        run: Where the messages are.
        first_seq: Seq of the first message.
        count: Messages handed over.
        remaining: Of those, how many are still in flight by this delivery.
        attempts: How often each was handed over, this time included.
        deadline_ns: Monotonic time at which it times out.
        limit_ns: Monotonic time up to which touching can move the deadline.
        timeout_ns: How long a touch gives.
        consumer: Who holds it; None for a plain `receive`.
    """

    __slots__ = (
        "attempts",
        "consumer",
        "count",
        "deadline_ns",
        "first_seq",
        "limit_ns",
        "remaining",
        "run",
        "timeout_ns",
    )

    def __init__(
        self,
        run: AnyRun,
        first_seq: int,
        count: int,
        attempts: int,
        deadline_ns: int,
        limit_ns: int,
        timeout_ns: int,
        consumer: Consumer | None,
    ) -> None:
        self.run = run
        self.first_seq = first_seq
        self.count = count
        self.remaining = count
        self.attempts = attempts
        self.deadline_ns = deadline_ns
        self.limit_ns = limit_ns
        self.timeout_ns = timeout_ns
        self.consumer = consumer

    @property
    def first_id(self) -> int:
        """Id of the first message; the others count on from it."""
        return self.run.first_id + self.first_seq - self.run.first_seq

    @property
    def size_bytes(self) -> int:
        """About what its frames take: its share of the run."""
        return self.run.size_bytes * self.count // self.run.count
