"""The stock on nsqlite: a thread, a task and a plain handler, all in virtual time."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from shop.stock import Picker, buy, buyer

import nsqlite.aio
from nsqlite.testing import Clock, Nsq


def order(article: str) -> bytes:
    """An order as the web shop publishes it."""
    return json.dumps({"id": 7, "article": article}).encode()


@pytest.fixture
def shelf() -> Counter[str]:
    """What is there: two hats."""
    return Counter(hat=2)


@pytest.fixture
def picker(nsq: Nsq, shelf: Counter[str]) -> Iterator[Picker]:
    """A picker at work."""
    picker = Picker(nsq.node, shelf)
    picker.start()
    nsq.wait_for_consumers("orders", "stock")
    yield picker
    picker.stop()


def test_orders_are_picked_in_order(nsq: Nsq, picker: Picker, shelf: Counter[str]) -> None:
    """Each order takes one article; the last one says that there are no more."""
    nsq.publish_many("orders", [order("hat"), order("hat")])

    nsq.drain()

    nsq.assert_finished("orders", "stock", count=2, attempts=1)
    nsq.assert_published("sold-out", bodies=[b"hat"])
    assert shelf["hat"] == 0


def test_what_is_missing_is_looked_for_every_hour(
    nsq: Nsq, nsq_clock: Clock, picker: Picker, shelf: Counter[str]
) -> None:
    """An order that cannot be filled waits an hour, and is filled when the article came meanwhile."""
    nsq.publish("orders", order("scarf"))
    nsq.drain()
    nsq.assert_requeued("orders", "stock", delay=3600)

    shelf["scarf"] = 5
    nsq_clock.advance(3600)
    nsq.drain()

    nsq.assert_finished("orders", "stock", attempts=2)
    nsq.assert_empty()


def test_the_third_failure_is_a_dead_letter(nsq: Nsq, nsq_clock: Clock, picker: Picker) -> None:
    """What is still missing after two hours goes to the dead letters, and nowhere else."""
    nsq.publish("orders", order("scarf"))

    nsq.drain(jump=True)

    nsq.assert_requeued("orders", "stock", delay=3600, count=2)
    nsq.assert_published("orders.dead", where=lambda body: b"scarf" in body, count=1)
    nsq.assert_empty()
    assert nsq_clock.now == pytest.approx(2 * 3600)


def test_a_crash_gives_the_order_back(nsq: Nsq, shelf: Counter[str]) -> None:
    """Killed with an order in hand, the shop picks it after the restart."""
    stock = nsq.node.topic("orders").channel("stock")
    nsq.publish("orders", order("hat"))
    assert stock.receive(timeout=0) is not None

    nsq.crash()
    picker = Picker(nsq.node, shelf)
    picker.start()
    nsq.wait_for("orders", "stock", "finished")
    picker.stop()

    nsq.assert_finished("orders", "stock", attempts=2)
    assert shelf["hat"] == 1


def test_buying_needs_no_task_to_be_tested(nsq: Nsq) -> None:
    """The handler alone, run by the test: the supplier is asked, and a look a day later is planned."""

    async def handle(message: nsqlite.aio.Message) -> None:
        await buy(nsqlite.aio.face(nsq.node), message)

    nsq.on("sold-out", "buyer", handle)
    nsq.publish("sold-out", b"hat")

    nsq.drain()

    nsq.assert_published("supplier", body=b"please send hat")
    nsq.assert_published("look-for", body=b"hat", delay=24 * 3600)


@pytest.mark.asyncio
async def test_the_buyer_is_a_task(nsq: Nsq, nsq_clock: Clock) -> None:
    """The task itself, beside the test in one loop; what it planned for tomorrow is due tomorrow."""
    node = nsqlite.aio.face(nsq.node)
    task = asyncio.create_task(buyer(node))
    await node.publish("sold-out", b"hat")
    await nsq.drained()
    nsq.assert_finished("sold-out", "buyer", count=1)

    tomorrow = node.topic("look-for").channel("buyer")
    assert await tomorrow.receive(timeout=0) is None
    nsq_clock.advance(24 * 3600)
    async with await tomorrow.receive(timeout=0) as message:
        assert message.body == b"hat"

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    nsq.assert_empty()
