"""One hand-over of consecutive messages to one consumer, with one deadline.

A delivery knows which of its messages are still in flight by it: a stretch, as long as
they are answered from either end, which costs the same for one as for thousands; a set,
once one in the middle was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        low: The first of them, while they are a stretch.
        scattered: They, once they are none.
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
        "low",
        "remaining",
        "run",
        "scattered",
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
        self.low = first_seq
        self.scattered: set[int] | None = None
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

    def holds(self, seq: int) -> bool:
        """Whether a message is still in flight by this delivery."""
        if self.scattered is not None:
            return seq in self.scattered
        return self.low <= seq < self.low + self.remaining

    def let_go(self, seq: int, count: int = 1) -> bool:
        """Let consecutive messages go; False, and nothing happens, if not all are in flight by this delivery.

        O(1) from either end of what remains; the first time in the middle costs O(remaining).
        """
        low, remaining = self.low, self.remaining
        if self.scattered is None:
            if seq < low or seq + count > low + remaining:
                return False
            if seq == low:
                self.low = low + count
            elif seq + count < low + remaining:
                self.scattered = set(range(low, low + remaining))
        if self.scattered is not None:
            gone = range(seq, seq + count)
            if not self.scattered.issuperset(gone):
                return False
            self.scattered.difference_update(gone)
        self.remaining = remaining - count
        return True

    def let_all_go(self) -> None:
        """Hold nothing any more."""
        self.remaining = 0
        self.scattered = None

    def stretches(self) -> Iterator[tuple[int, int]]:
        """What it still holds, half open, in no order."""
        if self.scattered is not None:
            yield from ((seq, seq + 1) for seq in self.scattered)
        elif self.remaining:
            yield self.low, self.low + self.remaining

    def seqs(self) -> list[int]:
        """What it still holds, in order."""
        if self.scattered is not None:
            return sorted(self.scattered)
        return list(range(self.low, self.low + self.remaining))

    def check(self) -> None:
        """Assert that what remains is part of what was handed over, and is counted."""
        held = self.seqs()
        assert len(held) == self.remaining
        assert all(0 <= seq - self.first_seq < self.count for seq in held)
