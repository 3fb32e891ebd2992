"""Time that the test moves: it knows what is due next, and who sleeps on it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nsqlite.errors import ClosedError, InvalidOptionError
from nsqlite.testing.clock import Clock, ClockClosedError, myself
from nsqlite.testing.nsq import Nsq
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS

SECOND_NS = 1_000_000_000


@pytest.fixture
def clock() -> Clock:
    """Time that stands still."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[Nsq]:
    """A node on it."""
    made = Nsq(clock=clock)
    yield made
    made.check()
    made.close()


class Bed:
    """Tells when somebody has gone to sleep on a clock."""

    def __init__(self, clock: Clock) -> None:
        self._sleeps = threading.Semaphore(0)
        clock.told.append(self._sleeps.release)

    def await_sleeper(self) -> None:
        """Return when one more sleeps."""
        assert self._sleeps.acquire(timeout=PATIENCE_SECONDS), "nobody went to sleep"


def test_time_begins_at_nought_and_moves_when_told(clock: Clock) -> None:
    """What a test reads are seconds since it began."""
    before = clock.now

    clock.advance(1.5)
    clock.advance(3600)

    assert (before, clock.now) == (0.0, 3601.5)


def test_time_does_not_move_back(clock: Clock) -> None:
    """A negative step is refused, and nothing has moved."""
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)

    assert clock.now == 0.0


def test_nothing_is_next_where_nothing_is_due(clock: Clock, queue: Nsq) -> None:
    """Time stands still, and says so."""
    queue.node.topic("orders").channel("billing")

    assert not clock.advance_to_next()
    assert clock.now == 0.0


@pytest.mark.parametrize("delay", [0.000_000_001, 0.1, 3600.1, 86_400.000_000_7, 4 * 3600])
def test_next_is_met_to_the_nanosecond(clock: Clock, queue: Nsq, delay: float) -> None:
    """A deferred message falls due at its time, though nobody waits for it; not a nanosecond later."""
    queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x", delay=delay)
    due_ns = clock.next_ns()

    assert clock.advance_to_next()
    assert clock.monotonic_ns() == due_ns
    assert queue.node.topic("orders").channel("billing").receive(timeout=0) is not None


def test_next_goes_from_one_to_another(clock: Clock, queue: Nsq) -> None:
    """Deferred messages and timeouts of several channels come one after the other, then nothing."""
    for topic, delay in (("a", 30), ("b", 10), ("c", 20)):
        queue.node.topic(topic).channel("ch")
        queue.publish(topic, b"x", delay=delay)
    met = []
    while clock.advance_to_next():
        met.append(clock.now)
        for topic in "abc":
            message = queue.node.topic(topic).channel("ch").receive(timeout=0)
            if message is not None and (topic, message.attempts) != ("c", 1):
                message.finish()

    assert met == [10.0, 20.0, 30.0, 80.0]  # the one of c times out after 60 s, and is taken again


def test_receive_with_a_deadline_is_next(clock: Clock, queue: Nsq) -> None:
    """Who waits for a message for a time is something that is due, alarm set or not."""
    channel = queue.node.topic("orders").channel("billing")
    receiver = Caller(lambda: channel.receive(timeout=5))
    assert queue.history.wait_until(lambda: bool(channel._core.waits), PATIENCE_SECONDS)

    assert clock.advance_to_next()

    assert receiver.outcome() is None
    assert clock.now == 5.0


def test_closed_node_is_no_source(clock: Clock) -> None:
    """A clock may outlive its node."""
    queue = Nsq(clock=clock)
    queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x", delay=10)
    queue.close()

    assert (clock.sources, clock.before, clock.told) == ([], [], [])
    assert not clock.advance_to_next()


def test_housekeeping_of_a_store_is_not_next(clock: Clock) -> None:
    """A disk's threads wait on the clock, too; what is next is what the test is about."""
    queue = Nsq("disk", clock)
    channel = queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x")
    queue.publish("orders", b"later", delay=60)
    message = channel.receive(timeout=0)
    assert message is not None
    message.finish()

    try:
        assert clock.advance_to_next()
        assert clock.now == 60.0
    finally:
        queue.close()


def test_thread_sleeps_until_time_has_come(clock: Clock) -> None:
    """It goes on once time was moved so far, and not before."""
    bed = Bed(clock)
    sleeper = Caller(lambda: clock.sleep(10))
    bed.await_sleeper()

    clock.advance(9)
    assert len(clock._sleepers) == 1
    clock.advance(1)
    sleeper.outcome()

    assert clock._sleepers == {}


def test_sleeper_is_next(clock: Clock) -> None:
    """Two sleepers wake one after the other."""
    bed = Bed(clock)
    sleepers = [Caller(lambda: clock.sleep(10)), Caller(lambda: clock.sleep(20))]
    for _ in sleepers:
        bed.await_sleeper()

    assert clock.advance_to_next()
    sleepers[0].outcome()
    assert (clock.now, len(clock._sleepers)) == (10.0, 1)
    assert clock.advance_to_next()
    sleepers[1].outcome()

    assert clock.now == 20.0
    assert not clock.advance_to_next()


@pytest.mark.parametrize("seconds", [0, -1])
def test_sleep_of_no_time_ends_at_once(clock: Clock, seconds: float) -> None:
    """A time that has come is no wait."""
    clock.sleep(seconds)
    asyncio.run(clock.asleep(seconds))

    assert clock.now == 0.0


async def test_task_sleeps_until_time_has_come(clock: Clock) -> None:
    """As a thread does; whoever moves time may be in the same loop."""
    task = asyncio.ensure_future(clock.asleep(10))
    await asyncio.sleep(0)
    is_asleep = clock.is_asleep(task)

    clock.advance(9.5)
    await asyncio.sleep(0)
    is_early = task.done()
    clock.advance_to_next()
    await task

    assert (is_asleep, is_early, clock.now) == (True, False, 10.0)
    assert not clock.is_asleep(task)


async def test_cancelled_sleeper_is_not_next(clock: Clock) -> None:
    """A task that sleeps no more leaves nothing behind."""
    task = asyncio.ensure_future(clock.asleep(10))
    await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait([task])

    assert not clock.advance_to_next()


def test_time_moves_while_others_wait_for_it(clock: Clock) -> None:
    """Sleepers by the dozen, and a clock that goes on until none is left: nobody hangs."""
    bed = Bed(clock)
    slept: list[float] = []

    def sleep_often(step: int) -> None:
        for _ in range(5):
            clock.sleep(step)
        slept.append(clock.now)

    sleepers = [Caller(lambda step=step: sleep_often(step)) for step in range(1, 9)]
    for _ in range(8 * 5):
        bed.await_sleeper()
        while not clock.advance_to_next() and len(slept) < 8:
            pass
    for each in sleepers:
        each.outcome()

    assert len(slept) == 8


async def test_myself_is_the_task_or_the_thread() -> None:
    """In a loop callers are told apart by task."""
    assert myself() is asyncio.current_task()
    assert Caller(myself).outcome() not in (None, threading.current_thread())


@pytest.mark.parametrize("seconds", ["3", None, True, float("nan"), float("inf"), -1])
def test_time_that_is_none_is_refused(clock: Clock, seconds: Any) -> None:
    """With what to give, and nothing has moved."""
    with pytest.raises(InvalidOptionError, match=r"give (finite )?seconds"):
        clock.advance(seconds)

    assert clock.now == 0.0


def test_sleepers_that_do_not_come_are_told_of(clock: Clock) -> None:
    """With how many have."""
    with pytest.raises(AssertionError, match="0 of 1"):
        clock.wait_for_sleepers(timeout=0)


def test_thread_that_sleeps_at_the_end_is_woken(clock: Clock) -> None:
    """And so is who would sleep then."""
    sleeper = Caller(lambda: clock.sleep(10))
    clock.wait_for_sleepers()

    clock.close()
    clock.close()

    with pytest.raises(ClosedError, match="the test has ended"):
        sleeper.outcome()
    with pytest.raises(ClockClosedError):
        clock.sleep(10)


async def test_task_that_sleeps_at_the_end_is_woken(clock: Clock) -> None:
    """As a thread is."""
    task = asyncio.ensure_future(clock.asleep(10))
    await asyncio.sleep(0)

    clock.close()

    with pytest.raises(ClockClosedError):
        await task


def test_last_node_of_a_clock_wakes_sleepers(clock: Clock) -> None:
    """Another one may follow the clock later."""
    first, second = Nsq(clock=clock), Nsq(clock=clock)
    sleeper = Caller(lambda: clock.sleep(10))
    clock.wait_for_sleepers()

    first.close()
    clock.wait_for_sleepers()
    second.close()

    with pytest.raises(ClockClosedError):
        sleeper.outcome()
    third = Nsq(clock=clock)
    again = Caller(lambda: clock.sleep(10))
    clock.wait_for_sleepers()
    clock.advance(10)
    again.outcome()
    third.close()
