"""POST /pub, a message of 200 bytes a request, from 32 connections: how many messages a second?"""

from collections.abc import Iterator

from benchmarks.harness import BODY_BYTES
from benchmarks.http.publishing import publishing
from benchmarks.net.match import Goal, Match, Row

GOALS = {
    ("memory", "B"): Goal(0.35, 0.45),
    ("commit", "B"): Goal(None, None),
    ("fsync", "B"): Goal(None, None),
}


def answer(match: Match) -> Iterator[Row]:
    """At "memory", and what is left of it where nsqd promises less."""
    work = publishing(match.bench.seconds, "/pub?", b"x" * BODY_BYTES, 1)
    yield from match.rows("/pub", work, "rate", "/s", GOALS)
