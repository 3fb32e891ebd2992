"""The process was killed with much in its journal: how long does the next opening take?

A child publishes with settling put off until the journal holds so much, and kills itself; a fresh
process opens the store with the default options. Single messages are the worst case, since each has a
record of its own to check.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nsqlite
from benchmarks.harness import BATCH, POOL, Bench, Figure, bodies, in_child, median

MIB = 1 << 20
LIMITS = {32: 1.0, 256: 5.0}  # MiB of journal: seconds that the design allows


def answer(bench: Bench) -> Iterator[Figure]:
    """Two sizes, made of single messages and of hundreds."""
    for size, at_most in LIMITS.items():
        for way, how in (("one", "published one by one"), ("many", "published by 100")):
            values = bench.repeat(lambda size=size, way=way: _story(bench, size, way))["seconds"]
            what = f"opening after a kill, {size} MiB of journal, {how}"
            yield Figure(what, median(values), "s", at_most, values)


def _story(bench: Bench, size: int, way: str) -> dict[str, float]:
    with bench.folder() as path:
        in_child(__file__, way, path / "store", size, killed=True)
        return in_child(__file__, "open", path / "store")


def publish_and_die(path: Path, way: str, size: int) -> None:
    """Fill the journal, note how many messages were answered, and go without a word."""
    options = nsqlite.Options(
        durability="commit", settle_interval=3600.0, settle_bytes=1 << 30, max_journal_bytes=1 << 30
    )
    node = nsqlite.open(path, options=options)
    topic = node.topic("bench")
    topic.channel("channel")
    published, many = 0, bodies(BATCH)
    while node.stats().journal_bytes < size * MIB:
        for _ in range(50):
            if way == "one":
                for body in POOL[:BATCH]:
                    topic.publish(body)
            else:
                topic.publish_many(many)
            published += BATCH
    path.with_suffix(".published").write_text(str(published), encoding="ascii")
    os.kill(os.getpid(), signal.SIGKILL)


def reopen(path: Path) -> dict[str, float]:
    """Time the opening; all that was answered must be there."""
    started = time.perf_counter()
    with nsqlite.open(path, durability="commit") as node:
        took = time.perf_counter() - started
        depth = node.topic("bench").channel("channel").depth
    published = int(path.with_suffix(".published").read_text(encoding="ascii"))
    assert depth == published, f"{published} published, {depth} there"
    return {"seconds": took}


if __name__ == "__main__":
    if sys.argv[1] == "open":
        print(json.dumps(reopen(Path(sys.argv[2]))))
    else:
        publish_and_die(Path(sys.argv[2]), sys.argv[1], int(sys.argv[3]))
