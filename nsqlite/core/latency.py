"""How long messages take from publish to finish: percentiles over a window. Pure, and merged at will.

A sketch counts values in buckets that grow with them, 64 to the power of two, so a percentile is
read off with less than one per cent of error, whatever the values are. A window has two halves,
each a sketch: when half a window has passed the older one goes, so a look sees between half a
window and a whole one. The halves of all channels end at the same moments, which lets a topic's be
those of its channels merged.

Weights: what was published in one batch has one timestamp, and is one sample with a weight. A
stretch with several timestamps is halved until those of either end differ by less than 0.4 per
cent of the latency: few samples for what was published long before it was finished, one for each
message when it was not, and still less than one per cent of error in all. That takes for granted
that timestamps rise inside a run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

from nsqlite.core.timers import NEVER
from nsqlite.histogram import E2E_BOUNDS_NS, Histogram
from nsqlite.options import SECOND_NS, Options
from nsqlite.run import AnyRun
from nsqlite.stats import Latency, Percentile

_BITS: Final = 7  # of a value that tell buckets apart: the middle of one is within 1/128 of all its values
_ALIKE_SHIFT: Final = 8


class Sketch:
    """Counts of values in nanoseconds, by size.

    Attributes:
        buckets: Bucket to count.
        count: Values.
        low_ns: The least of them.
        high_ns: The greatest.
    """

    __slots__ = ("buckets", "count", "high_ns", "low_ns")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.low_ns = NEVER
        self.high_ns = 0

    def add(self, value_ns: int, count: int = 1) -> None:
        """Take up one value that is not below nought, `count` times. Hot."""
        shift = value_ns.bit_length() - _BITS
        bucket = value_ns if shift <= 0 else (shift << _BITS - 1) + (value_ns >> shift)
        buckets = self.buckets
        buckets[bucket] = buckets.get(bucket, 0) + count
        self.count += count
        if value_ns > self.high_ns:
            self.high_ns = value_ns
        if value_ns < self.low_ns:
            self.low_ns = value_ns

    def merge(self, other: Sketch) -> None:
        """Take up all values of another."""
        self.low_ns = min(self.low_ns, other.low_ns)
        self.high_ns = max(self.high_ns, other.high_ns)
        self.count += other.count
        buckets = self.buckets
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count

    def copy(self) -> Sketch:
        """One of its own with the same values."""
        copied = Sketch()
        copied.buckets = self.buckets.copy()
        copied.count, copied.low_ns, copied.high_ns = self.count, self.low_ns, self.high_ns
        return copied

    def latency(self, quantiles: Sequence[float]) -> Latency:
        """Its percentiles, for quantiles that fall; each is 0 if there is no value. O(buckets log buckets)."""
        found: list[Percentile] = []
        buckets = sorted(self.buckets, reverse=True)
        at, above = 0, 0  # so many values are in the buckets before `at`
        for quantile in quantiles:
            rank = self.count - max(1, ceil(quantile * self.count))  # so many values may be above it
            while at < len(buckets) and above + self.buckets[buckets[at]] <= rank:
                above += self.buckets[buckets[at]]
                at += 1
            value_ns = self._middle_ns(buckets[at]) if at < len(buckets) else 0
            found.append(Percentile(quantile, value_ns))
        return Latency(self.count, tuple(found))

    def _middle_ns(self, bucket: int) -> int:
        shift = max(0, (bucket >> _BITS - 1) - 1)
        least_ns = bucket - (shift << _BITS - 1) << shift
        return min(max(least_ns + (1 << shift >> 1), self.low_ns), self.high_ns)


_NOTHING: Final = Sketch()  # shared: nobody adds to an older half


class ChannelLatency:
    """A channel's window, and its histogram since it was made; whoever calls holds the node's lock.

    Attributes:
        histogram: All samples since the channel was made or its store was opened.
    """

    __slots__ = ("_before", "_end_ns", "_half_ns", "_histograms", "_now", "histogram")

    def __init__(self, half_ns: int, total: Histogram) -> None:
        self.histogram = Histogram(E2E_BOUNDS_NS)
        self._histograms = (self.histogram, total)
        self._half_ns = half_ns
        self._end_ns = 0  # of the half that `_now` covers
        self._now = Sketch()
        self._before = _NOTHING

    def finished(self, run: AnyRun, start: int, stop: int, now_ns: int, wall_ns: int) -> None:
        """Take up the messages start..stop of a run, finished just now.

        Hot, when it is asked for: a microsecond or two, for one message as for a batch of any size.
        """
        if now_ns >= self._end_ns:
            self._turn(now_ns)
        first_ns = wall_ns - run.timestamp(start)
        if stop - start == 1:
            self._add(first_ns, 1)
        else:
            self._add_stretch(run, (start, stop), (first_ns, wall_ns - run.timestamp(stop - 1)), wall_ns)

    def _add_stretch(self, run: AnyRun, ends: tuple[int, int], latencies_ns: tuple[int, int], wall_ns: int) -> None:
        (start, stop), (first_ns, last_ns) = ends, latencies_ns
        count = stop - start
        if abs(first_ns - last_ns) <= min(first_ns, last_ns) >> _ALIKE_SHIFT or first_ns == last_ns:
            self._add((first_ns + last_ns) // 2, count)
        elif count == 2:
            self._add(first_ns, 1)
            self._add(last_ns, 1)
        else:
            middle = start + (count + 1) // 2  # the first half has two at least, and so has the second or it is one
            before_ns = wall_ns - run.timestamp(middle - 1)
            self._add_stretch(run, (start, middle), (first_ns, before_ns), wall_ns)
            after_ns = last_ns if stop - middle == 1 else wall_ns - run.timestamp(middle)
            self._add_stretch(run, (middle, stop), (after_ns, last_ns), wall_ns)

    def _add(self, value_ns: int, count: int) -> None:
        """Take up one value; one below nought, of a clock that was put back, as nought."""
        if value_ns < 0:
            value_ns = 0
        self._now.add(value_ns, count)
        at = bisect_left(E2E_BOUNDS_NS, value_ns)
        for histogram in self._histograms:
            histogram.counts[at] += count
            histogram.sum_ns += value_ns * count

    def _turn(self, now_ns: int) -> None:
        """Let the older half go, its time is over; all halves end at multiples of their length."""
        is_next = now_ns < self._end_ns + self._half_ns
        self._before = self._now if is_next else _NOTHING
        self._now = Sketch()
        self._end_ns = (now_ns // self._half_ns + 1) * self._half_ns

    def halves(self, now_ns: int) -> list[Sketch]:
        """What the window has, as copies, to be merged when the lock is free; nothing for a half without samples."""
        if now_ns >= self._end_ns:
            self._turn(now_ns)
        return [each.copy() for each in (self._before, self._now) if each.count]


class Latencies:
    """What the latencies of one node's channels have in common.

    Attributes:
        quantiles: Those that are asked for, falling.
        total: All samples since the node was opened, of deleted channels too.
    """

    def __init__(self, quantiles: Iterable[float], window_ns: int) -> None:
        self.quantiles = tuple(sorted(quantiles, reverse=True))
        self.total = Histogram(E2E_BOUNDS_NS)
        self._half_ns = max(1, window_ns // 2)

    @classmethod
    def wanted(cls, options: Options) -> Latencies | None:
        """What a node's options ask for; None if they ask for nothing."""
        quantiles = options.e2e_processing_latency_percentiles
        window_ns = int(options.e2e_processing_latency_window_time * SECOND_NS)
        return cls(quantiles, window_ns) if quantiles else None

    def of_channel(self) -> ChannelLatency:
        """One for a new channel."""
        return ChannelLatency(self._half_ns, self.total)

    def merged(self, sketches: Iterable[Sketch]) -> tuple[Sketch, Latency]:
        """Several sketches as one, and its percentiles."""
        whole = Sketch()
        for sketch in sketches:
            whole.merge(sketch)
        return whole, whole.latency(self.quantiles)
