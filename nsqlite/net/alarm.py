"""Waiting in a loop for a moment of a node's clock."""

from __future__ import annotations

import asyncio

from nsqlite.clock import Clock


async def until(clock: Clock, deadline_ns: int) -> None:
    """Return once a monotonic time has come; at once if it is past."""
    loop = asyncio.get_running_loop()
    has_come = asyncio.Event()
    alarm = clock.call_at(loop, deadline_ns, has_come.set)
    try:
        await has_come.wait()
    finally:
        alarm.cancel()
