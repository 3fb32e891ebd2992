"""Time is a parameter: the virtual clock moves when told, and wakes who waited."""

import asyncio
import threading

import pytest

from nsqlite.clock import SystemClock, VirtualClock
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock

SECOND = 1_000_000_000


def held_lock() -> threading.Lock:
    """A lock that somebody has."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def test_advance_moves_wall_and_monotonic_time() -> None:
    """Both clocks move by what was asked, and by nothing else."""
    clock = VirtualClock(wall_ns=5 * SECOND)
    before_ns = clock.monotonic_ns()

    clock.advance(1.5)

    assert clock.wall_ns() == 6_500_000_000
    assert clock.monotonic_ns() - before_ns == 1_500_000_000


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_step_wall_leaves_monotonic_time(seconds: float) -> None:
    """An administrator's step, either way, is the wall clock's alone."""
    clock = VirtualClock()
    wall_ns, monotonic_ns = clock.wall_ns(), clock.monotonic_ns()

    clock.step_wall(seconds)

    assert clock.wall_ns() - wall_ns == seconds * SECOND
    assert clock.monotonic_ns() == monotonic_ns


def test_advance_refuses_to_go_back() -> None:
    """Monotonic time never steps back."""
    with pytest.raises(ValueError, match="step_wall"):
        VirtualClock().advance(-0.001)


@pytest.mark.parametrize("clock", [VirtualClock(), SystemClock()], ids=["virtual", "system"])
def test_wait_for_a_free_lock_returns_at_once(clock: VirtualClock | SystemClock) -> None:
    """Who was woken before it slept does not sleep, deadline or not."""
    assert clock.wait(threading.Lock(), None)
    assert clock.wait(threading.Lock(), clock.monotonic_ns() + 3600 * SECOND)


@pytest.mark.parametrize("clock", [VirtualClock(), SystemClock()], ids=["virtual", "system"])
def test_wait_past_its_deadline_gives_up_at_once(clock: VirtualClock | SystemClock) -> None:
    """A deadline that has come is no wait."""
    assert not clock.wait(held_lock(), clock.monotonic_ns())
    assert clock.wait(threading.Lock(), clock.monotonic_ns() - SECOND)


def test_advance_wakes_a_sleeper_whose_time_has_come() -> None:
    """A sleeper is told that its deadline came, not that it was woken."""
    clock = AttendedClock()
    lock, deadline_ns = held_lock(), clock.monotonic_ns() + SECOND
    sleeper = Caller(lambda: clock.wait(lock, deadline_ns))
    clock.await_sleeper()

    clock.advance(0.5)
    clock.advance(0.5)

    assert sleeper.outcome() is False


def test_release_wakes_a_sleeper_before_its_deadline() -> None:
    """A sleeper whose lock is released was woken."""
    clock = AttendedClock()
    lock, deadline_ns = held_lock(), clock.monotonic_ns() + SECOND
    sleeper = Caller(lambda: clock.wait(lock, deadline_ns))
    clock.await_sleeper()

    lock.release()

    assert sleeper.outcome() is True


def test_alarm_of_one_who_was_woken_rings_nobody() -> None:
    """Time that passes later does not touch a lock that nobody waits on any more."""
    clock = VirtualClock()
    lock = threading.Lock()
    assert clock.wait(lock, clock.monotonic_ns() + SECOND)

    clock.advance(2.0)

    assert lock.locked()


async def test_call_at_calls_back_in_the_loop() -> None:
    """A loop's callback comes when virtual time does, and not before."""
    clock = VirtualClock()
    called = asyncio.Event()
    clock.call_at(asyncio.get_running_loop(), clock.monotonic_ns() + SECOND, called.set)

    clock.advance(0.999)
    await asyncio.sleep(0)
    was_early = called.is_set()
    clock.advance(0.001)
    await called.wait()

    assert not was_early


async def test_call_at_for_the_past_calls_soon() -> None:
    """A time that has come is the loop's next step."""
    clock = VirtualClock()
    called = asyncio.Event()

    clock.call_at(asyncio.get_running_loop(), clock.monotonic_ns(), called.set)
    await called.wait()

    assert called.is_set()


async def test_call_taken_back_is_not_made() -> None:
    """A cancelled callback stays away, in virtual time and in the machine's."""
    loop = asyncio.get_running_loop()
    clock, calls = VirtualClock(), []
    handle = clock.call_at(loop, clock.monotonic_ns() + SECOND, lambda: calls.append("virtual"))
    system = SystemClock().call_at(loop, SystemClock.monotonic_ns(), lambda: calls.append("system"))

    handle.cancel()
    system.cancel()
    clock.advance(2.0)
    await asyncio.sleep(0)

    assert calls == []


async def test_call_taken_back_when_its_time_has_come_is_not_made() -> None:
    """Cancelling works until the call is made, though the loop has been told of it."""
    clock, calls = VirtualClock(), []
    handle = clock.call_at(asyncio.get_running_loop(), clock.monotonic_ns() + SECOND, lambda: calls.append("late"))

    clock.advance(2.0)
    handle.cancel()
    await asyncio.sleep(0)

    assert calls == []


def test_system_clock_is_the_machines() -> None:
    """Monotonic time does not step back, and the wall clock is past the day this was written."""
    clock = SystemClock()

    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.wall_ns() > 1_700_000_000 * SECOND
