"""All counters of a node, gathered in a loop that has other things to do."""

from __future__ import annotations

import asyncio
from typing import Final

from nsqlite.engine import Engine
from nsqlite.reporting import iter_topic_stats
from nsqlite.stats import TopicStats

SLICE_SECONDS: Final = 0.002  # of real time, after which the loop goes on with others


async def gathered(engine: Engine, *, with_oldest: bool = True) -> tuple[TopicStats, ...]:
    """All topics by name, without lists of clients.

    Args:
        engine: Of the node.
        with_oldest: Whether `oldest_waiting_seconds` is filled.

    Raises:
        ClosedError, NodeFailedError: The node can be asked nothing more.
    """
    loop = asyncio.get_running_loop()
    found: list[TopicStats] = []
    until = loop.time() + SLICE_SECONDS
    for topic in iter_topic_stats(engine, with_clients=False, with_oldest=with_oldest):
        found.append(topic)
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + SLICE_SECONDS
    return tuple(found)
