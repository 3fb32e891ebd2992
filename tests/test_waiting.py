"""Sleeping and waking: no wake-up is lost, none is needed twice."""

from nsqlite.waiting import GiveWay, Signal, ThreadWaiter
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock

SECOND = 1_000_000_000


def test_wake_before_the_sleep_keeps_it_from_starting() -> None:
    """Who is woken first does not sleep, and waking again is fine."""
    waiter = ThreadWaiter()

    waiter.wake()
    waiter.wake()

    assert waiter.wait(AttendedClock())


def test_wake_ends_the_sleep() -> None:
    """A sleeper without a deadline sleeps until it is woken."""
    clock, waiter = AttendedClock(), ThreadWaiter()
    sleeper = Caller(lambda: waiter.wait(clock))
    clock.await_sleeper()

    waiter.wake()

    assert sleeper.outcome() is True


def test_deadline_ends_the_sleep() -> None:
    """A sleeper is told that nobody woke it."""
    clock, waiter = AttendedClock(), ThreadWaiter()
    until_ns = clock.monotonic_ns() + SECOND
    sleeper = Caller(lambda: waiter.wait(clock, until_ns))
    clock.await_sleeper()

    clock.advance(1)

    assert sleeper.outcome() is False
    waiter.wake()  # too late is fine


def test_signal_given_while_awake_is_not_lost() -> None:
    """The next wait returns at once, and the one after that sleeps again."""
    clock, signal = AttendedClock(), Signal()
    signal.give()
    signal.give()

    assert signal.wait(clock)
    assert not signal.wait(clock, clock.monotonic_ns())


def test_signal_wakes_again_and_again() -> None:
    """One thread is woken as often as somebody gives."""
    clock, signal = AttendedClock(), Signal()
    sleeper = Caller(lambda: [signal.wait(clock) for _ in range(3)])

    for _ in range(3):
        clock.await_sleeper()
        signal.give()

    assert sleeper.outcome() == [True, True, True]


def test_giving_way_wakes_nobody() -> None:
    """It stands in the line of those to wake, and only lets others run."""
    GiveWay().wake()
