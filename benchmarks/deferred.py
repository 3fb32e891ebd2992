"""A million messages wait for their time: what do they take, and how long does opening take?

Each is published alone with a due time of its own, an hour and more ahead; that is the dearest way
to have them, since nothing can be kept for many at once. Then the store is closed, and opened by a
fresh process.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nsqlite
from benchmarks.harness import POOL, Bench, Figure, in_child, median, rss_anon_bytes

MESSAGES = int(os.environ.get("BENCH_DEFERRED", "1_000_000"))
MIB = 1 << 20


def answer(bench: Bench) -> Iterator[Figure]:
    """Memory in the process that published them and in the one that opened them, and the opening."""
    values = bench.repeat(lambda: _story(bench))
    what = f"{MESSAGES:,} deferred"
    for name, part, unit, at_most in (
        ("memory", "memory over an empty node", "MiB", 100),
        ("memory_reopened", "the same, once reopened", "MiB", 100),
        ("open_seconds", "opening the closed store", "s", 3),
        ("publish_us", "publishing one", "us", None),
    ):
        yield Figure(f"{what}: {part}", median(values[name]), unit, at_most, values[name])


def _story(bench: Bench) -> dict[str, float]:
    with bench.folder() as path:
        return in_child(__file__, "fill", path / "store") | in_child(__file__, "open", path / "store")


def fill(path: Path) -> dict[str, float]:
    """Publish them, read the memory, close."""
    with nsqlite.open(path, durability="commit") as node:
        topic = node.topic("bench")
        channel = topic.channel("channel")
        empty, started = rss_anon_bytes(), time.perf_counter()
        for number in range(MESSAGES):
            topic.publish(POOL[number % len(POOL)], delay=3600 + number * 7919 % MESSAGES / 1000)
        took = time.perf_counter() - started
        assert channel.deferred_count == MESSAGES
        memory = rss_anon_bytes() - empty
    return {"memory": memory / MIB, "publish_us": took / MESSAGES * 1e6}


def reopen(path: Path) -> dict[str, float]:
    """Open the closed store beside an empty one's memory."""
    with nsqlite.open(path.parent / "empty", durability="commit") as node:
        node.topic("bench").channel("channel")
        empty = rss_anon_bytes()
    started = time.perf_counter()
    with nsqlite.open(path, durability="commit") as node:
        took = time.perf_counter() - started
        assert node.topic("bench").channel("channel").deferred_count == MESSAGES
        memory = rss_anon_bytes() - empty
    return {"memory_reopened": memory / MIB, "open_seconds": took}


if __name__ == "__main__":
    print(json.dumps({"fill": fill, "open": reopen}[sys.argv[1]](Path(sys.argv[2]))))
