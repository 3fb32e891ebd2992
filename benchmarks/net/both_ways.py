"""Publishing and consuming at once: how many messages are finished a second, over all channels?

Two connections publish batches of 200 as fast as they are taken; each channel has one consumer with RDY 2500.
"""

from collections.abc import Iterator

from benchmarks.net.clients import loadgen
from benchmarks.net.match import Figures, Goal, Match, Row, Work
from benchmarks.net.servers import Server

GOALS = {("memory", "B"): Goal(1.2, 2)}


def answer(match: Match) -> Iterator[Row]:
    """With one channel, then with ten, where each message is delivered ten times."""
    for channels, words in ((1, "1 channel"), (10, "10 channels")):
        work = _flowing(match.bench.seconds, channels)
        yield from match.rows(f"publish and consume, {words}: finished", work, "finished_per_second", "/s", GOALS)


def _flowing(seconds: float, channels: int) -> Work:
    def work(server: Server) -> Figures:
        return loadgen("flow", server, seconds=seconds, channels=channels)

    return work
