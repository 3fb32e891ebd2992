"""The process that is killed: `python -m tests.crash.child PATH LEVEL WRITES SEED FIRST BESIDE`.

It opens the store, says what it finds, and then publishes, receives and finishes until
it is killed, telling its parent through a pipe what it does and what was answered.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from typing import Final

import nsqlite
from nsqlite.storage import journal
from tests.power.workload import SMALL_SEGMENT_BYTES, Workload, options_of

CHANNELS: Final = ("alpha/a", "alpha/b", "beta/x", "beta/y")


def tell(text: str) -> None:
    """One line to the parent. The call returns when the pipe has it, so a kill cannot take it back."""
    os.write(1, text.encode() + b"\n")


def main(path: str, level: str, writes: str, seed: str, first: str, beside: str) -> None:
    """Work until killed."""
    journal.FIRST_SEGMENT_BYTES = SMALL_SEGMENT_BYTES  # type: ignore[misc]  # or no segment is used again
    rng = random.Random(f"{seed} {level} {writes} {first}")
    tell(json.dumps({"do": "ready"}))
    node = nsqlite.open(path, durability=level, **options_of(rng, writes))
    work = Workload(node, rng, tell, int(first))
    there = [f"{name}/{each}" for name in node.topics for each in node.topic(name).channels]
    tell(json.dumps({"do": "restarted", "channels": there}))
    node.check()
    work.channels = [(topic, channel) for topic, _, channel in (name.partition("/") for name in there)]
    for name in CHANNELS:
        if name not in there:
            work.make(*name.split("/"))
    other = Workload(node, random.Random(seed), tell, int(beside))
    threading.Thread(target=publish_for_ever, args=(other,), daemon=True).start()
    while True:
        work.step(["alpha", "beta", "nobody"])


def publish_for_ever(work: Workload) -> None:
    """Publish beside the other thread."""
    rng = random.Random(1)
    while True:
        work.publish("alpha", rng.choice((1, 1, 5)))


if __name__ == "__main__":
    main(*sys.argv[1:])
