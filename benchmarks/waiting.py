"""Five million messages (1 GB) wait: does anything slow down, swell, or stall?

They are published one at a time at "commit", every publish timed, in a fresh process; another fresh
process opens the closed store and drains it, a hundred a call. Beside it, in a third process,
100,000 are published and drained by the process that published them.
"""

import json
import os
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import nsqlite
from benchmarks.harness import BATCH, POOL, Bench, Figure, Line, in_child, median, rss_anon_bytes

MESSAGES = int(os.environ.get("BENCH_WAITING", "5_000_000"))
FEW = 100_000
SHARE = 10  # the start and the end are a tenth each
MIB = 1 << 20


def answer(bench: Bench) -> Iterator[Line | Figure]:
    """One story, told `runs` times; the rows and figures are drawn from it."""
    values = bench.repeat(lambda: _story(bench))
    end, start = median(values["rate_at_end"]), median(values["rate_at_start"])
    drain, drain_few = median(values["drain_rate"]), median(values["drain_few_rate"])
    waiting = f"{MESSAGES:,} waiting"
    yield Line(f"{waiting}: publish one, at the end", "itself, at the start", end, start, 0.8)
    yield Line(f"{waiting}: draining", f"draining {FEW:,}", drain, drain_few, 0.8)
    for name, what, unit, at_most in (
        ("memory", f"{waiting}: memory over an empty node", "MiB", 150),
        ("memory_reopened", f"{waiting}: the same, once reopened", "MiB", 150),
        ("open_seconds", f"{waiting}: opening the closed store", "s", 1),
        ("p999_ms", f"publishing {MESSAGES:,}: p99.9", "ms", 5),
    ):
        yield Figure(what, median(values[name]), unit, at_most, values[name])
    longest = values["longest_ms"]
    yield Figure(f"publishing {MESSAGES:,}: the longest of all runs", max(longest), "ms", 50, longest)
    for name, what, unit in (
        ("close_seconds", f"{waiting}: closing the store", "s"),
        ("store_mib", f"{waiting}: the closed store", "MiB"),
    ):
        yield Figure(what, median(values[name]), unit, None, values[name])


def _story(bench: Bench) -> dict[str, float]:
    with bench.folder() as path:
        few = in_child(__file__, "few", path / "few")
    with bench.folder() as path:
        filled = in_child(__file__, "fill", path / "many")
        return few | filled | in_child(__file__, "drain", path / "many")


def fill(path: Path) -> dict[str, float]:
    """Publish them all, timing each, and close."""
    took = array("q", bytes(8 * MESSAGES))  # before the memory is read the first time, and touched
    with nsqlite.open(path, durability="commit") as node:
        topic = _topic(node)
        empty = rss_anon_bytes()
        _publish_timed(topic, took)
        waiting = rss_anon_bytes()
        started = time.perf_counter()
    closed = time.perf_counter()
    tenth = MESSAGES // SHARE
    figures = {
        "rate_at_start": tenth / sum(took[:tenth]) * 1e9,
        "rate_at_end": tenth / sum(took[-tenth:]) * 1e9,
        "memory": (waiting - empty) / MIB,
        "close_seconds": closed - started,
        "store_mib": sum(each.stat().st_size for each in path.rglob("*")) / MIB,
    }
    slowest = sorted(took, reverse=True)[: MESSAGES // 1000 + 1]
    return figures | {"longest_ms": slowest[0] / 1e6, "p999_ms": slowest[-1] / 1e6}


def _publish_timed(topic: nsqlite.Topic, took: "array[int]") -> None:
    """One reading of the clock a publish, so that the loop's own time counts too."""
    publish, clock, pool, size = topic.publish, time.perf_counter_ns, POOL, len(POOL)
    before = clock()
    for number in range(MESSAGES):
        publish(pool[number % size])
        after = clock()
        took[number] = after - before
        before = after


def drain(path: Path) -> dict[str, float]:
    """Open the closed store and empty it by receiving."""
    with nsqlite.open(path.parent / "empty", durability="commit") as node:
        _topic(node)
        empty = rss_anon_bytes()
    started = time.perf_counter()
    with nsqlite.open(path, durability="commit") as node:
        opened = time.perf_counter()
        memory = rss_anon_bytes() - empty
        rate = _drain(node, MESSAGES)
    return {"open_seconds": opened - started, "memory_reopened": memory / MIB, "drain_rate": rate}


def few(path: Path) -> dict[str, float]:
    """Publish and drain few, ten times on one store; the median rate."""
    rates = []
    with nsqlite.open(path, durability="commit") as node:
        topic = _topic(node)
        for _ in range(10):
            for number in range(FEW):
                topic.publish(POOL[number % len(POOL)])
            rates.append(_drain(node, FEW))
    return {"drain_few_rate": median(rates)}


def _drain(node: nsqlite.Node, count: int) -> float:
    channel = node.topic("bench").channel("channel")
    assert channel.depth == count, f"{channel.depth} messages wait, not {count}"
    left, started = count, time.perf_counter()
    while left:
        messages = channel.receive_many(BATCH)
        channel.finish_many(messages)
        left -= len(messages)
    return count / (time.perf_counter() - started)


def _topic(node: nsqlite.Node) -> nsqlite.Topic:
    topic = node.topic("bench")
    topic.channel("channel")
    return topic


if __name__ == "__main__":
    print(json.dumps({"fill": fill, "drain": drain, "few": few}[sys.argv[1]](Path(sys.argv[2]))))
