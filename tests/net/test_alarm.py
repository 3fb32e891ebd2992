"""A loop waits for moments of a node's clock."""

import asyncio

from nsqlite.clock import VirtualClock
from nsqlite.net.alarm import until
from nsqlite.options import SECOND_NS


async def test_until_ends_at_its_moment() -> None:
    """Not a moment before, by the clock that is given."""
    clock = VirtualClock()
    waiting = asyncio.ensure_future(until(clock, clock.monotonic_ns() + SECOND_NS))
    await asyncio.sleep(0)

    clock.advance(0.999)
    await asyncio.sleep(0)
    was_early = waiting.done()
    clock.advance(0.001)
    await waiting

    assert not was_early


async def test_until_ends_at_once_when_it_is_late() -> None:
    """A moment that is past needs no clock that moves."""
    clock = VirtualClock()

    await until(clock, clock.monotonic_ns() - 1)
