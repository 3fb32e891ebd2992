"""A daemon's first moments, while the rest of it is still imported: it ends at a signal and says so.

Imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def stamp(wall_seconds: float) -> str:
    """A time as Go's log package writes it."""
    seconds, microseconds = divmod(int(wall_seconds * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y/%m/%d %H:%M:%S', time.localtime(seconds))}.{microseconds:06d}"


class Ending:
    """What a signal does to a daemon that serves nobody yet: a line, and exit code 0, at once.

    What it does until then outlives any end.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, number: int, _: FrameType | None) -> None:
        """See signal.signal."""
        name = signal.Signals(number).name
        line = f"[{self._program}] {stamp(time.time())} INFO: {name} before it served anybody: bye\n"
        try:
            os.write(2, line.encode())
        finally:
            os._exit(0)


def end_at_signals(program: str) -> None:
    """End so at SIGINT and SIGTERM, until others take them."""
    for number in SIGNALS:
        signal.signal(number, Ending(program))


@contextmanager
def own_signals(program: str) -> Iterator[None]:
    """End so at signals while the body runs, until it takes them; afterwards they are as before.

    But at the end of a process that began so they are ignored: there is nothing left to end.
    """
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    end_at_signals(program)
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_IGN if isinstance(handler, Ending) else handler)
