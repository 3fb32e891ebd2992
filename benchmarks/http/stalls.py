"""How long messages wait while a server is asked to tell all, again and again: what two questions share."""

from collections.abc import Iterator
from typing import Final

from benchmarks.harness import median
from benchmarks.http.many import MANY, Target, lay_out, make_many
from benchmarks.http.wrk import getting
from benchmarks.net.clients import loadgen
from benchmarks.net.match import Figures, Goal, Match, Row, Work
from benchmarks.net.servers import Server, node_name, nsqd_name

RATE: Final = 1000
LONGER: Final = 2.5  # than the other questions measure: the slowest thousandth has to be several
MARGIN_SECONDS: Final = 2  # requests begin before the messages and end after them


def stalls(match: Match, name: str, target_of: Target, longest: Goal) -> Iterator[Row]:
    """A client publishes and consumes by the clock, and carries it in the bodies; the same without requests before."""
    scores = match.play(_stalling(LONGER * match.bench.seconds, target_of), ("memory",), ("D",), lay_out)
    ours, theirs = scores.values[node_name("memory", True)], scores.values[nsqd_name("D")]
    for figure, words, goal in (
        ("p50_us", "p50", Goal(None, None, is_more_better=False)),
        ("p999_us", "p99.9", Goal(None, None, is_more_better=False)),
        ("max_us", "longest", longest),
    ):
        quiet = f"quiet_{figure}"
        note = f"without requests {median(ours[quiet]):,.0f} us, nsqd {median(theirs[quiet]):,.0f} us"
        if figure == "max_us":
            note += f"; longest of all runs {max(ours[figure]):,.0f} us, nsqd {max(theirs[figure]):,.0f} us"
        work = f"PUB to receipt beside {name}, {RATE:,}/s: {words}"
        yield from scores.rows(work, figure, " us", {("memory", "D"): goal}, note)
    yield from scores.rows(
        f"{name} of {MANY}, beside them",
        "ms",
        " ms",
        {("memory", "D"): Goal(None, None, is_more_better=False)},
    )


def _stalling(seconds: float, target_of: Target) -> Work:
    def work(server: Server) -> Figures:
        make_many(server)
        quiet = loadgen("latency", server, seconds=seconds, rate=RATE)
        with getting(server, target_of(server), seconds=seconds + MARGIN_SECONDS) as ended:
            busy = loadgen("latency", server, seconds=seconds, rate=RATE)
            told = ended()
        before = {f"quiet_{figure}": value for figure, value in quiet.items()}
        return {**before, **busy, "ms": told["seconds"] * 1000 / told["requests"]}

    return work
