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


@contextmanager
def ending_at_signals(program: str) -> Iterator[None]:
    """End the process at SIGINT or SIGTERM, with exit code 0 and a line that says so, until others take them.

    At once, since nobody is served yet and what is done then outlives any end. Afterwards
    signals are as before.
    """

    def end(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        line = f"[{program}] {stamp(time.time())} INFO: {name} while it started: bye\n"
        try:
            os.write(2, line.encode())
        finally:
            os._exit(0)

    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    for number in SIGNALS:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
