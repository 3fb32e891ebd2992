"""Histograms with fixed buckets that only ever grow, as Prometheus wants them. Pure.

Whoever adds holds the node's lock; reading without it may miss what is being added.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from itertools import accumulate
from typing import Final

from nsqlite.stats import HistogramStats

_SECOND_NS: Final = 1_000_000_000
_MS: Final = 1_000_000

SYNC_BOUNDS_NS: Final = tuple(
    int(each * _MS) for each in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500)
)
SETTLEMENT_BOUNDS_NS: Final = tuple(
    each * _MS for each in (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
)
E2E_BOUNDS_NS: Final = tuple(
    int(each * _MS) for each in (0.1, 1, 5, 25, 100, 500, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000)
)


class Histogram:
    """How many values were at most each of some bounds, and their sum.

    Attributes:
        counts: Of each bucket alone; the last is for what is beyond all bounds.
        sum_ns: All values together.
    """

    __slots__ = ("_bounds_ns", "counts", "sum_ns")

    def __init__(self, bounds_ns: tuple[int, ...]) -> None:
        """Make an empty one; the bounds rise, and belong to their buckets."""
        self._bounds_ns = bounds_ns
        self.counts = [0] * (len(bounds_ns) + 1)
        self.sum_ns = 0

    def add(self, value_ns: int, count: int = 1) -> None:
        """Take up one value, `count` times."""
        self.counts[bisect_left(self._bounds_ns, value_ns)] += count
        self.sum_ns += value_ns * count

    def stats(self) -> HistogramStats:
        """A frozen snapshot; its bounds are seconds."""
        if not any(self.counts):
            return _empty(self._bounds_ns)
        *counts, total = accumulate(self.counts)
        return HistogramStats(
            buckets=tuple((bound / _SECOND_NS, count) for bound, count in zip(self._bounds_ns, counts, strict=True)),
            sum_seconds=self.sum_ns / _SECOND_NS,
            count=total,
        )


@cache
def _empty(bounds_ns: tuple[int, ...]) -> HistogramStats:
    """One for all that have no value: most channels of a big node are idle."""
    return HistogramStats(buckets=tuple((bound / _SECOND_NS, 0) for bound in bounds_ns))
