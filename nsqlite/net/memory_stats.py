"""What nsqd tells of its memory, for a Python process: nsqd's names, and 0 where Python has nothing of the kind."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs

MAX_PAUSES: Final = 256  # as many as Go's runtime remembers
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_USEC_NS: Final = 1000


@attrs.frozen
class MemoryStats:
    """nsqd's `memory` object; all are 0 or more.

    Attributes:
        heap_objects: Blocks that Python's allocator has given out; an object is one or a few.
        heap_idle_bytes: 0: Python does not tell.
        heap_in_use_bytes: What of the process is in memory, everything together.
        heap_released_bytes: 0: Python does not tell.
        gc_pause_usec_100: The longest of the last collections of garbage.
        gc_pause_usec_99: The time that 99 % of them did not pass.
        gc_pause_usec_95: The same for 95 %.
        next_gc_bytes: 0: Python's collections begin by the number of objects.
        gc_total_runs: Collections since the process began, of all generations.
    """

    heap_objects: int = 0
    heap_idle_bytes: int = 0
    heap_in_use_bytes: int = 0
    heap_released_bytes: int = 0
    gc_pause_usec_100: int = 0
    gc_pause_usec_99: int = 0
    gc_pause_usec_95: int = 0
    next_gc_bytes: int = 0
    gc_total_runs: int = 0


class GcPauses:
    """How long the last collections of garbage took, while it is started. Any thread may collect."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._begun_ns = -1
        self._pauses_ns: deque[int] = deque(maxlen=MAX_PAUSES)

    def start(self) -> None:
        """Look on from now on. Twice is fine."""
        if self._note not in gc.callbacks:
            gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Look on no more; what was seen stays. Twice is fine."""
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)
        self._begun_ns = -1

    def _note(self, phase: str, _: dict[str, Any]) -> None:
        """Python calls this before and after a collection, which never runs inside another."""
        if phase == "start":
            self._begun_ns = self._clock_ns()
        elif self._begun_ns >= 0:
            self._pauses_ns.append(self._clock_ns() - self._begun_ns)
            self._begun_ns = -1

    def percentiles_usec(self) -> tuple[int, int, int]:
        """The 100th, 99th and 95th percentile of the last pauses, reckoned as nsqd does; 0 without any."""
        pauses = sorted(self._pauses_ns.copy())
        longest, most, many = (_percentile(pauses, percent) // _USEC_NS for percent in (100, 99, 95))
        return longest, most, many


def _percentile(values: list[int], percent: int) -> int:
    if not values:
        return 0
    return values[min(len(values) - 1, (percent * len(values) + 50) // 100)]


def memory_stats(pauses: GcPauses | None = None) -> MemoryStats:
    """This process's memory now, in less than a millisecond or two. Without pauses theirs are 0."""
    longest, most, many = pauses.percentiles_usec() if pauses is not None else (0, 0, 0)
    return MemoryStats(
        heap_objects=sys.getallocatedblocks(),
        heap_in_use_bytes=_resident_bytes(),
        gc_pause_usec_100=longest,
        gc_pause_usec_99=most,
        gc_pause_usec_95=many,
        gc_total_runs=sum(generation["collections"] for generation in gc.get_stats()),
    )


def _resident_bytes() -> int:
    """0 where there is no /proc to ask."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
