"""With bench_writer, 200 messages a batch: what is left when each message survives a kill before its OK?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.writing import LONGER, writing

GOALS = {("commit", "A"): Goal(1.05, 1.3), ("commit", "B"): Goal(0.45, 0.75), ("commit", "C"): Goal(2.3, 3.5)}


def answer(match: Match) -> Iterator[Row]:
    """None of the three nsqds promises as much; C at least writes each message to a file."""
    yield from match.rows("bench_writer, batches of 200", writing(LONGER * match.bench.seconds), "rate", "/s", GOALS)
