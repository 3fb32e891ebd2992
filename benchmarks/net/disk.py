"""What the disk can do by itself: the price of one sync."""

import os
import time
from pathlib import Path

FILE_BYTES = 1 << 20
RECORD_BYTES = 300  # a message of 200 bytes and what a journal puts around it
SYNCS = 300


def sync_times_us(folder: Path) -> dict[str, float]:
    """Overwrite a little of a file that has its blocks, and sync; the middle time and the slowest hundredth."""
    descriptor = os.open(folder / "sync", os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, bytes(FILE_BYTES))
        os.fsync(descriptor)
        times = sorted(_sync_us(descriptor, number * RECORD_BYTES) for number in range(SYNCS))
    finally:
        os.close(descriptor)
    return {"p50_us": times[SYNCS // 2], "p99_us": times[SYNCS * 99 // 100]}


def _sync_us(descriptor: int, position: int) -> float:
    started = time.perf_counter()
    os.pwrite(descriptor, bytes(RECORD_BYTES), position)
    os.fdatasync(descriptor)
    return (time.perf_counter() - started) * 1e6
