"""A loop in a thread of its own, for what is served beside a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
ROUNDS: Final = 6  # of a loop, in which it reads what is there, does what that sets off, and writes


class LoopThread:
    """A running loop. Whoever has it closes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there, to its end; not from a call of the loop itself."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """Make a short call there, between two other things."""

        async def make() -> T:
            return work()

        return self.run(make())

    def settle(self) -> None:
        """Return when the loop has done all that it could do by now with what has arrived."""
        self.run(_rounds())

    def close(self) -> None:
        """End the loop. Twice is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


async def _rounds() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
