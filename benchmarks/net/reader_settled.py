"""With bench_reader on a backlog: how fast does a node hand out what has long gone to its B-tree?"""

from collections.abc import Iterator

from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.reading import Reading

GOALS = {
    ("commit", "B"): Goal(1.2, 1.6),
    ("commit", "C"): Goal(2.5, 4),
    ("fsync", "B"): Goal(1.2, 1.6),
    ("fsync", "C"): Goal(2.5, 4),
}


def answer(match: Match) -> Iterator[Row]:
    """Against nsqd from memory, and from its disk queue; each FIN is kept on our side, on theirs none."""
    yield from match.rows("bench_reader on a settled backlog", Reading(match.bench.seconds), "rate", "/s", GOALS)
