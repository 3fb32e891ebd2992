"""GET /metrics of 1,000 topics with 10 channels each: how long does an answer take, beside nsqd's JSON?"""

from collections.abc import Iterator

from benchmarks.harness import median
from benchmarks.http.many import MANY, lay_out, metrics_of, telling
from benchmarks.net.match import Goal, Match, Row

GOALS = {("memory", "D"): Goal(None, None, is_more_better=False)}


def answer(match: Match) -> Iterator[Row]:
    """One after another, on one connection, with nothing else to do."""
    scores = match.play(telling(metrics_of, match.bench.seconds), ("memory",), ("D",), lay_out)
    sizes = [median(figures["bytes"]) / 1e6 for figures in scores.values.values()]
    note = f"nsqd has none: its /stats of {sizes[0]:.1f} MB, beside {sizes[1]:.1f} MB of metrics"
    yield from scores.rows(f"/metrics, {MANY}", "ms", " ms", GOALS, note)
