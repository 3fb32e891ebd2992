"""While /stats?format=json of 1,000 topics with 10 channels is asked for again and again, how long do messages take?"""

from collections.abc import Iterator

from benchmarks.http.many import stats_of
from benchmarks.http.stalls import stalls
from benchmarks.net.match import Goal, Match, Row

LONGEST = Goal(0, 1, is_more_better=False, allowance=20_000)


def answer(match: Match) -> Iterator[Row]:
    """No message may be stalled for more than 20 ms, whatever nsqd does."""
    yield from stalls(match, "/stats", stats_of, LONGEST)
