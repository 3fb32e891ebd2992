"""A million messages wait in ten channels: how much memory do they take, over an empty process?"""

import os
from collections.abc import Iterator

from benchmarks.net.clients import loadgen, subscribe_once
from benchmarks.net.match import Figures, Goal, Match, Row
from benchmarks.net.processes import rss_anon_bytes, rss_bytes
from benchmarks.net.servers import Server, arrive

MESSAGES = int(os.environ.get("BENCH_NET_WAITING", "1_000_000"))
CHANNELS = [f"ch{number}" for number in range(10)]
MIB = 1 << 20

# The aim of a tenth is for messages on disk; in memory the bodies alone are more than that.
GOALS = {
    ("memory", "B"): Goal(0.25, 0.25, is_more_better=False),
    ("commit", "B"): Goal(0.25, 0.1, is_more_better=False),
}


def answer(match: Match) -> Iterator[Row]:
    """All of a process's memory, mapped files too; the note tells how much of ours belongs to no file."""
    scores = match.play(_fill, ("memory", "commit"), ("B",))
    for goal in GOALS.items():
        anonymous = scores.median(f'"{goal[0][0]}"', "anonymous")
        note = f"of it without mapped files: {anonymous:,.0f} MiB"
        yield from scores.rows(f"{MESSAGES:,} waiting, 10 channels: memory", "memory", " MiB", dict([goal]), note)


def _fill(server: Server) -> Figures:
    empty, empty_anonymous = rss_bytes(server.pid), rss_anon_bytes(server.pid)
    for channel in CHANNELS:
        subscribe_once(server, "bench", channel)
    loadgen("fill", server, topic="bench", count=MESSAGES)
    for channel in CHANNELS:
        arrive(server, "bench", channel, MESSAGES)
    server.settle()
    memory, anonymous = rss_bytes(server.pid), rss_anon_bytes(server.pid)
    return {"memory": (memory - empty) / MIB, "anonymous": (anonymous - empty_anonymous) / MIB}
