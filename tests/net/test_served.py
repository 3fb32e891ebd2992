"""Tests of servers in a thread of their own, or in a running loop."""

from __future__ import annotations

import asyncio

import pytest

from nsqlite.net.served import ServedInLoop, ServedInThread


class Told:
    """Servers that only note what is asked of them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.notes: list[str] = []
        self._error = error

    async def start(self) -> None:
        """Begin, or fail."""
        if self._error is not None:
            raise self._error
        self.notes.append("started")

    async def close(self) -> None:
        """End."""
        self.notes.append("closed")


class Thread(ServedInThread[Told]):
    """These, in a thread."""

    def __init__(self, servers: Told) -> None:
        self.servers = servers
        self.taken: Told | None = None
        super().__init__(asyncio.new_event_loop(), "served")

    def _make(self) -> Told:
        return self.servers

    def _take(self, servers: Told) -> None:
        self.taken = servers


def test_thread_serves_from_making_to_closing() -> None:
    """Made, it serves, and what it is bound to is known; closed, its servers and its thread have ended."""
    servers = Told()

    with Thread(servers) as thread:
        assert thread.taken is servers
        assert servers.notes == ["started"]

    assert servers.notes == ["started", "closed"]
    assert not thread._thread.is_alive()


def test_closing_twice_is_fine() -> None:
    """The second time there is nothing to do."""
    servers = Told()
    thread = Thread(servers)

    thread.close()
    thread.close()

    assert servers.notes == ["started", "closed"]


def test_failure_to_start_is_raised_where_it_was_made() -> None:
    """Nothing serves, and no thread is left."""
    with pytest.raises(OSError, match="taken"):
        Thread(Told(OSError("taken")))


async def test_loop_is_served_while_entered_or_until_closed() -> None:
    """Entered, it is closed on leaving; awaited, its user closes it."""
    entered, awaited = Told(), Told()

    async def start(servers: Told) -> Told:
        await servers.start()
        return servers

    async with ServedInLoop(lambda: start(entered)) as served:
        assert served is entered
        assert entered.notes == ["started"]
    assert entered.notes == ["started", "closed"]

    assert await ServedInLoop(lambda: start(awaited)) is awaited
    assert awaited.notes == ["started"]
