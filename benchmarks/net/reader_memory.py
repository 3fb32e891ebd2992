"""With bench_reader on a backlog: how fast does a node hand out what is in memory?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.reading import Reading

GOALS = {("memory", "B"): Goal(1.6, 2.5), ("memory", "C"): Goal(3, 5)}


def answer(match: Match) -> Iterator[Row]:
    """Against nsqd from memory, and from its disk queue."""
    yield from match.rows("bench_reader on a backlog", Reading(match.bench.seconds), "rate", "/s", GOALS)
