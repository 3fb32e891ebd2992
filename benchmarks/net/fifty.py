"""Fifty connections publish one message at a time: do they share a sync as well as they should?"""

from collections.abc import Iterator

from benchmarks.net.clients import loadgen, subscribe_once
from benchmarks.net.match import Figures, Goal, Match, Row
from benchmarks.net.servers import Server

CONNECTIONS = 50
GOALS = {("fsync", "B"): Goal(0.35, 0.6)}


def answer(match: Match) -> Iterator[Row]:
    """Each waits for its OK, which on our side means stable storage; nsqd's fifty never touch the disk."""

    def work(server: Server) -> Figures:
        subscribe_once(server, "bench", "ch0")
        return loadgen("singles", server, seconds=match.bench.seconds, connections=CONNECTIONS)

    yield from match.rows(f"PUB from {CONNECTIONS} connections", work, "published_per_second", "/s", GOALS)
