"""Code under test that consumes by itself, in threads and tasks: `drain` waits for it, and knows when it is idle."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

import nsqlite
from nsqlite import aio
from nsqlite.errors import ClosedError, MisuseError, NodeFailedError
from nsqlite.testing import Nsq
from nsqlite.testing import nsq as opened
from tests.fakes.caller import Caller

ROUNDS = 20  # what may hang, or be missed, seldom does


@pytest.fixture
def queue() -> Iterator[Nsq]:
    """A node that must end sound."""
    with opened(topics=["orders:billing", "mail:sender"]) as made:
        yield made


def threads(work: Callable[[], object], count: int = 1) -> list[threading.Thread]:
    """Threads that work until they are through, or their node is closed."""

    def run() -> None:
        with suppress(ClosedError):
            work()

    made = [threading.Thread(target=run, name=f"worker-{number}", daemon=True) for number in range(count)]
    for each in made:
        each.start()
    return made


def consumers(queue: Nsq, work: Callable[[], object], count: int = 1) -> list[threading.Thread]:
    """Threads that have come to the channel."""
    made = threads(work, count)
    queue.wait_for_consumers("orders", "billing", count)
    return made


def forward(queue: Nsq, timeout: float | None = None) -> None:
    """Orders become mails, until the node closes; what comes at the timeout becomes one, too."""
    channel = queue.node.topic("orders").channel("billing")
    while True:
        message = channel.receive(timeout)
        if message is None:
            queue.publish("mail", b"idle")
            continue
        with message:
            queue.publish("mail", message.body)


@pytest.mark.parametrize("count", [1, 4])
def test_drain_waits_for_threads(count: int) -> None:
    """All that was published has been handled when it returns, round after round."""
    for _ in range(ROUNDS):
        with opened(topics=["orders:billing", "mail:sender"]) as queue:
            consumers(queue, partial(forward, queue), count)
            for number in range(5):
                queue.publish_many("orders", [b"x"] * 4)
                queue.drain()
                queue.assert_published("mail", count=4 * (number + 1))
                queue.assert_empty("orders")


def test_drain_waits_for_threads_that_consume(queue: Nsq) -> None:
    """An iterator is a `receive` like any other."""
    seen: list[bytes] = []

    def consume() -> None:
        with queue.node.topic("orders").channel("billing").consume(max_in_flight=3) as consumer:
            for message in consumer:
                with message:
                    seen.append(message.body)

    [thread] = consumers(queue, consume)
    queue.publish_many("orders", [b"0", b"1", b"2"])
    queue.drain()

    assert seen == [b"0", b"1", b"2"]
    queue.node.close()
    thread.join(20)


def test_threads_and_handlers_go_on_together(queue: Nsq) -> None:
    """A thread makes mails of orders, a handler orders of mails, until both have enough."""
    bodies: list[bytes] = []

    def answer(message: nsqlite.Message) -> None:
        bodies.append(message.body)
        if len(message.body) < 20:
            queue.publish("orders", message.body + b".")

    consumers(queue, lambda: forward(queue))
    queue.on("mail", "sender", answer)
    queue.publish("orders", b".")
    queue.drain()

    assert [len(body) for body in bodies] == list(range(1, 21))


def test_thread_whose_time_has_come_is_waited_for(queue: Nsq) -> None:
    """What it does when nothing has come for a while is done when `drain` returns."""
    consumers(queue, lambda: forward(queue, timeout=30))

    for number in range(1, ROUNDS):
        queue.clock.advance(30)
        queue.drain()
        queue.assert_published("mail", body=b"idle", count=number)


def test_thread_that_sleeps_on_the_clock_is_idle(queue: Nsq) -> None:
    """With its message in hand; a jump lets it go on."""

    def work() -> None:
        channel = queue.node.topic("orders").channel("billing")
        while True:
            with channel.receive() as message:
                queue.clock.sleep(20)
                queue.publish("mail", message.body)

    consumers(queue, work)
    queue.publish_many("orders", [b"0", b"1", b"2"])

    queue.drain()
    queue.assert_published("mail", count=0)
    queue.drain(jump=True)

    queue.assert_published("mail", bodies=[b"0", b"1", b"2"])
    assert queue.clock.now == 60.0


def test_hours_of_backoff_in_a_thread_take_no_time(queue: Nsq) -> None:
    """Time jumps from one attempt to the next, and each is made by the thread."""
    attempts: list[tuple[float, int]] = []

    def work() -> None:
        channel = queue.node.topic("orders").channel("billing")
        while True:
            message = channel.receive()
            assert message is not None
            attempts.append((queue.clock.now, message.attempts))
            if message.attempts < 5:
                message.requeue(delay=3600)
            else:
                message.finish()

    consumers(queue, work)
    queue.publish("orders", b"x")
    queue.drain(jump=True)

    assert attempts == [(3600.0 * number, number + 1) for number in range(5)]


def test_thread_that_ends_is_not_waited_for(queue: Nsq) -> None:
    """It took one message, and that was it."""

    def work() -> None:
        with queue.node.topic("orders").channel("billing").receive() as message:
            queue.publish("mail", message.body)

    for _ in range(ROUNDS):
        queue.publish("orders", b"x")
        [thread] = threads(work)
        queue.history.wait_until(lambda: queue.node.topic("orders").channel("billing").depth == 0, 20)
        queue.drain()
        thread.join(20)

    queue.assert_finished("orders", "billing", count=ROUNDS)


def test_thread_that_does_not_come_back_is_named(queue: Nsq) -> None:
    """At the timeout, with the table of what happened."""
    may_end, has_begun = threading.Event(), threading.Event()

    def work() -> None:
        with queue.node.topic("orders").channel("billing").receive():
            has_begun.set()
            assert may_end.wait(20)

    queue.publish("orders", b"stuck")
    [thread] = threads(work)
    assert has_begun.wait(20)

    with pytest.raises(AssertionError, match=r"still busy after 0.1 s of real time, .*: worker-0") as caught:
        queue.drain(timeout=0.1)

    assert "delivered  orders  billing  1                'stuck'" in str(caught.value)
    may_end.set()
    thread.join(20)
    queue.drain()
    queue.assert_empty()


def test_consumers_that_connect_again_are_waited_for(queue: Nsq) -> None:
    """A crash is seen by all who wait, and `drain` waits until they have come back, or have ended."""

    def work() -> None:
        while True:
            with suppress(NodeFailedError):
                forward(queue)

    consumers(queue, work, 2)
    for number in range(1, ROUNDS):
        queue.crash()
        queue.wait_for_consumers("orders", "billing", 2)
        queue.publish_many("orders", [b"x", b"y"])
        queue.drain()
        queue.assert_published("mail", count=2 * number)
        queue.clock.advance(1)


def test_end_of_a_consumer_is_waited_for(queue: Nsq) -> None:
    """What it does behind its loop is done when `drain` returns."""
    for number in range(1, ROUNDS):
        consumer = queue.node.topic("orders").channel("billing").consume()

        def work(consumer: nsqlite.Consumer = consumer) -> None:
            for _ in consumer:
                raise AssertionError("there is nothing")
            queue.publish("mail", b"bye")

        consumers(queue, work)
        queue.drain()
        consumer.close()
        queue.drain()
        queue.assert_published("mail", count=number)


# -- tasks ---------------------------------------------------------------------------------


async def forward_async(queue: Nsq) -> None:
    """Orders become mails, in a task."""
    face = aio.face(queue.node)
    async with face.topic("orders").channel("billing").consume() as consumer:
        async for message in consumer:
            async with message:
                await asyncio.sleep(0)
                await face.publish("mail", message.body)


async def test_drained_waits_for_tasks(queue: Nsq) -> None:
    """As `drain` for threads; the loop goes on."""
    tasks = [asyncio.ensure_future(forward_async(queue)) for _ in range(3)]
    for number in range(1, ROUNDS):
        queue.publish_many("orders", [b"x"] * 3)
        await queue.drained()
        queue.assert_published("mail", count=3 * number)
        queue.assert_empty("orders")

    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)


async def test_drained_runs_handlers_of_both_kinds(queue: Nsq) -> None:
    """Plain ones in the loop, too."""
    seen: list[bytes] = []

    async def handle(message: aio.Message) -> None:
        await asyncio.sleep(0)
        queue.publish("mail", message.body)

    queue.on("orders", "billing", handle)
    queue.on("mail", "sender", lambda message: seen.append(message.body))
    queue.publish_many("orders", [b"0", b"1"])

    await queue.drained()

    assert seen == [b"0", b"1"]
    queue.assert_empty()


async def test_drained_waits_for_threads(queue: Nsq) -> None:
    """Those beside the loop."""
    await asyncio.to_thread(consumers, queue, lambda: forward(queue))
    for number in range(1, ROUNDS):
        queue.publish("orders", b"x")
        await queue.drained()
        queue.assert_published("mail", count=number)


async def test_drained_jumps_while_tasks_sleep(queue: Nsq) -> None:
    """A task that sleeps on the clock with a message in hand is idle."""

    async def work() -> None:
        channel = aio.face(queue.node).topic("orders").channel("billing")
        while True:
            async with await channel.receive() as message:
                await queue.clock.asleep(10)
                queue.publish("mail", message.body)

    task = asyncio.ensure_future(work())
    queue.publish_many("orders", [b"0", b"1", b"2"])

    await queue.drained()
    queue.assert_published("mail", count=0)
    await queue.drained(jump=True)

    queue.assert_published("mail", bodies=[b"0", b"1", b"2"])
    assert queue.clock.now == 30.0
    task.cancel()
    await asyncio.wait([task])


def test_consumers_that_do_not_come_are_told_of(queue: Nsq) -> None:
    """With how many have."""
    consumers(queue, lambda: forward(queue))

    with pytest.raises(AssertionError, match=r"1 of 2 consumers have come to orders:billing within 0\.1 s"):
        queue.wait_for_consumers("orders", "billing", 2, timeout=0.1)


async def test_drained_names_a_task_that_does_not_come_back(queue: Nsq) -> None:
    """At the timeout."""
    never = asyncio.Event()

    async def work() -> None:
        async with await aio.face(queue.node).topic("orders").channel("billing").receive():
            await never.wait()

    task = asyncio.ensure_future(work())
    queue.publish("orders", b"stuck")

    with pytest.raises(AssertionError, match=r"still busy after 0.1 s of real time, .*work"):
        await queue.drained(timeout=0.1)

    task.cancel()
    await asyncio.wait([task])


async def test_drained_raises_what_a_handler_raised(queue: Nsq) -> None:
    """In a loop as without one."""

    async def fail(_: aio.Message) -> None:
        raise ZeroDivisionError

    queue.on("orders", "billing", fail)
    queue.publish("orders", b"x")

    with pytest.raises(ZeroDivisionError):
        await queue.drained()


def test_drained_works_in_any_loop(queue: Nsq) -> None:
    """One after the other: each has a face of the node of its own."""
    seen: list[bytes] = []

    async def handle(message: aio.Message) -> None:
        seen.append(message.body)

    queue.on("orders", "billing", handle)
    for body in (b"0", b"1"):
        queue.publish("orders", body)
        asyncio.run(queue.drained())
    queue.publish("orders", b"2")
    queue.drain()

    assert seen == [b"0", b"1", b"2"]


# -- nobody hangs --------------------------------------------------------------------------


@pytest.mark.nsq(topics=["orders:billing", "mail:sender"], msg_timeout=600)
def test_many_publish_and_consume_while_the_test_drains_and_moves_time(nsq: Nsq) -> None:
    """No lock is taken in two orders: publishers, consumers, a clock and a history at once."""
    queue, is_over = nsq, threading.Event()

    def publish() -> None:
        for number in range(60):
            queue.publish("orders", b"x", delay=number % 3)

    def move() -> None:
        while not is_over.is_set():
            queue.clock.advance(0.001)

    workers = consumers(queue, lambda: forward(queue, timeout=1), 3)
    publishers = threads(publish, 3)
    [clock] = threads(move)
    for each in publishers:
        while each.is_alive():
            with suppress(AssertionError):
                queue.drain(timeout=0.05)
            each.join(0.001)
    is_over.set()
    clock.join(20)
    queue.clock.advance(3)
    queue.drain(timeout=20)

    queue.assert_finished("orders", "billing", count=180)
    queue.node.close()
    for each in workers:
        each.join(20)
        assert not each.is_alive()


# -- threads that sleep on the clock -------------------------------------------------------


def test_thread_that_the_clock_has_woken_is_waited_for(queue: Nsq) -> None:
    """What a cron thread does between two sleeps is done when `drain` returns."""

    def tick() -> None:
        while True:
            queue.clock.sleep(60)
            queue.publish("ticks", b"t")

    threads(tick)
    queue.clock.wait_for_sleepers()
    for number in range(1, ROUNDS):
        queue.clock.advance(60)
        queue.drain()
        queue.assert_published("ticks", count=number)


def test_woken_thread_that_waits_for_a_message_or_ends_is_idle(queue: Nsq) -> None:
    """Whichever it does, `drain` returns; so it does when a pool has its thread back."""

    def sleep_and(work: Callable[[], object]) -> None:
        queue.clock.sleep(60)
        work()

    with ThreadPoolExecutor() as pool:
        threads(lambda: sleep_and(lambda: forward(queue)))
        threads(lambda: sleep_and(lambda: queue.publish("ticks", b"thread")))
        pool.submit(sleep_and, lambda: queue.publish("ticks", b"pool"))
        queue.clock.wait_for_sleepers(3)
        queue.clock.advance(60)
        queue.publish("orders", b"x")
        queue.drain()

    queue.assert_published("ticks", count=2)
    queue.assert_published("mail", body=b"x", count=1)


@pytest.mark.parametrize("reraise", [True, False])
def test_handler_that_sleeps_on_the_clock_is_refused(queue: Nsq, reraise: bool) -> None:
    """The thread that would wake it is its own."""
    queue.on("orders", "billing", lambda _: queue.clock.sleep(50), reraise=reraise)
    queue.publish("orders", b"x")

    with pytest.raises(MisuseError, match="use an async handler"):
        queue.drain(jump=True)


def test_drain_in_two_threads_is_refused(queue: Nsq) -> None:
    """Each would run the other's handlers."""
    refused: list[BaseException] = []

    def drain_elsewhere(_: nsqlite.Message) -> None:
        with pytest.raises(MisuseError, match="in another thread") as caught:
            Caller(queue.drain).outcome()
        refused.append(caught.value)

    queue.on("orders", "billing", drain_elsewhere)
    queue.publish("orders", b"x")
    queue.drain()

    assert len(refused) == 1


async def test_blocking_calls_in_a_loop_are_refused(queue: Nsq) -> None:
    """Each names what to use."""
    with pytest.raises(MisuseError, match="await_for"):
        queue.wait_for("orders")
    with pytest.raises(MisuseError, match="to_thread"):
        queue.wait_for_consumers("orders", "billing")
    with pytest.raises(MisuseError, match="to_thread"):
        queue.clock.wait_for_sleepers()
    with pytest.raises(MisuseError, match="asleep"):
        queue.clock.sleep(1)
