"""While /metrics of 1,000 topics with 10 channels is asked for again and again, how long do messages take?"""

from collections.abc import Iterator

from benchmarks.http.many import metrics_of
from benchmarks.http.stalls import stalls
from benchmarks.net.match import Goal, Match, Row

LONGEST = Goal(None, None, is_more_better=False)


def answer(match: Match) -> Iterator[Row]:
    """Beside nsqd's /stats, since it has no metrics."""
    yield from stalls(match, "/metrics", metrics_of, LONGEST)
