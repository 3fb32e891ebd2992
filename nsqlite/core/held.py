"""What one consumer holds, by message id: a client on the wire answers ids, the core knows seqs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from nsqlite.core.delivery import Delivery

_SLACK = 64


class Held:
    """The deliveries of one consumer.

    Those of several messages never overlap, since only what was never handed out before
    goes out in stretches; they are found by bisection. Single ones, which are what comes
    again, have a dict. Entries that no longer hold anything stay until there are many.
    """

    __slots__ = ("_firsts", "_limit", "_singles", "_stretches")

    def __init__(self) -> None:
        self._singles: dict[int, Delivery] = {}
        self._firsts: list[int] = []
        self._stretches: list[Delivery] = []
        self._limit = _SLACK

    def add(self, delivery: Delivery) -> None:
        """Take up a delivery. O(1) for fresh messages."""
        first_id = delivery.first_id
        if delivery.count == 1:
            self._singles[first_id] = delivery
        elif not self._firsts or first_id > self._firsts[-1]:
            self._firsts.append(first_id)
            self._stretches.append(delivery)
        else:
            at = bisect_right(self._firsts, first_id)
            self._firsts.insert(at, first_id)
            self._stretches.insert(at, delivery)
        if len(self._singles) + len(self._firsts) > self._limit:
            self._forget_stale()

    def find(self, number: int) -> Delivery | None:
        """The delivery that an id belongs to; whether it still holds it is the channel's to say. O(log n)."""
        delivery = self._singles.get(number)
        if delivery is not None and delivery.remaining:
            return delivery
        at = bisect_right(self._firsts, number) - 1
        if at < 0:
            return None
        delivery = self._stretches[at]
        return delivery if number < delivery.first_id + delivery.count else None

    def __iter__(self) -> Iterator[Delivery]:
        yield from (each for each in (*self._singles.values(), *self._stretches) if each.remaining)

    def _forget_stale(self) -> None:
        self._singles = {number: each for number, each in self._singles.items() if each.remaining}
        self._stretches = [each for each in self._stretches if each.remaining]
        self._firsts = [each.first_id for each in self._stretches]
        self._limit = 2 * (len(self._singles) + len(self._firsts)) + _SLACK

    def check(self) -> None:
        """Assert that stretches are in order and do not overlap."""
        assert self._firsts == [each.first_id for each in self._stretches]
        for before, after in zip(self._stretches, self._stretches[1:], strict=False):
            assert before.first_id + before.count <= after.first_id
        assert all(each.count == 1 and each.first_id == number for number, each in self._singles.items())
