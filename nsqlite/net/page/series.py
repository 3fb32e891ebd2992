"""Values of the last minutes, and whose values are kept when not all can be. Pure.

At most so many series are kept, so that a node of a hundred thousand channels costs no more memory than one of
five hundred: the busiest and deepest, and those that somebody looks at.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection
from typing import Final

POINTS: Final = 150  # five minutes of one each two seconds
FIELDS: Final = 3
DEPTH, IN, OUT = range(FIELDS)
MOVES_A_SAMPLE: Final = 20
CLEARLY_MORE: Final = (
    2  # whoever takes another's place is worth that many times as much: else they would do so for ever
)


class Series:
    """The last values of one topic or channel: depth, and how many messages have come and gone.

    Attributes:
        weight: How much it matters now: what waits, is in flight, or has come since the sample before.
    """

    __slots__ = ("_values", "weight")

    def __init__(self) -> None:
        self._values = array("q")
        self.weight = 0

    def add(self, depth: int, came: int, gone: int) -> None:
        """Note one more sample; the oldest goes."""
        self._values.extend((depth, came, gone))
        if len(self._values) > FIELDS * POINTS:
            del self._values[:FIELDS]

    def __len__(self) -> int:
        return len(self._values) // FIELDS

    def of(self, field: int) -> list[int]:
        """All values of DEPTH, IN or OUT, the oldest first."""
        return self._values[field::FIELDS].tolist()

    def last(self, field: int) -> int:
        """The last of these values; 0 before there is one."""
        return self._values[field - FIELDS] if self._values else 0


class Shelf:
    """A bounded number of series, by the number of what they are of."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.series: dict[int, Series] = {}
        self.pinned: set[int] = set()
        self._waiting: list[tuple[int, int]] = []

    def note(self, number: int, weight: int, depth: int, came: int, gone: int) -> None:
        """Note one more sample of something, if it has a place or there is one left."""
        series = self.series.get(number)
        if series is None:
            if len(self.series) >= self.limit:
                self._waiting.append((weight, number))
                return
            series = self.series[number] = Series()
        series.weight = weight
        series.add(depth, came, gone)

    def settle(self, living: Collection[int]) -> None:
        """Let go of what is gone, and give some places to who needs them more. After each whole sample."""
        for number in [number for number in self.series if number not in living]:
            del self.series[number]
        self.pinned &= set(living)
        if not self._waiting:
            return
        wanted = [(self.pinned_weight(number, weight), number) for weight, number in self._waiting]
        self._waiting.clear()
        kept = [(self.pinned_weight(number, each.weight), number) for number, each in self.series.items()]
        strong = heapq.nlargest(MOVES_A_SAMPLE, wanted)
        weak = heapq.nsmallest(len(strong), kept)
        for (weight, number), (least, loser) in zip(strong, weak, strict=False):
            if weight <= CLEARLY_MORE * least:
                break
            del self.series[loser]
            self.series[number] = Series()

    def pinned_weight(self, number: int, weight: int) -> int:
        """What something is worth, which is beyond all measure if somebody looks at it."""
        return weight if number not in self.pinned else 1 << 62


def rates(counts: list[int], times_ns: list[int]) -> list[float]:
    """Increases a second between samples; one less than there are samples. What fell began anew."""
    found = []
    for now, before, now_ns, before_ns in zip(counts[1:], counts, times_ns[1:], times_ns, strict=False):
        found.append(max(0, now - before) * 1e9 / max(1, now_ns - before_ns))
    return found


def binned(values: list[int] | list[float], bins: list[int], count: int) -> list[float | None]:
    """Few values for many: the largest of each bin, None where there is none.

    Args:
        values: The oldest first; the last of them belongs to the last of `bins`.
        bins: Of each sample, in which bin it is.
        count: How many bins there are.
    """
    found: list[float | None] = [None] * count
    for value, place in zip(reversed(values), reversed(bins), strict=False):
        best = found[place]
        if best is None or value > best:
            found[place] = value
    return found
