"""Who takes messages by itself, and who of them is busy."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from nsqlite import aio
from nsqlite.errors import NodeClosedError
from nsqlite.testing.callers import Callers
from nsqlite.testing.nsq import Nsq
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS


@pytest.fixture
def queue() -> Iterator[Nsq]:
    """A node with a channel."""
    made = Nsq(topics=["orders:billing"])
    yield made
    made.check()
    made.close()


@pytest.fixture
def callers(queue: Nsq) -> Callers:
    """Who takes messages of it."""
    return queue._subject.witness.callers


class Worker:
    """A thread that takes one message, holds it until it is told, and does so again until there is none in time."""

    def __init__(self, queue: Nsq, timeout: float | None = 5.0) -> None:
        self._channel = queue.node.topic("orders").channel("billing")
        self._timeout = timeout
        self.has_taken = threading.Event()
        self.may_finish = threading.Event()
        self.ended = Caller(self._run)

    def _run(self) -> None:
        while (message := self._channel.receive(self._timeout)) is not None:
            self.has_taken.set()
            assert self.may_finish.wait(PATIENCE_SECONDS)
            message.finish()


def idle(queue: Nsq) -> bool:
    """Whether all wait, some day soon."""
    callers = queue._subject.witness.callers
    return queue.history.wait_until(lambda: not callers.busy() and bool(callers.channels()), PATIENCE_SECONDS)


def test_nobody_is_busy_where_nobody_takes(callers: Callers) -> None:
    """The beginning."""
    assert callers.busy() == []
    assert callers.channels() == []


def test_thread_is_busy_with_a_message_and_idle_while_it_waits(queue: Nsq, callers: Callers) -> None:
    """From the moment it is woken until it waits again."""
    worker = Worker(queue)
    assert idle(queue)

    queue.publish("orders", b"x")
    woken = callers.busy()
    assert worker.has_taken.wait(PATIENCE_SECONDS)
    holding = callers.busy()
    worker.may_finish.set()

    assert [each.name for each in woken] == [each.name for each in holding] == ["caller"]
    assert idle(queue)
    assert callers.channels() == [queue.node.topic("orders").channel("billing")._core]
    queue.clock.advance(5)
    worker.ended.outcome()
    assert callers.channels() == []


def test_thread_whose_time_has_come_is_busy_until_it_has_seen_it(queue: Nsq, callers: Callers) -> None:
    """Time wakes as a message does."""
    worker = Worker(queue, timeout=5)
    assert idle(queue)

    queue.clock.advance(4)
    early = callers.busy()
    with queue.node.engine.lock:  # so that it cannot go on before it was looked at
        queue.clock.advance(1)
        late = callers.busy()
    worker.ended.outcome()

    assert (early, len(late)) == ([], 1)
    assert callers.busy() == []


def test_thread_that_ends_is_forgotten(queue: Nsq, callers: Callers) -> None:
    """One that holds a message, too: nobody answers for it any more."""
    queue.publish("orders", b"x")
    Caller(lambda: queue.node.topic("orders").channel("billing").receive(timeout=0)).outcome()

    assert callers.busy() == []
    assert callers.channels() == []


def test_who_looks_and_gets_nothing_is_not_busy(queue: Nsq, callers: Callers) -> None:
    """It looked once, and goes its way."""
    asked, may_end = threading.Event(), threading.Event()

    def look() -> None:
        assert queue.node.topic("orders").channel("billing").receive(timeout=0) is None
        asked.set()
        assert may_end.wait(PATIENCE_SECONDS)

    looker = Caller(look)
    assert asked.wait(PATIENCE_SECONDS)

    assert callers.busy() == []
    may_end.set()
    looker.outcome()


def test_who_asks_is_not_busy(queue: Nsq, callers: Callers) -> None:
    """A test that holds a message itself does not wait for itself."""
    queue.publish("orders", b"x")
    message = queue.node.topic("orders").channel("billing").receive(timeout=0)

    assert message is not None
    assert callers.busy() == []
    assert Caller(callers.busy).outcome() == [threading.current_thread()]


def test_who_is_turned_away_is_not_busy(queue: Nsq, callers: Callers) -> None:
    """A thread that went on after its node was gone has nothing of it in hand."""
    ended, may_end = threading.Event(), threading.Event()
    channel = queue.node.topic("orders").channel("billing")

    def receive() -> None:
        with pytest.raises(NodeClosedError):
            channel.receive()
        ended.set()
        assert may_end.wait(PATIENCE_SECONDS)

    receiver = Caller(receive)
    assert idle(queue)

    queue.node.close()
    assert ended.wait(PATIENCE_SECONDS)

    assert callers.busy() == []
    may_end.set()
    receiver.outcome()


def test_who_sleeps_on_the_clock_is_idle_with_a_message_in_hand(queue: Nsq, callers: Callers) -> None:
    """Time is the test's, so it is not waited for."""
    channel = queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x")

    def work() -> None:
        message = channel.receive(timeout=0)
        assert message is not None
        queue.clock.sleep(10)
        message.finish()

    worker = Caller(work)
    assert queue.history.wait_until(lambda: bool(queue.clock._sleepers) and not callers.busy(), PATIENCE_SECONDS)

    queue.clock.advance(10)
    worker.outcome()

    queue.assert_finished("orders", "billing", count=1)


async def test_tasks_are_told_apart(queue: Nsq, callers: Callers) -> None:
    """Each is a caller of its own, in one loop."""
    channel = aio.face(queue.node).topic("orders").channel("billing")
    may_finish = asyncio.Event()

    async def work() -> None:
        message = await channel.receive()
        assert message is not None
        await may_finish.wait()
        await message.finish()

    tasks = [asyncio.ensure_future(work()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting = callers.busy()
    queue.publish("orders", b"x")
    for _ in range(5):  # the other one is woken, too, to watch the time
        await asyncio.sleep(0)
    holding = callers.busy()
    queue.publish("orders", b"y")
    may_finish.set()
    await asyncio.gather(*tasks)

    assert (waiting, holding) == ([], [tasks[0]])
    assert callers.busy() == []


async def test_task_that_gave_up_waiting_is_not_busy(queue: Nsq, callers: Callers) -> None:
    """Cancelled in `receive` it has taken nothing, though it goes on."""
    channel = aio.face(queue.node).topic("orders").channel("billing")
    may_end = asyncio.Event()

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await channel.receive()
        await may_end.wait()

    task = asyncio.ensure_future(work())
    for _ in range(5):
        await asyncio.sleep(0)

    assert callers.busy() == []
    may_end.set()
    await task


def test_task_of_a_closed_loop_is_forgotten(queue: Nsq, callers: Callers) -> None:
    """It never ends, and never goes on."""
    loop = asyncio.new_event_loop()

    async def work() -> None:
        await aio.face(queue.node).topic("orders").channel("billing").receive()
        await asyncio.Event().wait()

    queue.publish("orders", b"x")
    task = loop.create_task(work())
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run_forever()
    assert callers.busy() == [task]
    loop.close()

    assert callers.busy() == []
    task._log_destroy_pending = False


def test_who_was_woken_by_the_clock_is_busy_until_it_ends(queue: Nsq, callers: Callers) -> None:
    """Though it never takes a message."""
    may_end = threading.Event()

    def work() -> None:
        queue.clock.sleep(10)
        assert may_end.wait(PATIENCE_SECONDS)

    worker = Caller(work)
    queue.clock.wait_for_sleepers()
    before = callers.busy()
    queue.clock.advance(10)
    after = callers.busy()
    may_end.set()
    worker.outcome()

    assert (before, len(after), callers.busy()) == ([], 1, [])
