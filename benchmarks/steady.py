"""One thread publishes, one consumes, for a minute: does it slow down, does the store grow?

At "commit", one message at a time on both sides, about a thousand waiting: whoever runs more than a
tenth ahead of that sleeps for a moment. The store is measured every second; for "no larger" the
largest of the last ten seconds stands against the largest of the first ten.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nsqlite
from benchmarks.harness import POOL, Bench, Figure, Line, disk_bytes, in_child, median

SECONDS = int(os.environ.get("BENCH_STEADY", "60"))
WINDOW = min(10, SECONDS // 2)
DEPTH = 1000
SLACK = 100
MIB = 1 << 20


def answer(bench: Bench) -> Iterator[Line | Figure]:
    """The last ten seconds against the first ten, as messages consumed."""
    values = bench.repeat(lambda: _story(bench))
    work = f'"commit": publishing beside consuming, last {WINDOW} s of {SECONDS}'
    yield Line(work, f"itself, first {WINDOW} s", median(values["last"]), median(values["first"]), 0.95)
    before = median(values["store_first"])
    what = f"the same: the store in the last {WINDOW} s (first: {before:,.1f})"
    yield Figure(what, median(values["store_last"]), "MiB", before, values["store_last"])


def _story(bench: Bench) -> dict[str, float]:
    with bench.folder() as path:
        return in_child(__file__, path / "store")


def minute(path: Path) -> dict[str, float]:
    """Run both threads and look on, once a second."""
    published = consumed = 0
    over = False
    with nsqlite.open(path, durability="commit") as node:
        topic = node.topic("bench")
        channel = topic.channel("channel")

        def publish() -> None:
            nonlocal published
            while not over:
                topic.publish(POOL[published % len(POOL)])
                published += 1
                while published - consumed > DEPTH + SLACK and not over:
                    time.sleep(0.0001)

        def consume() -> None:
            nonlocal consumed
            while not over:
                while published - consumed < DEPTH - SLACK and not over:
                    time.sleep(0.0001)
                message = channel.receive(timeout=1)
                if message is not None:
                    message.finish()
                    consumed += 1

        threads = [threading.Thread(target=publish), threading.Thread(target=consume)]
        for thread in threads:
            thread.start()
        seen, sizes, started = [(time.perf_counter(), consumed)], [], time.perf_counter()
        for second in range(1, SECONDS + 1):
            time.sleep(max(0.0, started + second - time.perf_counter()))
            seen.append((time.perf_counter(), consumed))
            sizes.append(disk_bytes(path))
        over = True
        for thread in threads:
            thread.join()
    return {
        "first": _rate(seen[0], seen[WINDOW]),
        "last": _rate(seen[-1 - WINDOW], seen[-1]),
        "store_first": max(sizes[:WINDOW]) / MIB,
        "store_last": max(sizes[-WINDOW:]) / MIB,
    }


def _rate(before: tuple[float, int], after: tuple[float, int]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0])


if __name__ == "__main__":
    print(json.dumps(minute(Path(sys.argv[1]))))
