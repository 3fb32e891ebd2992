"""With bench_writer, one message a batch: what does a round trip cost when there is nothing to share it?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.writing import writing

GOALS = {("memory", "B"): Goal(0.65, 1)}


def answer(match: Match) -> Iterator[Row]:
    """Two connections, one message under way on each."""
    yield from match.rows("bench_writer, batches of 1", writing(match.bench.seconds, batch=1), "rate", "/s", GOALS)
