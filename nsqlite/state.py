"""A node's durable state as plain values: what storage recovers and what a settlement writes.

Core and storage never meet; these are the words they exchange.

A message that a channel has taken up and not finished is in exactly one of two sets:
`in_flight`, handed out for the first time, or `excepted`, everything else (requeued,
deferred, in flight again). The second kind has an exception: an int that packs

    due wall time in ns << 80 | seq << 32 | count << 16 | attempts

for `count` messages from `seq` on, so that a million of them cost 56 MB and no objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from nsqlite.run import AnyRun
from nsqlite.seqset import SeqSet

DUE_SHIFT: Final = 80
SEQ_SHIFT: Final = 32
COUNT_SHIFT: Final = 16
SEQ_MASK: Final = (1 << 48) - 1
MASK_16: Final = (1 << 16) - 1
MAX_ATTEMPTS: Final = MASK_16


def pack_exception(due_ns: int, seq: int, count: int, attempts: int) -> int:
    """One exception as an int; ints sort by due time, then seq."""
    return due_ns << DUE_SHIFT | seq << SEQ_SHIFT | count << COUNT_SHIFT | attempts


def unpack_exception(packed: int) -> tuple[int, int, int, int]:
    """Due time, seq, count and attempts."""
    return (
        packed >> DUE_SHIFT,
        packed >> SEQ_SHIFT & SEQ_MASK,
        packed >> COUNT_SHIFT & MASK_16,
        packed & MASK_16,
    )


@attrs.define
class ChannelState:
    """One channel.

    Attributes:
        number: Never used again.
        name: Its name.
        cursor: The next seq never handed out.
        is_paused: Whether it hands nothing out.
        in_flight: Seqs handed out for the first time.
        taken: In a snapshot: all stretches in flight, until `gather` has sorted them.
        excepted: Seqs that an exception covers.
        exceptions: Recovered: all exceptions, packed, with wall times.
        changed: First seq to its exception, or None where one went; since the last settlement.
        is_emptied: Whether all exceptions before `changed` are to go.
    """

    number: int
    name: str
    cursor: int
    is_paused: bool = False
    in_flight: SeqSet = attrs.Factory(SeqSet)
    taken: list[tuple[int, int]] = attrs.Factory(list)
    excepted: SeqSet = attrs.Factory(SeqSet)
    exceptions: list[int] = attrs.Factory(list)
    changed: dict[int, int | None] = attrs.Factory(dict)
    is_emptied: bool = False

    def gather(self) -> None:
        """Sort a snapshot's stretches in flight into `in_flight`. Not under the lock: there may be many."""
        for start, stop in joined(sorted(self.taken)):
            self.in_flight.add_range(start, stop)
        self.taken = []
        for block, bits in self.excepted.blocks.items():
            self.in_flight.keep(block, ~bits)

    def unfinished(self) -> SeqSet:
        """All seqs below the cursor that are still owed."""
        both = self.excepted.copy()
        both.update(self.in_flight)
        return both


@attrs.define
class TopicState:
    """One topic.

    Attributes:
        number: Never used again.
        name: Its name.
        end: The next seq.
        routed: The seq up to which channels may see it.
        is_paused: Whether routing stands still.
        stepped: Seqs that cursors step over, as far back as the last cursor.
        waiting: Delayed stretches that are not routed yet: first seq to exception.
        runs: What no settlement wrote yet, in order.
        channels: By number.
    """

    number: int
    name: str
    end: int = 0
    routed: int = 0
    is_paused: bool = False
    stepped: SeqSet = attrs.Factory(SeqSet)
    waiting: dict[int, int] = attrs.Factory(dict)
    runs: Sequence[AnyRun] = ()
    channels: dict[int, ChannelState] = attrs.Factory(dict)


@attrs.define
class NodeState:
    """A whole node, as of one position of the journal.

    Attributes:
        settled: Log sequence number of the last record that is in here.
        last_id: The last message id given out.
        next_number: The next topic or channel number.
        topics: By number.
    """

    settled: int = 0
    last_id: int = 0
    next_number: int = 1
    topics: dict[int, TopicState] = attrs.Factory(dict)


def joined(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted stretches, half open, with those joined that touch."""
    start = stop = -1
    for first, last in stretches:
        if first != stop:
            if stop > start:
                yield start, stop
            start = first
        stop = last
    if stop > start:
        yield start, stop
