"""What a process tells of its memory is what it is, under nsqd's names."""

import gc
from collections.abc import Iterator
from itertools import count

import attrs
import pytest

from nsqlite.net.memory_stats import MAX_PAUSES, GcPauses, MemoryStats, memory_stats

# nsqd 1.3.0, in the order in which it shows them
NSQ = [
    "heap_objects",
    "heap_idle_bytes",
    "heap_in_use_bytes",
    "heap_released_bytes",
    "gc_pause_usec_100",
    "gc_pause_usec_99",
    "gc_pause_usec_95",
    "next_gc_bytes",
    "gc_total_runs",
]


class Stopwatch:
    """A clock for pauses: each lasts as long as the test says, in usec."""

    def __init__(self) -> None:
        self.pause_usec = 0
        self._now_ns = 0
        self._calls = count()

    def __call__(self) -> int:
        """The time: every second call is the end of a pause."""
        if next(self._calls) % 2:
            self._now_ns += self.pause_usec * 1000
        return self._now_ns


@pytest.fixture
def stopwatch() -> Stopwatch:
    """A clock that the test holds."""
    return Stopwatch()


@pytest.fixture
def pauses(stopwatch: Stopwatch) -> Iterator[GcPauses]:
    """Pauses that are looked on, while only the test collects."""
    gc.disable()
    looked_on = GcPauses(stopwatch)
    looked_on.start()
    yield looked_on
    looked_on.stop()
    gc.enable()


def collect(stopwatch: Stopwatch, *pauses_usec: int) -> None:
    """Collect garbage, in so many microseconds each time."""
    for pause_usec in pauses_usec:
        stopwatch.pause_usec = pause_usec
        gc.collect(0)


def test_memory_stats_have_nsqds_names_in_its_order() -> None:
    """The JSON object of /stats is this, field by field."""
    assert [field.name for field in attrs.fields(MemoryStats)] == NSQ


def test_memory_stats_document_every_field() -> None:
    """Each says what it is in a Python process."""
    assert [name for name in NSQ if f"        {name}: " not in (MemoryStats.__doc__ or "")] == []


def test_memory_stats_are_of_this_process() -> None:
    """It is some megabytes with thousands of objects, and grows with what is held."""
    gc.collect()
    before = memory_stats()
    block = b"x" * (64 << 20)  # so large that it gets pages of its own
    held = [bytearray(b"x" * 1000) for _ in range(20_000)]
    after = memory_stats()

    assert before.heap_in_use_bytes > 1 << 20
    assert after.heap_in_use_bytes >= before.heap_in_use_bytes + len(block) // 2
    assert after.heap_objects >= before.heap_objects + len(held)


def test_collections_are_counted() -> None:
    """All generations together, as Go counts its only one."""
    before = memory_stats().gc_total_runs
    gc.collect(0)
    gc.collect(2)

    assert memory_stats().gc_total_runs >= before + 2


def test_pauses_are_noughts_without_a_collection(pauses: GcPauses) -> None:
    """Nothing is known yet, or nobody looks on."""
    assert pauses.percentiles_usec() == (0, 0, 0)
    assert memory_stats().gc_pause_usec_100 == 0


def test_pauses_are_percentiles_of_collections(pauses: GcPauses, stopwatch: Stopwatch) -> None:
    """In microseconds, the longest first."""
    collect(stopwatch, *range(1, 101))

    stats = memory_stats(pauses)

    assert (stats.gc_pause_usec_100, stats.gc_pause_usec_99, stats.gc_pause_usec_95) == (100, 100, 96)


def test_pauses_of_long_ago_are_forgotten(pauses: GcPauses, stopwatch: Stopwatch) -> None:
    """Only the last of them count, as many as Go's runtime keeps."""
    collect(stopwatch, 9000, *[5] * MAX_PAUSES)

    assert pauses.percentiles_usec() == (5, 5, 5)


def test_pauses_are_seen_between_start_and_stop(pauses: GcPauses, stopwatch: Stopwatch) -> None:
    """Starting and stopping twice does no harm, and a stopped one costs collections nothing."""
    pauses.start()
    collect(stopwatch, 7)
    pauses.stop()
    pauses.stop()
    collect(stopwatch, 9000)

    assert pauses.percentiles_usec() == (7, 7, 7)
    assert not any(getattr(each, "__self__", None) is pauses for each in gc.callbacks)
