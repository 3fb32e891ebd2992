"""What the bodies that are being read hold together: counted as they arrive, and bounded.

A body counts from its second 64 KiB on, piece by piece; when no piece is left its client is not read
from, and pieces go to whoever began first, who alone may have more than there are. Meanwhile whoever
has brought no piece for the longest time, a second at least, loses its place, and so does whoever
holds most of those that wait, if they are too many.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from typing import Final

import attrs

from nsqlite.net.seldom import Seldom
from nsqlite.options import SECOND_NS

PIECE_BYTES: Final = 64 * 1024  # the first is free: its connection may hold as much anyway
IDLE_SECONDS: Final = 1.0  # of real time: it is about the socket
LINE_LENGTH: Final = 32  # bodies that wait for a piece; each holds what others could use
log: Final = logging.getLogger("nsqlite")


@attrs.define(eq=False, order=False)
class Share:
    """One body's.

    Attributes:
        number: Of those that began before it.
        lose: Called if it loses its place.
        held_bytes: What it has.
        is_waiting: Whether it waits for a piece.
        is_lost: Whether it has lost its place.
    """

    number: int
    lose: Callable[[], None]
    held_bytes: int = 0
    is_waiting: bool = False
    is_lost: bool = False


class Shares:
    """Of all bodies of one listener, in one loop.

    Attributes:
        total_bytes: What they may hold together; the one that began first may pass it.
        held_bytes: What they do.
    """

    def __init__(self, total_bytes: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self._idle_seconds = idle_seconds
        self._count = 0
        self._line: list[tuple[int, asyncio.Future[None], Share]] = []  # a heap
        self._fed: dict[Share, float] = {}  # when those that wait for their client got a piece; the first is the oldest
        self._passing: Share | None = None  # who may have more than there is
        self._leaving: Share | None = None  # who has lost its place, until it is gone
        self._alarm: asyncio.TimerHandle | None = None
        self._warned = Seldom()

    def begin(self, lose: Callable[[], None]) -> Share:
        """A share for a body; `lose` is called if its place goes to others."""
        self._count += 1
        return Share(self._count, lose)

    async def hold(self, share: Share, size_bytes: int) -> None:
        """Count a body that has become so long; wait, if there is no room. Cancelled, it has what it had."""
        while share.held_bytes + PIECE_BYTES < size_bytes:
            if share is self._passing or (not self._line and self._has_room()):
                self._feed(share)
            else:
                await self._wait(share)

    def settle(self, share: Share) -> None:
        """It is whole: it keeps what it has until the end, whoever waits."""
        self._fed.pop(share, None)

    def end(self, share: Share) -> None:
        """It is used up, or given up."""
        self._fed.pop(share, None)
        if share is self._passing:
            self._passing = None
        if share is self._leaving:
            self._leaving = None
        self.held_bytes -= share.held_bytes
        share.held_bytes = 0
        self._serve()

    async def _wait(self, share: Share) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (share.number, turn, share))
        self._fed.pop(share, None)  # its client is not to blame
        share.is_waiting = True
        self._serve()
        if len(self._line) > LINE_LENGTH:
            self._shorten()
        try:
            await turn
        except asyncio.CancelledError:
            turn.cancel()
            self._serve()
            raise
        share.is_waiting = False

    def _has_room(self) -> bool:
        return self.held_bytes + PIECE_BYTES <= self.total_bytes

    def _feed(self, share: Share) -> None:
        share.held_bytes += PIECE_BYTES
        self.held_bytes += PIECE_BYTES
        self._fed.pop(share, None)
        self._fed[share] = asyncio.get_running_loop().time()

    def _serve(self) -> None:
        """Give pieces to those that wait; if some must go on waiting, see who holds them up."""
        while self._line:
            _, turn, share = self._line[0]
            if not turn.done():  # else it was given up
                if not self._has_room():
                    if self._passing is not None:
                        self._relieve()
                        return
                    self._passing = share
                self._feed(share)
                turn.set_result(None)
            heapq.heappop(self._line)

    def _relieve(self) -> None:
        """Let whoever has brought nothing for the longest time lose its place, now or when that is long enough."""
        if self._alarm is not None or self._leaving is not None or not self._fed:
            return
        loop = asyncio.get_running_loop()
        share, fed_at = next(iter(self._fed.items()))
        due = fed_at + self._idle_seconds
        if loop.time() < due:
            self._alarm = loop.call_at(due, self._look_again)
            return
        del self._fed[share]
        self._leaving = share
        self._lose(share)  # and its end serves the others

    def _shorten(self) -> None:
        """Let one of too many that wait lose its place."""
        waiting = [share for _, turn, share in self._line if not turn.done() and not share.is_lost]
        if len(waiting) > LINE_LENGTH:
            self._lose(max(waiting, key=lambda share: share.held_bytes))

    def _lose(self, share: Share) -> None:
        share.is_lost = True
        self.warn()
        share.lose()

    def _look_again(self) -> None:
        self._alarm = None
        self._serve()

    def warn(self) -> None:
        """Say that there is no room, once a minute."""
        now_ns = int(asyncio.get_running_loop().time() * SECOND_NS)
        if self._warned.may(now_ns):
            told = "HTTP bodies hold %d MiB, and more is sent: requests that hold others up are answered with 503"
            log.warning(told, self.held_bytes >> 20, extra={"event": "bodies_full"})
