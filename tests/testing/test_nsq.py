"""NSQ inside a test: handlers run until nothing is left to do, and time goes where the test says."""

import asyncio
import functools
import threading
import unittest
from collections.abc import Iterator
from typing import Any

import pytest

import nsqlite
from nsqlite.errors import InvalidOptionError, MisuseError, NodeFailedError, StorageFailedError, StoreFullError
from nsqlite.testing import Clock, Nsq, nsq

HOUR = 3600.0


@pytest.fixture
def queue() -> Iterator[Nsq]:
    """A node that must end sound."""
    with nsq() as made:
        yield made


class Service:
    """Handlers as a user writes them: orders make mails; what fails is tried again later, ever later."""

    def __init__(self, queue: Nsq, failing: int = 0) -> None:
        self.queue, self.failing = queue, failing
        self.seen: list[tuple[float, bytes, int]] = []

    def handle(self, message: nsqlite.Message) -> None:
        """Fail so many times."""
        self.seen.append((self.queue.clock.now, message.body, message.attempts))
        if message.attempts <= self.failing:
            message.requeue(delay=60.0 * 2**message.attempts)
            return
        self.queue.publish("mail", message.body)

    async def handle_async(self, message: nsqlite.aio.Message) -> None:
        """The same for asyncio."""
        self.seen.append((self.queue.clock.now, message.body, message.attempts))
        if message.attempts <= self.failing:
            await message.requeue(delay=60.0 * 2**message.attempts)
            return
        self.queue.publish("mail", message.body)


# -- handlers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["handle", "handle_async"])
def test_drain_runs_handlers_until_nothing_is_left(queue: Nsq, name: str) -> None:
    """One message after the other, in order, those too that a handler publishes."""
    service = Service(queue)
    mails: list[bytes] = []
    queue.on("orders", "billing", getattr(service, name))
    queue.on("mail", "sender", lambda message: mails.append(message.body))
    queue.publish_many("orders", [b"0", b"1", b"2"])

    queue.drain()

    assert [body for _, body, _ in service.seen] == mails == [b"0", b"1", b"2"]
    queue.assert_finished("orders", "billing", count=3)
    queue.assert_empty()


def test_drain_of_nothing_ends(queue: Nsq) -> None:
    """Without handlers, or without messages for them."""
    queue.drain()
    queue.on("orders", "billing", print)
    queue.drain()
    queue.drain(jump=True)

    assert (queue.clock.now, len(queue.history)) == (0.0, 0)


def test_messages_of_channels_without_handler_stay(queue: Nsq) -> None:
    """They are for the test to look at."""
    queue.node.topic("mail").channel("sender")
    queue.publish("mail", b"x")

    queue.drain()

    assert queue.node.topic("mail").channel("sender").depth == 1


def test_handler_may_answer_by_itself(queue: Nsq) -> None:
    """What it has answered is left as it is."""
    queue.on("orders", "billing", lambda message: message.requeue(delay=10) if message.attempts == 1 else None)
    queue.publish("orders", b"x")

    queue.drain()
    queue.assert_requeued("orders", "billing", delay=10, count=1)
    queue.assert_finished("orders", "billing", count=0)
    queue.clock.advance(10)
    queue.drain()

    queue.assert_finished("orders", "billing", attempts=2)


class Asynchronous:
    """Whose instances are async functions."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, message: nsqlite.aio.Message) -> None:
        """Keep the body."""
        self.bodies.append(message.body)


def test_async_handlers_are_told_by_what_they_are(queue: Nsq) -> None:
    """Functions, methods, partial ones, and objects that are called."""
    service, called = Service(queue), Asynchronous()

    async def with_name(name: str, message: nsqlite.aio.Message) -> None:
        called.bodies.append(name.encode() + message.body)

    queue.on("orders", "method", service.handle_async)
    queue.on("orders", "object", called)
    queue.on("orders", "partial", functools.partial(with_name, "name:"))
    queue.publish("orders", b"x")

    queue.drain()

    assert [body for _, body, _ in service.seen] == [b"x"]
    assert sorted(called.bodies) == [b"name:x", b"x"]


def test_coroutine_of_a_plain_handler_is_refused(queue: Nsq) -> None:
    """Its work would never be done."""
    handler = Asynchronous()
    queue.on("orders", "billing", lambda message: handler(message))  # noqa: PLW0108  # what hides that it is async
    queue.publish("orders", b"x")

    with pytest.raises(MisuseError, match="give an async function"):
        queue.drain()


def test_loop_of_async_handlers_is_nobody_elses(queue: Nsq) -> None:
    """The thread's own event loop stays what it was."""
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    called = Asynchronous()
    queue.on("orders", "billing", called)
    queue.publish("orders", b"x")

    queue.drain()
    queue.close()

    assert called.bodies == [b"x"]
    assert asyncio.get_event_loop_policy().get_event_loop() is own
    own.close()
    asyncio.set_event_loop(None)


def test_handler_may_drain(queue: Nsq) -> None:
    """A plain one that waits for what it has set off."""
    queue.on("mail", "sender", lambda _: None)

    def handle(message: nsqlite.Message) -> None:
        queue.publish("mail", message.body)
        queue.drain()
        queue.assert_finished("mail", "sender", count=1)

    queue.on("orders", "billing", handle)
    queue.publish("orders", b"x")

    queue.drain()

    queue.assert_empty()


# -- failures ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_failure_is_raised_where_the_test_sees_it(queue: Nsq, is_async: bool) -> None:
    """As it was, with a note of whose it is; its message was requeued, and comes again when the test goes on."""
    error = ZeroDivisionError("no such price")

    def fail(message: Any) -> None:
        if message.attempts == 1:
            raise error

    async def fail_async(message: Any) -> None:
        fail(message)

    queue.on("orders", "billing", fail_async if is_async else fail)
    queue.publish("orders", b"x")

    with pytest.raises(ZeroDivisionError) as caught:
        queue.drain()

    assert caught.value is error
    assert error.__notes__ == ["raised by the handler of orders:billing"]
    assert queue.failures == [error]
    queue.assert_requeued("orders", "billing", count=1)
    queue.drain()
    queue.assert_finished("orders", "billing", attempts=2)


@pytest.mark.parametrize("is_async", [False, True])
def test_failures_are_collected_when_they_belong_to_the_test(queue: Nsq, is_async: bool) -> None:
    """A service that retries is left to do so."""

    def fail(message: Any) -> None:
        if message.attempts < 4:
            raise ValueError(message.attempts)

    async def fail_async(message: Any) -> None:
        fail(message)

    queue.on("orders", "billing", fail_async if is_async else fail, reraise=False)
    queue.publish("orders", b"x")

    queue.drain()

    assert [error.args for error in queue.failures] == [(1,), (2,), (3,)]
    queue.assert_finished("orders", "billing", attempts=4)


@pytest.mark.parametrize("outcome", [pytest.fail.Exception, pytest.skip.Exception, KeyboardInterrupt])
def test_what_ends_a_test_ends_it_inside_a_handler(queue: Nsq, outcome: type[BaseException]) -> None:
    """Whether or not failures are collected."""

    def end(_: Any) -> None:
        raise outcome("the test is over")

    queue.on("orders", "billing", end, reraise=False)
    queue.publish("orders", b"x")

    with pytest.raises(outcome):
        queue.drain()


@pytest.mark.parametrize("is_async", [False, True])
def test_handler_that_never_succeeds_does_not_hang(queue: Nsq, is_async: bool) -> None:
    """At the timeout the test fails, and the table tells what went on."""

    def fail(_: Any) -> None:
        raise ValueError

    async def fail_async(_: Any) -> None:
        raise ValueError

    queue.on("orders", "billing", fail_async if is_async else fail, reraise=False)
    queue.publish("orders", b"poison")

    with pytest.raises(AssertionError, match=r"still busy after 1 s of real time") as caught:
        queue.drain(timeout=1.0)

    assert "more before" in str(caught.value)
    assert "'poison'" in str(caught.value)


def test_handler_that_is_overtaken_by_time_is_told_so(queue: Nsq) -> None:
    """Its message has timed out while it worked."""
    queue.on("orders", "billing", lambda _: queue.clock.advance(61))
    queue.publish("orders", b"x")

    with pytest.raises(LookupError, match="not in flight"):
        queue.drain()

    queue.assert_timed_out("orders", "billing", count=1)


# -- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["handle", "handle_async"])
def test_drain_with_a_jump_takes_hours_of_backoff_at_once(queue: Nsq, name: str) -> None:
    """Each attempt comes at its time."""
    service = Service(queue, failing=6)
    queue.on("orders", "billing", getattr(service, name))
    queue.publish("orders", b"x")

    queue.drain(jump=True)

    waits = [120.0, 240.0, 480.0, 960.0, 1920.0, 3840.0]
    assert [now for now, *_ in service.seen] == [sum(waits[:count]) for count in range(7)]
    assert queue.clock.now == 7560.0
    queue.assert_published("mail", count=1)
    queue.assert_empty()


def test_drain_without_a_jump_leaves_time_alone(queue: Nsq) -> None:
    """What is due later is for the test to wait for."""
    service = Service(queue, failing=1)
    queue.on("orders", "billing", service.handle)
    queue.publish("orders", b"x")

    queue.drain()
    assert (queue.clock.now, len(service.seen)) == (0.0, 1)
    queue.clock.advance_to_next()
    queue.drain()

    assert (queue.clock.now, len(service.seen)) == (120.0, 2)


def test_jump_goes_nowhere_for_what_nobody_takes(queue: Nsq) -> None:
    """A reminder in an hour is not waited for if there is no handler for it."""
    queue.node.topic("reminders").channel("sender")
    queue.on("orders", "billing", lambda message: queue.publish("reminders", message.body, delay=HOUR))
    queue.publish("orders", b"x")

    queue.drain(jump=True)

    assert queue.clock.now == 0.0
    queue.assert_published("reminders", delay=HOUR, count=1)


def test_jump_goes_past_a_timeout(queue: Nsq) -> None:
    """A message that somebody took and let lie comes to the handler in the end."""
    queue.on("orders", "billing", lambda _: None)
    queue.publish("orders", b"x")
    queue.node.topic("orders").channel("billing").receive(timeout=0)

    queue.drain(jump=True)

    assert queue.clock.now == 60.0
    queue.assert_finished("orders", "billing", attempts=2)


def test_jump_that_never_ends_fails_at_its_timeout(queue: Nsq) -> None:
    """A job that plans itself again and again, in virtual time, still costs real time."""
    queue.on("ticks", "clock", lambda _: queue.publish("ticks", b"x", delay=60))
    queue.publish("ticks", b"x")

    with pytest.raises(AssertionError, match="still busy"):
        queue.drain(jump=True, timeout=0.1)

    assert queue.clock.now > 60


def test_async_handler_that_sleeps_on_the_clock_is_idle(queue: Nsq) -> None:
    """Time goes on when the test moves it, or jumps; other handlers go on meanwhile."""
    done: list[tuple[float, bytes]] = []

    async def handle(message: nsqlite.aio.Message) -> None:
        await queue.clock.asleep(10)
        done.append((queue.clock.now, message.body))

    queue.on("orders", "billing", handle)
    queue.on("mail", "sender", lambda message: done.append((queue.clock.now, message.body)))
    queue.publish_many("orders", [b"0", b"1"])
    queue.publish("mail", b"mail")

    queue.drain()
    assert done == [(0.0, b"mail")]
    queue.clock.advance(10)
    queue.drain()
    assert done == [(0.0, b"mail"), (10.0, b"0")]
    queue.drain(jump=True)

    assert done == [(0.0, b"mail"), (10.0, b"0"), (20.0, b"1")]


def test_async_handlers_may_wait_for_one_another(queue: Nsq) -> None:
    """A question and its answer, over two topics."""
    answers: list[bytes] = []

    async def ask(message: nsqlite.aio.Message) -> None:
        channel = nsqlite.aio.face(queue.node).topic("answers").channel("asker")
        queue.publish("questions", message.body)
        async with await channel.receive() as answer:
            answers.append(answer.body)

    async def answer(message: nsqlite.aio.Message) -> None:
        queue.publish("answers", message.body * 2)

    queue.on("orders", "billing", ask)
    queue.on("questions", "answerer", answer)
    queue.publish("orders", b"x")

    queue.drain()

    assert answers == [b"xx"]
    queue.assert_empty()


def test_async_handler_that_sleeps_at_the_end_is_no_error() -> None:
    """The block ends, and nothing is left of it."""
    with nsq() as queue:

        async def handle(_: nsqlite.aio.Message) -> None:
            await queue.clock.asleep(10)

        queue.on("orders", "billing", handle)
        queue.publish("orders", b"x")
        queue.drain()

    assert queue.failures == []


# -- paused, deleted, emptied --------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_paused_channel_gets_nothing(queue: Nsq, is_async: bool) -> None:
    """Until it goes on; draining does not wait for that."""
    called = Asynchronous()
    queue.on("orders", "billing", called if is_async else lambda message: called.bodies.append(message.body))
    channel = queue.node.topic("orders").channel("billing")
    channel.pause()
    queue.publish("orders", b"x")

    queue.drain(jump=True)
    assert called.bodies == []
    channel.unpause()
    queue.drain()

    assert called.bodies == [b"x"]


def test_deleted_topic_is_not_made_again(queue: Nsq) -> None:
    """Code under test may delete what it made."""
    queue.on("orders", "billing", lambda _: None)
    queue.node.delete_topic("orders")

    queue.drain()

    assert queue.node.topics == []


# -- misuse --------------------------------------------------------------------------------


async def test_drain_in_a_running_loop_is_refused(queue: Nsq) -> None:
    """It would block what it waits for; the error says what to do."""
    with pytest.raises(MisuseError, match=r"use `await nsq\.drained"):
        queue.drain()


@pytest.mark.parametrize("options", [{"durability": "fast"}, {"nonsense": 1}, {"msg_timeout": -1}])
def test_unknown_arguments_are_refused(options: dict[str, Any]) -> None:
    """With what there is."""
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        Nsq(**options)


def test_bad_names_are_refused_when_the_handler_is_set(queue: Nsq) -> None:
    """Not when the first message comes."""
    with pytest.raises(ValueError, match="no spaces"):
        queue.on("no spaces", "billing", print)


def test_bad_name_of_a_topic_leaves_nothing_behind() -> None:
    """No folder, and nothing on the clock."""
    clock = Clock()

    with pytest.raises(ValueError, match="no spaces"):
        Nsq("disk", clock, topics=["orders", "no spaces"])

    assert (clock.sources, clock.before, clock.told) == ([], [], [])


# -- faults --------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["memory", "commit", "fsync", "disk"])
@pytest.mark.parametrize("is_async", [False, True])
def test_handlers_go_on_after_a_crash(durability: Any, is_async: bool) -> None:
    """With the new node; their channels are there, whatever the store has kept."""
    with nsq(durability) as queue:
        called = Asynchronous()
        queue.on("orders", "billing", called if is_async else lambda message: called.bodies.append(message.body))
        before = queue.node
        queue.publish("orders", b"0")
        queue.drain()
        queue.clock.advance(1)

        queue.crash()
        queue.publish("orders", b"1")
        queue.drain()

        assert called.bodies == [b"0", b"1"]
        assert queue.node is not before
        with pytest.raises(NodeFailedError):
            before.publish("orders", b"2")
        queue.assert_published("orders", bodies=[b"0", b"1"])
        queue.assert_finished("orders", "billing", count=2)


def test_what_was_finished_a_moment_before_a_crash_comes_again(queue: Nsq) -> None:
    """Which is why handling a message twice has to be harmless; the test can show that it is."""
    seen: list[int] = []
    queue.on("orders", "billing", lambda message: seen.append(message.attempts))
    queue.publish("orders", b"x")

    queue.drain()
    queue.crash()
    queue.drain()

    assert seen == [1, 2]
    queue.assert_finished("orders", "billing", count=2)
    queue.assert_empty()


def test_crash_inside_a_handler(queue: Nsq) -> None:
    """The process was killed at work: its message comes again."""
    attempts: list[int] = []

    def handle(message: nsqlite.Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            queue.crash()

    queue.on("orders", "billing", handle)
    queue.publish("orders", b"x")

    with pytest.raises(NodeFailedError, match="killed"):
        queue.drain()
    queue.drain()

    assert attempts == [1, 2]


def test_full_disk_reaches_the_publisher(queue: Nsq) -> None:
    """A handler that cannot publish fails, and its message is tried again when there is room."""
    queue.on("orders", "billing", Service(queue).handle)
    queue.publish("orders", b"x")

    queue.fill_disk()
    with pytest.raises(StoreFullError, match="the test has filled the disk"):
        queue.drain()
    queue.free_disk()
    queue.drain()

    queue.assert_published("mail", bodies=[b"x"])
    queue.assert_finished("orders", "billing", attempts=2)


async def test_full_disk_reaches_the_publisher_in_a_loop(queue: Nsq) -> None:
    """The same through the asyncio face."""
    queue.node.topic("orders")
    queue.fill_disk()

    with pytest.raises(StoreFullError):
        await nsqlite.aio.face(queue.node).publish("orders", b"x")

    queue.assert_published("orders", count=0)


def test_publishes_fail_as_often_as_asked(queue: Nsq) -> None:
    """A disk that is broken for a moment."""
    queue.publish("orders", b"0")
    queue.fail_next_publish(2)
    for _ in range(2):
        with pytest.raises(StorageFailedError):
            queue.publish("orders", b"lost")
    queue.publish("orders", b"1")

    queue.assert_published("orders", bodies=[b"0", b"1"])


def test_forced_timeout_brings_a_message_again(queue: Nsq) -> None:
    """To a handler that was too slow for it."""
    channel = queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x")
    late = channel.receive(timeout=0)
    assert late is not None

    queue.time_out("orders", "billing")
    queue.on("orders", "billing", lambda _: None)
    queue.drain()

    assert queue.clock.now == 0.0
    with pytest.raises(LookupError):
        late.finish()
    queue.assert_timed_out("orders", "billing", attempts=1)
    queue.assert_finished("orders", "billing", attempts=2, count=1)


# -- making and ending ---------------------------------------------------------------------


def test_topics_and_options_are_there_at_the_beginning() -> None:
    """Names of topics, or of channels too."""
    with nsq(topics=["orders:billing", "orders:archive", "mail"], msg_timeout=5) as queue:
        assert queue.node.topics == ["mail", "orders"]
        assert queue.node.topic("orders").channels == ["archive", "billing"]
        assert queue.node.topic("mail").channels == []
        assert queue.node.options.msg_timeout == 5


def test_clock_may_be_shared() -> None:
    """Two nodes on one time."""
    clock = Clock()
    with nsq(clock=clock) as one, nsq(clock=clock) as other:
        for queue in (one, other):
            queue.on("orders", "billing", lambda _: None)
        one.publish("orders", b"x", delay=10)
        other.publish("orders", b"x", delay=20)

        one.drain(jump=True)
        assert clock.now == 10.0
        other.drain(jump=True)

        assert (clock.now, one.clock) == (20.0, clock)


def test_block_ends_with_a_check() -> None:
    """A node that is not sound fails the test; a test that fails is not overlaid by that."""
    with pytest.raises(AssertionError, match="ready_count"), nsq(topics=["orders:billing"]) as queue:
        queue.node.topic("orders").channel("billing")._core.ready_count = 1

    with pytest.raises(ZeroDivisionError):  # noqa: SIM117, PT012  # the inner one is under test
        with nsq(topics=["orders:billing"]) as queue:
            queue.node.topic("orders").channel("billing")._core.ready_count = 1
            raise ZeroDivisionError


def test_closing_twice_is_fine() -> None:
    """And after the code under test has closed the node."""
    queue = Nsq()
    queue.node.close()
    queue.close()
    queue.close()


def test_close_while_threads_wait() -> None:
    """They are told that the node is closed, and nobody hangs."""
    ended: list[str] = []

    def consume(channel: nsqlite.Channel) -> None:
        with channel.consume() as consumer:
            for _ in consumer:
                raise AssertionError("there is nothing")
        ended.append(threading.current_thread().name)

    with nsq(topics=["orders:billing"]) as queue:
        channel = queue.node.topic("orders").channel("billing")
        threads = [threading.Thread(target=consume, args=(channel,)) for _ in range(4)]
        for each in threads:
            each.start()
        queue.drain()
    for each in threads:
        each.join(20)

    assert len(ended) == 4


class TestWithUnittest(unittest.TestCase):
    """The same in a class of unittest's."""

    def setUp(self) -> None:
        """One for each test."""
        self.queue = self.enterContext(nsq())

    def test_it(self) -> None:
        """It works without a fixture."""
        self.queue.on("orders", "billing", Service(self.queue).handle)
        self.queue.publish("orders", b"7")
        self.queue.drain()
        self.queue.assert_published("mail", body=b"7", count=1)


@pytest.mark.parametrize("handler", ["nohandler", None, b"x"])
def test_what_cannot_be_called_is_no_handler(handler: Any) -> None:
    """It is refused at `on`, before its channel is made."""
    with nsq() as queue:
        with pytest.raises(InvalidOptionError, match="give a function of one message"):
            queue.on("orders", "billing", handler)
        assert queue.node.topics == []
