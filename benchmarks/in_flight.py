"""100,000 messages are in flight: what does each cost in bytes?

Taken twice, in processes of their own: with a caller that keeps every message it is given, and with
one that drops it at once, so that what is left is the node's own.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nsqlite
from benchmarks.harness import BATCH, Bench, Figure, bodies, in_child, median, rss_anon_bytes

MESSAGES = 100_000


def answer(bench: Bench) -> Iterator[Figure]:
    """Received one at a time, and a hundred a call."""
    for way, how in (("one", "one by one"), ("many", "by 100")):
        for fate, part in (("dropped", "the node's own"), ("kept", "with the message the caller keeps")):
            values = bench.repeat(partial(_story, bench, way, fate))["each"]
            yield Figure(f"{MESSAGES:,} in flight, received {how}: each, {part}", median(values), "bytes", None, values)


def _story(bench: Bench, way: str, fate: str) -> dict[str, float]:
    with bench.folder() as path:
        return in_child(__file__, path / "store", way, fate)


def hold(path: Path, way: str, fate: str) -> dict[str, float]:
    """Receive all, answer none."""
    count = 1 if way == "one" else BATCH
    with nsqlite.open(path, durability="commit") as node:
        topic = node.topic("bench")
        channel = topic.channel("channel")
        every = bodies(MESSAGES)
        for start in range(0, MESSAGES, BATCH):
            topic.publish_many(every[start : start + BATCH])
        node.sync()
        kept: list[nsqlite.Message | None] = [None] * MESSAGES
        waiting = rss_anon_bytes()
        for start in range(0, MESSAGES, count):
            messages = [channel.receive()] if way == "one" else channel.receive_many(BATCH)
            if fate == "kept":
                kept[start : start + count] = messages
        messages = []
        each = (rss_anon_bytes() - waiting) / MESSAGES
        assert channel.in_flight_count == MESSAGES
    return {"each": each}


if __name__ == "__main__":
    print(json.dumps(hold(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
