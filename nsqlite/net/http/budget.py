"""A number of bytes that many share: who needs some waits in line, or is told that there are none."""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """Bytes that may be held at once, in one loop.

    Attributes:
        total_bytes: How many; somebody who is alone may hold more.
        held_bytes: How many are.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()

    def try_take(self, size_bytes: int) -> bool:
        """Take some at once; whether there were so many."""
        if self._line or not self._fits(size_bytes):
            return False
        self.held_bytes += size_bytes
        return True

    async def take(self, size_bytes: int) -> None:
        """Take some, when those who came before have theirs. Cancelled, nothing is taken."""
        if self.try_take(size_bytes):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((turn, size_bytes))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # who stands behind may need less
            else:
                self.give_back(size_bytes)
            raise

    def give_back(self, size_bytes: int) -> None:
        """End what `take` or `try_take` has begun."""
        self.held_bytes -= size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._line and (self._line[0][0].done() or self._fits(self._line[0][1])):
            turn, size_bytes = self._line.popleft()
            if not turn.done():  # else it was cancelled
                self.held_bytes += size_bytes
                turn.set_result(None)

    def _fits(self, size_bytes: int) -> bool:
        return not self.held_bytes or self.held_bytes + size_bytes <= self.total_bytes
