"""A thousand consumers that get nothing but heartbeats: what do they cost?

Heartbeats come every second here, so that there is something to see; by default they come every thirty, and
cost a thirtieth.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator

from benchmarks.net.clients import loadgen_command
from benchmarks.net.match import Figures, Goal, Match, Row
from benchmarks.net.processes import cpu_seconds, rss_bytes
from benchmarks.net.servers import Server

CONSUMERS = int(os.environ.get("BENCH_NET_IDLE", "1_000"))
LONGER = 5  # than the other questions measure: 20 seconds
GOALS = {("memory", "B"): Goal(2, 1, is_more_better=False)}
MIB = 1 << 20


def answer(match: Match) -> Iterator[Row]:
    """CPU as parts of a core, and memory over the same process without them."""
    scores = match.play(lambda server: _hold(server, LONGER * match.bench.seconds), ("memory",), ("B",))
    beats = scores.median('"memory"', "heartbeats_per_second")
    note = f"{beats:,.0f} heartbeats a second; by default, one in 30 s from each, there are a thirtieth"
    what = f"{CONSUMERS:,} idle consumers"
    yield from scores.rows(f"{what}: share of a core", "cpu_percent", " %", GOALS, note)
    yield from scores.rows(f"{what}: memory", "memory", " MiB", GOALS)


def _hold(server: Server, seconds: float) -> Figures:
    empty = rss_bytes(server.pid)
    command = [*loadgen_command("idle", server), f"-connections={CONSUMERS}", "-heartbeat=1s"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as consumers:
        try:
            assert consumers.stdout is not None
            if consumers.stdout.readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} did not get ready")
            ready = time.monotonic()
            time.sleep(1)  # connecting is not what is asked
            before, started = cpu_seconds(server.pid), time.monotonic()
            time.sleep(seconds)
            used = (cpu_seconds(server.pid) - before) / (time.monotonic() - started)
            memory = rss_bytes(server.pid) - empty
            told, _ = consumers.communicate("", timeout=60)
        finally:
            consumers.kill()
    if consumers.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {consumers.returncode}")
    beats = json.loads(told)["heartbeats"] / (time.monotonic() - ready)
    return {"cpu_percent": 100 * used, "memory": memory / MIB, "heartbeats_per_second": beats}
