"""With bench_writer, 200 messages a batch: what is left when each batch is on stable storage before its OK?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.writing import LONGER, writing

GOALS = {("fsync", "A"): Goal(0.7, 1), ("fsync", "B"): Goal(0.28, 0.5), ("fsync", "C"): Goal(1.4, 2.5)}


def answer(match: Match) -> Iterator[Row]:
    """None of the three nsqds promises as much: even C syncs some time after its OK."""
    yield from match.rows("bench_writer, batches of 200", writing(LONGER * match.bench.seconds), "rate", "/s", GOALS)
