"""GET /stats?format=json of 1,000 topics with 10 channels each: how long does an answer take?"""

from collections.abc import Iterator

from benchmarks.http.many import MANY, lay_out, stats_of, telling
from benchmarks.net.match import Goal, Match, Row

GOALS = {("memory", "D"): Goal(2, 1, is_more_better=False)}


def answer(match: Match) -> Iterator[Row]:
    """One after another, on one connection, with nothing else to do; clients and memory are in it."""
    scores = match.play(telling(stats_of, match.bench.seconds), ("memory",), ("D",), lay_out)
    yield from scores.rows(f"/stats, {MANY}", "ms", " ms", GOALS)
