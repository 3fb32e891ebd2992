"""What a settlement writes and deletes: the difference between two states of a node.

Ownership is derived, never flagged: a message is owed while it waits in its topic, or
some channel's cursor is not behind it, or that channel has it unfinished. Rows whose
ownership may have shrunk since the last settlement are looked at again; nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from nsqlite.run import SPLIT_BYTES, AnyRun, Run, join_runs
from nsqlite.seqset import BLOCK_BITS, SeqSet, runs_of_ones
from nsqlite.state import NodeState, TopicState, joined, unpack_exception
from nsqlite.storage.interface import Tables

REWRITE_BELOW: Final = 4  # a row is written again when less than a quarter of it is owed


class Owed:
    """Which seqs of one topic somebody is still owed."""

    def __init__(self, topic: TopicState) -> None:
        self.unfinished = SeqSet()
        for channel in topic.channels.values():
            self.unfinished.update(channel.unfinished())
        cursors = [channel.cursor for channel in topic.channels.values()]
        for first, packed in topic.waiting.items():  # stepped over, and owed all the same
            self.unfinished.add_range(first, first + unpack_exception(packed)[2])
        self.from_seq = min([topic.routed, *cursors])
        self.stepped = topic.stepped

    def bits(self, start: int, stop: int) -> int:
        """start..stop as a bitmap, bit 0 for `start`."""
        if start >= self.from_seq:
            fresh = (1 << (stop - start)) - 1
        elif stop > self.from_seq:
            fresh = ((1 << (stop - self.from_seq)) - 1) << (self.from_seq - start)
        else:
            fresh = 0
        if fresh and self.stepped:
            fresh &= ~self.stepped.bits(start, stop)
        return fresh | self.unfinished.bits(start, stop) if self.unfinished else fresh

    def ranges(self, end: int) -> Iterator[tuple[int, int]]:
        """All that is owed below seq `end`, as (start, stop) pairs; those of unfinished ones first."""
        yield from self.unfinished.ranges()
        seq = self.stepped.next_absent(self.from_seq)
        while seq < end:
            stop = self.stepped.next_present(seq, end)
            yield seq, stop
            seq = self.stepped.next_absent(stop)


def settle(tables: Tables, previous: NodeState, state: NodeState) -> None:
    """Bring the tables from `previous` to `state`. O(what changed)."""
    for number in previous.topics.keys() - state.topics.keys():
        tables.delete_topic(number)
    for number, topic in state.topics.items():
        before = previous.topics.get(number)
        owed = Owed(topic)
        if before is not None:
            for start, stop in _suspects(before, topic):
                _review(tables, number, start, stop, owed)
        for row in _rows(topic.runs, topic.end, owed):
            tables.put_row(number, row)
    tables.put_state(state, previous)


def _suspects(before: TopicState, now: TopicState) -> Iterator[tuple[int, int]]:
    """Seqs that were owed before and may not be now, in blocks, as ranges in order."""
    if before.channels.keys() - now.channels.keys():
        yield 0, before.end
        return
    blocks = {block for block, bits in now.stepped.blocks.items() if before.stepped.blocks.get(block) != bits}
    if before.waiting and before.waiting.keys() != now.waiting.keys():
        blocks.update(first // BLOCK_BITS for first in before.waiting.keys() - now.waiting.keys())
    for number, channel in before.channels.items():
        after = now.channels[number]
        old, new = channel.unfinished().blocks, after.unfinished().blocks
        blocks.update(block for block, bits in old.items() if new.get(block) != bits)
        blocks.update(range(channel.cursor // BLOCK_BITS, after.cursor // BLOCK_BITS + 1))
    if not before.channels:  # emptied since, and a channel that was made then begins behind that
        lowest = min([now.routed, *(channel.cursor for channel in now.channels.values())])
        blocks.update(range(before.routed // BLOCK_BITS, lowest // BLOCK_BITS + 1))
    limit = before.end
    for start, stop in joined((block, block + 1) for block in sorted(blocks)):
        if start * BLOCK_BITS < limit:
            yield start * BLOCK_BITS, min(stop * BLOCK_BITS, limit)


def _review(tables: Tables, topic: int, start: int, stop: int, owed: Owed) -> None:
    """Delete the rows of start..stop that nobody is owed; write those again that hold little."""
    starts = tables.row_starts(topic, start, stop)
    for at, first in enumerate(starts):
        following = starts[at + 1] if at + 1 < len(starts) else None
        if following is not None and not owed.bits(first, following):
            tables.delete_row(topic, first)
            continue
        if following is not None and first >= owed.from_seq and not owed.stepped:
            continue
        runs = tables.read_row(topic, first)
        if runs is None:
            continue  # damaged: it is named when it is met, and goes when nobody is owed it
        kept = [part for run in runs for part in owed_parts(run, run.first_seq + run.count, owed)]
        held = sum(run.count for run in kept)
        if held == 0:
            tables.delete_row(topic, first)
        elif held * REWRITE_BELOW < sum(run.count for run in runs):
            tables.delete_row(topic, first)
            tables.put_row(topic, kept)


def owed_parts(run: AnyRun, end: int, owed: Owed) -> Iterator[Run]:
    """The stretches of a run, up to seq `end`, that somebody is owed."""
    stop = min(end, run.first_seq + run.count)
    bits = owed.bits(run.first_seq, stop)
    for first, last in runs_of_ones(bits):
        yield run.part(first, last)


def _rows(runs: Sequence[AnyRun], end: int, owed: Owed) -> Iterator[list[Run]]:
    """What of the unsettled runs is owed, in rows of about SPLIT_BYTES.

    A run of which a quarter is owed stays whole: cutting costs more than it saves.
    """
    row: list[AnyRun] = []
    held = 0
    for run in runs:
        for part in _worth_keeping(run, end, owed):
            if row and held + part.size_bytes > SPLIT_BYTES:
                yield join_runs(row)
                row, held = [], 0
            row.append(part)
            held += part.size_bytes
    if row:
        yield join_runs(row)


def _worth_keeping(run: AnyRun, end: int, owed: Owed) -> list[AnyRun]:
    bits = owed.bits(run.first_seq, run.first_seq + run.count)
    held = bits.bit_count()
    if held == 0:
        return []
    if held * REWRITE_BELOW >= run.count:
        return [run]
    return list(owed_parts(run, end, owed))
