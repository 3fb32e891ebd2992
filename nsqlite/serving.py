"""What a listener asks of an engine: turns for many messages of one client at once, by their ids."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from nsqlite.clock import Clock
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.held import Held
from nsqlite.core.timers import NEVER
from nsqlite.gate import refuse_deleted
from nsqlite.options import Options
from nsqlite.receiving import Receiving
from nsqlite.stats import ClientStats
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage


class Serving(Receiving):
    """Deliveries to clients and their answers.

    Attributes:
        producers: Who tells what clients have published; a listener each.
    """

    def __init__(
        self, storage: DurableStorage | InMemoryStorage, options: Options, clock: Clock, *, is_synced: bool
    ) -> None:
        super().__init__(storage, options, clock, is_synced=is_synced)
        self.producers: list[Callable[[], list[ClientStats]]] = []

    def pull(
        self, channel: Channel, consumer: Consumer, waiter: Any, budget_bytes: int
    ) -> tuple[list[Delivery], int, int]:
        """Hand out what a client has room for; who gets nothing more waits, and is woken.

        Hot: one turn whatever the number of messages (benchmarks/net).

        Returns:
            Deliveries; the time at which to ask again, 0 for at once; the seq that has to be
            loaded first, or -1.

        Raises:
            ClosedError: The channel or the node is gone.
        """
        now_ns = self._monotonic_ns()

        def pull(broker: Broker) -> tuple[list[Delivery], int, int]:
            refuse_deleted(channel)
            deliveries = self._take(channel, NEVER, consumer, now_ns, budget_bytes)
            missing = channel.missing
            until_ns = channel.next_due_ns if missing < 0 else 0
            if missing < 0 and consumer.room:
                if channel.depth and not channel.is_paused:
                    until_ns = 0
                elif waiter not in channel.waits:
                    broker.wait(channel, waiter, until_ns, consumer)
            return deliveries, until_ns, missing

        pulled: tuple[list[Delivery], int, int] = self.locked(pull)
        self.wake()
        return pulled

    def finish_numbers(self, channel: Channel, consumer: Consumer, numbers: Sequence[int]) -> list[int]:
        """Finish what a client names by id; return the indexes of those it does not hold. Hot."""
        now_ns = self._monotonic_ns()
        wall_ns = self._wall_ns() if channel.latency is not None else 0

        def finish(broker: Broker) -> list[int]:
            broker.tick(channel, now_ns)
            missed = _finish(channel, _held(consumer), numbers, now_ns, wall_ns)
            self._answered()
            return missed

        missed: list[int] = self.locked(finish)
        self.wake()
        return missed

    def requeue_number(self, channel: Channel, consumer: Consumer, number: int, delay_ns: int) -> bool:
        """Put back what a client names by id; False if it does not hold it."""
        delivery = self._held_by(consumer, number)
        if delivery is None:
            return False
        return self.requeue(channel, _seq(delivery, number), delivery, delay_ns)

    def touch_number(self, channel: Channel, consumer: Consumer, number: int) -> bool:
        """Postpone the deadline of what a client names by id; False if it does not hold it."""
        delivery = self._held_by(consumer, number)
        return delivery is not None and self.touch(channel, _seq(delivery, number), delivery) is not None

    def _held_by(self, consumer: Consumer, number: int) -> Delivery | None:
        found: Delivery | None = self.locked(lambda _: _held(consumer).find(number))
        return found

    def held_by_anybody(self, channel: Channel, numbers: Iterable[int]) -> set[int]:
        """Which of some ids are in flight. O(deliveries in flight), however many are asked for: only errors ask."""
        now_ns = self._monotonic_ns()
        wanted = sorted(set(numbers))

        def look(broker: Broker) -> set[int]:
            broker.tick(channel, now_ns)
            return {
                number
                for each in channel.deadlines.live()
                for number in wanted[
                    bisect_left(wanted, each.first_id) : bisect_left(wanted, each.first_id + each.count)
                ]
                if each.holds(_seq(each, number))
            }

        found: set[int] = self.locked(look)
        return found

    def sample(self, channel: Channel, deliveries: Sequence[Delivery], is_wanted: Callable[[], bool]) -> None:
        """Throw away for the whole channel what a sampling client does not get."""

        def discard(_: Broker) -> None:
            for delivery in deliveries:
                for seq in range(delivery.first_seq, delivery.first_seq + delivery.count):
                    if not is_wanted() and delivery.holds(seq):
                        channel.discard(seq, delivery)
            self._answered()

        self.locked(discard)
        self.wake()

    def set_ready(self, channel: Channel, consumer: Consumer, count: int) -> None:
        """Change a client's ceiling."""

        def change(broker: Broker) -> None:
            consumer.rdy_count = count
            if channel.waiters:
                broker.attend(channel)

        self.locked(change)
        self.wake()


def _held(consumer: Consumer) -> Held:
    assert consumer.held is not None
    return consumer.held


def _seq(delivery: Delivery, number: int) -> int:
    return delivery.first_seq + number - delivery.first_id


def _finish(channel: Channel, held: Held, numbers: Sequence[int], now_ns: int, wall_ns: int) -> list[int]:
    """As many ids at once as follow one another inside one delivery."""
    missed: list[int] = []
    at, end = 0, len(numbers)
    while at < end:
        number = numbers[at]
        delivery = held.find(number)
        if delivery is None:
            missed.append(at)
            at += 1
            continue
        count = min(end - at, delivery.first_id + delivery.count - number)
        seq = _seq(delivery, number)
        if not isinstance(numbers, range):
            count = _length_in_order(numbers[at : at + count])
        if count > 1 and channel.finish(seq, delivery, count, now_ns, wall_ns):
            at += count
            continue
        if not channel.finish(seq, delivery, 1, now_ns, wall_ns):
            missed.append(at)
        at += 1
    return missed


def _length_in_order(numbers: Sequence[int]) -> int:
    """How many of these follow one another from the first on; perhaps not the most."""
    count = len(numbers)
    while count > 1 and numbers[count - 1] - numbers[0] != count - 1:
        count //= 2
    while count > 1 and any(after - before != 1 for before, after in pairwise(numbers[:count])):
        count //= 2
    return count
