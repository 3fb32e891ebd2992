"""The part of a topic's log that is in memory: runs in the order of their seqs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from nsqlite.run import AnyRun


class TopicLog:
    """Runs by seq: all that no settlement wrote yet, and a cache of what one did.

    Attributes:
        settled_end: Storage has what is owed below this seq.
    """

    __slots__ = ("firsts", "runs", "settled_end")

    def __init__(self, settled_end: int = 0) -> None:
        self.firsts: list[int] = []
        self.runs: list[AnyRun] = []
        self.settled_end = settled_end

    def append(self, run: AnyRun) -> None:
        """Add a run behind all others. O(1)."""
        self.firsts.append(run.first_seq)
        self.runs.append(run)

    def insert(self, run: AnyRun) -> list[AnyRun]:
        """Put in its place what of a loaded run is not here yet; return those parts.

        A row on disk may hold neighbours that are runs of their own in memory, some of
        them evicted and some not.
        """
        added: list[AnyRun] = []
        seq, stop = run.first_seq, run.first_seq + run.count
        while seq < stop:
            at = bisect_right(self.firsts, seq)
            held = self.runs[at - 1] if at else None
            if held is not None and seq < held.first_seq + held.count:
                seq = held.first_seq + held.count
                continue
            end = min(stop, self.firsts[at]) if at < len(self.firsts) else stop
            part = run.part(seq - run.first_seq, end - run.first_seq)
            self.firsts.insert(at, seq)
            self.runs.insert(at, part)
            added.append(part)
            seq = end
        return added

    def find(self, seq: int) -> AnyRun | None:
        """The run that holds this seq, if it is in memory. O(log n)."""
        at = bisect_right(self.firsts, seq) - 1
        if at < 0:
            return None
        run = self.runs[at]
        return run if seq < run.first_seq + run.count else None

    @property
    def has_unsettled(self) -> bool:
        """Whether there are runs that no settlement wrote yet."""
        return bool(self.firsts) and self.firsts[-1] >= self.settled_end

    def unsettled(self) -> list[AnyRun]:
        """The runs that no settlement wrote yet."""
        return self.runs[bisect_left(self.firsts, self.settled_end) :]

    def forget(self, first_seqs: Iterable[int]) -> None:
        """Let go of runs by their first seq, in one pass."""
        gone = set(first_seqs)
        prefix = bisect_right(self.firsts, max(gone, default=-1))
        if prefix == len(gone) and gone.issuperset(self.firsts[:prefix]):
            del self.firsts[:prefix], self.runs[:prefix]
            return
        kept = [run for run in self.runs if run.first_seq not in gone]
        self.runs = kept
        self.firsts = [run.first_seq for run in kept]

    def check(self) -> None:
        """Assert that runs are in order and do not overlap."""
        assert self.firsts == [run.first_seq for run in self.runs]
        for before, after in zip(self.runs, self.runs[1:], strict=False):
            assert before.first_seq + before.count <= after.first_seq
