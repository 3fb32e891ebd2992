"""Telling a statsd, over UDP, what nsqd tells it, each statsd_interval.

What is told is in `statsd_lines`; here is when, and to whom. Nobody notices a statsd that cannot
be reached, but for one line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any, Final

from nsqlite.engine import Engine
from nsqlite.errors import NsqliteError
from nsqlite.net.alarm import until
from nsqlite.net.gathering import gathered
from nsqlite.net.memory_stats import GcPauses, memory_stats
from nsqlite.net.options import ListenerOptions, parse_address
from nsqlite.net.statsd_lines import datagrams, full_prefix, memory_lines, topic_lines
from nsqlite.options import SECOND_NS
from nsqlite.stats import TopicStats

RESOLVE_SECONDS: Final = 1.0  # of real time, for the name of statsd's host, as nsqd
log: Final = logging.getLogger("nsqlite")


class Statsd:
    """Pushes to one statsd, in the running loop, by the engine's clock.

    The datagrams of a push are spread over the interval but its last second, as nsqd does it, so
    that they do not overflow statsd's socket.
    """

    def __init__(self, engine: Engine, options: ListenerOptions, prefix_address: str, pauses: GcPauses) -> None:
        """Prepare it.

        Args:
            engine: Whose figures are told.
            options: What begins with `statsd_`; the address must be there.
            prefix_address: host:port under which others reach the node's HTTP API.
            pauses: How long the process stopped to collect garbage.
        """
        self._engine = engine
        self._clock = engine.clock
        self._options = options
        self._prefix = full_prefix(options.statsd_prefix, prefix_address)
        self._pauses = pauses
        self._interval_ns = int(options.statsd_interval * SECOND_NS)
        self._before: tuple[TopicStats, ...] = ()
        self._gc_runs_before = 0
        self._is_failure_told = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Push for the first time an interval from now. Call it in the loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Push nothing more; what waits for its moment is sent now. Twice is fine."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        next_ns = self._clock.monotonic_ns()
        while True:
            next_ns = max(next_ns + self._interval_ns, self._clock.monotonic_ns())
            await until(self._clock, next_ns)
            try:
                await self._push(next_ns)
            except (OSError, UnicodeError, NsqliteError) as error:
                self._tell(error)

    async def _push(self, begin_ns: int) -> None:
        family, address = await _resolve(self._options.statsd_address)
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            waiting = list(datagrams(await self._lines(), self._options.statsd_udp_packet_size))
            step_ns = (self._interval_ns - SECOND_NS) // max(1, len(waiting))
            waiting.reverse()
            try:
                for number in range(1, len(waiting) + 1):
                    sender.sendto(waiting.pop(), address)
                    await until(self._clock, begin_ns + number * step_ns)
            finally:
                with suppress(OSError):  # being closed: no more waiting
                    while waiting:
                        sender.sendto(waiting.pop(), address)
        self._is_failure_told = False

    async def _lines(self) -> list[str]:
        options = self._options
        topics = await gathered(self._engine, with_oldest=False)
        exclude = options.statsd_exclude_ephemeral
        lines = list(topic_lines(topics, self._before, self._prefix, exclude_ephemeral=exclude))
        self._before = topics
        if options.statsd_mem_stats:
            memory = memory_stats(self._pauses)
            lines += memory_lines(memory, self._gc_runs_before, self._prefix)
            self._gc_runs_before = memory.gc_total_runs
        return lines

    def _tell(self, error: Exception) -> None:
        """Say why, once until it goes well again."""
        if not self._is_failure_told:
            self._is_failure_told = True
            address = self._options.statsd_address
            log.warning("nothing pushed to statsd at %s: %s", address, error, extra={"event": "statsd_failed"})


async def _resolve(text: str) -> tuple[int, Any]:
    """Family and address of host:port; an address is not looked up, so that no thread is needed for it.

    Raises:
        OSError: There is no such host, or nobody says so in time.
    """
    where = parse_address(text)
    assert isinstance(where, tuple)  # the option's validator saw to it
    host, port = where
    with suppress(socket.gaierror):
        return _first(socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_SECONDS):  # TimeoutError is an OSError
        return _first(await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))


def _first(found: list[Any]) -> tuple[int, Any]:
    family, _, _, _, address = found[0]
    return family, address
