"""With bench_writer, 200 messages a batch: how does a node that keeps nothing on disk compare?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.writing import LONGER, writing

GOALS = {("memory", "A"): Goal(1.1, 1.4), ("memory", "B"): Goal(0.7, 1)}


def answer(match: Match) -> Iterator[Row]:
    """Against nsqd as its own benchmark runs it, and against one that never touches the disk."""
    yield from match.rows("bench_writer, batches of 200", writing(LONGER * match.bench.seconds), "rate", "/s", GOALS)
