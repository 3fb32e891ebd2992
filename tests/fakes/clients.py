"""What a listener has of its clients, without a listener: consumers that know by id what they hold."""

import nsqlite
from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.held import Held
from nsqlite.engine import Engine
from nsqlite.options import SECOND_NS

BUDGET_BYTES = 1 << 18
TIMEOUT_NS = 60 * SECOND_NS


class Waiter:
    """One who counts how often it was woken."""

    def __init__(self) -> None:
        self.wake_count = 0

    def wake(self) -> None:
        """Count."""
        self.wake_count += 1


class Client:
    """What a listener has of a client: a consumer that knows by id what it holds, and a waiter."""

    def __init__(self, engine: Engine, channel: Channel, rdy_count: int = 100) -> None:
        self._engine, self.channel = engine, channel
        self.consumer = Consumer("", rdy_count, TIMEOUT_NS)
        self.consumer.held = Held()
        self.waiter = Waiter()
        engine.add_consumer(channel, self.consumer)

    def pull(self, budget_bytes: int = BUDGET_BYTES) -> tuple[list[Delivery], int, int]:
        """Take what there is room for."""
        return self._engine.pull(self.channel, self.consumer, self.waiter, budget_bytes)

    def take(self) -> list[int]:
        """The ids of what there is room for."""
        return ids(self.pull()[0])

    def finish(self, *numbers: int) -> list[int]:
        """Finish by id; the indexes of what it does not hold."""
        return self._engine.finish_numbers(self.channel, self.consumer, numbers)

    def requeue(self, number: int, delay_ns: int = 0) -> bool:
        """Put back by id."""
        return self._engine.requeue_number(self.channel, self.consumer, number, delay_ns)

    def touch(self, number: int) -> bool:
        """Touch by id."""
        return self._engine.touch_number(self.channel, self.consumer, number)

    def set_ready(self, count: int) -> None:
        """Change its ceiling."""
        self._engine.set_ready(self.channel, self.consumer, count)


def ids(deliveries: list[Delivery]) -> list[int]:
    """What was handed over, by id."""
    return [number for each in deliveries for number in range(each.first_id, each.first_id + each.count)]


def numbers(delivery: Delivery) -> list[int]:
    """The ids that a delivery still holds."""
    return [delivery.first_id + seq - delivery.first_seq for seq in delivery.seqs()]


def publish(node: nsqlite.Node, count: int) -> list[int]:
    """Publish several; their ids."""
    return [int(each, 16) for each in node.publish_many("orders", [b"x"] * count)]
