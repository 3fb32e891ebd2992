"""From PUB to receipt at 1,000 messages a second: what do the middle one and the slowest hundredth take?

One program publishes and consumes and carries its own clock in the bodies. At "fsync" a message cannot come
before it is on stable storage, so the limit there has one sync of the same disk on top, measured beside it.
"""

from collections.abc import Iterator

import attrs

from benchmarks.harness import median
from benchmarks.net.clients import loadgen
from benchmarks.net.disk import sync_times_us
from benchmarks.net.match import Figures, Goal, Match, Row
from benchmarks.net.servers import Server

RATE = 1000
GOAL = Goal(1.5, 1, is_more_better=False)
LONGER = 2.5  # than the other questions measure: the slowest hundredth has to be many


def answer(match: Match) -> Iterator[Row]:
    """The middle one, then the slowest hundredth, at each durability."""
    syncs: dict[str, list[float]] = {"p50_us": [], "p99_us": []}

    def work(server: Server) -> Figures:
        with match.bench.folder() as path:
            for name, took in sync_times_us(path).items():
                syncs[name].append(took)
        return loadgen("latency", server, seconds=LONGER * match.bench.seconds, rate=RATE)

    scores = match.play(work, ("memory", "commit", "fsync"), ("B",))
    for figure, took in syncs.items():
        name, sync = figure.removesuffix("_us"), median(took)
        what = f"PUB to receipt, {RATE:,}/s: {name}"
        note = f"one sync of this disk takes {sync:,.0f} us at its {name}"
        yield from scores.rows(what, figure, " us", {("memory", "B"): GOAL, ("commit", "B"): GOAL})
        yield from scores.rows(what, figure, " us", {("fsync", "B"): attrs.evolve(GOAL, allowance=sync)}, note)
