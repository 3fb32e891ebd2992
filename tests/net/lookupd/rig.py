"""An nsqlookupd that is watched: real sockets, virtual time, its loop within reach, checked when it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nsqlite
import nsqlite.net.lookupd
from nsqlite.net.lookupd.lookupd import Servers
from nsqlite.net.lookupd.registry import Registry
from tests.net.lookupd.client import MAGIC, PATIENCE_SECONDS, Answer, LookupdClient, identify, request

ROUNDS = 6  # of a loop, in which it reads what is there, does what that sets off, and writes


class Rig:
    """One nsqlookupd in a thread.

    Attributes:
        lookupd: The same.
        clock: Its time.
    """

    def __init__(self, lookupd: nsqlite.net.lookupd.Lookupd, clock: nsqlite.VirtualClock) -> None:
        self.lookupd = lookupd
        self.clock = clock
        self._clients: list[LookupdClient] = []

    @property
    def servers(self) -> Servers:
        """What runs in the loop."""
        assert self.lookupd._servers is not None
        return self.lookupd._servers

    @property
    def registry(self) -> Registry:
        """What is registered."""
        return self.servers.registry

    def connect(self, magic: bytes = MAGIC) -> LookupdClient:
        """A new connection."""
        client = LookupdClient(self.lookupd.tcp_address, magic)
        self._clients.append(client)
        return client

    def producer(self, *registrations: str, **fields: Any) -> LookupdClient:
        """A new connection that has identified, and registered these."""
        client = self.connect()
        client.ask(identify(**fields))
        for each in registrations:
            assert client.ask(f"REGISTER {each}\n".encode()) == b"OK"
        return client

    def get(self, target: str, **headers: str) -> Answer:
        """GET."""
        return request(self.lookupd.http_address, target, "GET", headers)

    def post(self, target: str, **headers: str) -> Answer:
        """POST, without a body."""
        return request(self.lookupd.http_address, target, "POST", headers)

    def settle(self) -> None:
        """Return when the loop has done all that it could do by now."""
        asyncio.run_coroutine_threadsafe(_rounds(), self.lookupd._loop).result(PATIENCE_SECONDS)

    def until(self, has_come: Callable[[], bool]) -> None:
        """Return when something has come about, or fail."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < limit:
            self.settle()
            if has_come():
                return
        raise AssertionError("it never came about")

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what that sets off."""
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    def hang_up(self) -> None:
        """Let all clients hang up."""
        for client in self._clients:
            client.close()


async def _rounds() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class Complaints(logging.Handler):
    """What nsqlite and asyncio have logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.unexpected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if record.name == "nsqlite":
            self.lines.append(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self.unexpected.append(self.format(record))


@contextmanager
def rigged(**options: Any) -> Iterator[tuple[Rig, list[str]]]:
    """An nsqlookupd and what it logs; at the end its registry is sound, and nobody has complained."""
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("nsqlite", "asyncio")]
    for logger in loggers:
        logger.addHandler(complaints)
    loggers[0].setLevel(logging.INFO)
    clock = nsqlite.VirtualClock()
    addresses = {"tcp_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    try:
        with nsqlite.net.lookupd.listen(clock=clock, **addresses | options) as lookupd:
            rig = Rig(lookupd, clock)
            try:
                yield rig, complaints.lines
                if not lookupd._loop.is_closed():
                    rig.settle()
                rig.registry.check()
            finally:
                rig.hang_up()
    finally:
        for logger in loggers:
            logger.removeHandler(complaints)
        loggers[0].setLevel(logging.NOTSET)
    assert complaints.unexpected == []
