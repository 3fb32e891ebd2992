"""Deadlines of deliveries: many with the same timeout, a few that were touched.

Deliveries with the same timeout come in the order of their deadlines, so each
timeout has a lane, a plain queue; only touched ones need a heap. What was answered
stays until it comes to the front or until more than half is stale.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Final

from nsqlite.core.delivery import Delivery

NEVER: Final = 1 << 63
_SLACK: Final = 64


class Deadlines:
    """Deliveries in flight, by deadline."""

    __slots__ = ("_limit", "_order", "lanes", "touched")

    def __init__(self) -> None:
        self.lanes: dict[int, deque[Delivery]] = {}
        self.touched: list[tuple[int, int, Delivery]] = []
        self._order = count()
        self._limit = _SLACK

    def add(self, delivery: Delivery) -> None:
        """Take up a delivery whose deadline is its timeout from now."""
        lane = self.lanes.get(delivery.timeout_ns)
        if lane is None:
            lane = self.lanes[delivery.timeout_ns] = deque()
        while lane and not lane[0].remaining:
            lane.popleft()
        if lane and delivery.deadline_ns < lane[-1].deadline_ns:
            self.add_touched(delivery)  # its caller looked at the clock, then waited for the lock
            return
        lane.append(delivery)
        if len(lane) > self._limit:
            self._compact()

    def add_touched(self, delivery: Delivery) -> None:
        """Take up a delivery with any deadline."""
        heapq.heappush(self.touched, (delivery.deadline_ns, next(self._order), delivery))
        if len(self.touched) > self._limit:
            self._compact()

    def pop_due(self, now_ns: int) -> Iterator[Delivery]:
        """Deliveries whose deadline has come, each once, while the caller wants more."""
        for lane in self.lanes.values():
            while lane and (not lane[0].remaining or lane[0].deadline_ns <= now_ns):
                delivery = lane.popleft()
                if delivery.remaining:
                    yield delivery
        while self.touched and (not self.touched[0][2].remaining or self.touched[0][0] <= now_ns):
            delivery = heapq.heappop(self.touched)[2]
            if delivery.remaining:
                yield delivery

    def next_ns(self) -> int:
        """The earliest deadline, or NEVER. A stale one may make it too early, never too late."""
        earliest = min((lane[0].deadline_ns for lane in self.lanes.values() if lane), default=NEVER)
        return min(earliest, self.touched[0][0]) if self.touched else earliest

    def live(self) -> Iterator[Delivery]:
        """All deliveries that still hold a message."""
        for lane in self.lanes.values():
            yield from (each for each in lane if each.remaining)
        yield from (each for _, _, each in self.touched if each.remaining)

    def clear(self) -> None:
        """Forget all."""
        self.lanes.clear()
        self.touched.clear()

    def _compact(self) -> None:
        for timeout_ns, lane in list(self.lanes.items()):
            kept = deque(each for each in lane if each.remaining)
            if kept:
                self.lanes[timeout_ns] = kept
            else:
                del self.lanes[timeout_ns]
        self.touched = [entry for entry in self.touched if entry[2].remaining]
        heapq.heapify(self.touched)
        longest = max((len(lane) for lane in self.lanes.values()), default=0)
        self._limit = 2 * max(longest, len(self.touched)) + _SLACK
