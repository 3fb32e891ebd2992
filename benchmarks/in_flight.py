"""100,000 messages are in flight: what does each cost in bytes?

Read twice: while the caller holds the messages it was given, and after it dropped them, when what is
left is the node's own. Their bodies are among it: the caller holds a copy, the node its cached runs.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nsqlite
from benchmarks.harness import BATCH, Bench, Figure, bodies, in_child, median, rss_anon_bytes

MESSAGES = 100_000


def answer(bench: Bench) -> Iterator[Figure]:
    """Received one at a time, and a hundred a call."""
    for way, how in (("one", "received one by one"), ("many", "received by 100")):
        values = bench.repeat(lambda way=way: _story(bench, way))
        for name, part in (("node", "the node's own"), ("held", "with the message the caller holds")):
            what = f"{MESSAGES:,} in flight, {how}: each, {part}"
            yield Figure(what, median(values[name]), "bytes", None, values[name])


def _story(bench: Bench, way: str) -> dict[str, float]:
    with bench.folder() as path:
        return in_child(__file__, way, path / "store")


def hold(path: Path, way: str) -> dict[str, float]:
    """Receive all without an answer, then drop what was received."""
    with nsqlite.open(path, durability="commit") as node:
        topic = node.topic("bench")
        channel = topic.channel("channel")
        every = bodies(MESSAGES)
        for start in range(0, MESSAGES, BATCH):
            topic.publish_many(every[start : start + BATCH])
        node.sync()
        messages: list[nsqlite.Message | None] = [None] * MESSAGES
        waiting = rss_anon_bytes()
        if way == "one":
            for index in range(MESSAGES):
                messages[index] = channel.receive()
        else:
            for start in range(0, MESSAGES, BATCH):
                messages[start : start + BATCH] = channel.receive_many(BATCH)
        held = rss_anon_bytes()
        assert channel.in_flight_count == MESSAGES
        messages.clear()
        node_alone = rss_anon_bytes()
    return {"held": (held - waiting) / MESSAGES, "node": (node_alone - waiting) / MESSAGES}


if __name__ == "__main__":
    print(json.dumps(hold(Path(sys.argv[2]), sys.argv[1])))
