"""A server with 1,000 topics of 10 channels, and how long it takes to tell about them."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.http.wrk import getting
from benchmarks.net.match import Figures, Work
from benchmarks.net.servers import NodeProcess, Server

TOPICS: Final = int(os.environ.get("BENCH_HTTP_TOPICS", "1_000"))
CHANNELS: Final = 10
MANY: Final = f"{TOPICS:,} topics of {CHANNELS} channels"
STATS: Final = "/stats?format=json"
METRICS: Final = "/metrics"
LONG_SECONDS: Final = 4  # a few answers, whoever gives them

Target = Callable[[Server], str]


def stats_of(_: Server) -> str:
    """Where a server tells all."""
    return STATS


def metrics_of(server: Server) -> str:
    """Where a server's Prometheus has to ask: nsqd has nothing but its JSON, which others make metrics of."""
    return METRICS if isinstance(server, NodeProcess) else STATS


def lay_out(path: Path) -> None:
    """Write what an nsqd remembers of them; it would take half a minute to create them one by one."""
    channels = [{"name": f"channel{number}", "paused": False} for number in range(CHANNELS)]
    topics = [{"name": f"topic{number}", "paused": False, "channels": channels} for number in range(TOPICS)]
    (path / "nsqd.dat").write_text(json.dumps({"version": "1.3.0", "topics": topics}), encoding="utf-8")


def make_many(server: Server) -> None:
    """Create the topics and channels in a node, which begins without any.

    Raises:
        RuntimeError: One of them could not be.
    """
    if not isinstance(server, NodeProcess):
        return
    connection = http.client.HTTPConnection(server.http_address, timeout=30)
    try:
        for target in _creations():
            connection.request("POST", target)
            with connection.getresponse() as answer:
                told = answer.read()
                if answer.status != http.client.OK:
                    raise RuntimeError(f"{target} was answered with {answer.status} {told!r}")
    finally:
        connection.close()


def _creations() -> Iterator[str]:
    for topic in range(TOPICS):
        yield f"/topic/create?topic=topic{topic}"
        for channel in range(CHANNELS):
            yield f"/channel/create?topic=topic{topic}&channel=channel{channel}"


def telling(target_of: Target, seconds: float) -> Work:
    """Ask again and again on one connection. The figures are a request's milliseconds and the answer's bytes."""

    def work(server: Server) -> Figures:
        make_many(server)
        with getting(server, target_of(server), seconds=max(seconds, LONG_SECONDS)) as ended:
            told = ended()
        return {"ms": told["seconds"] * 1000 / told["requests"], "bytes": told["bytes"] / told["requests"]}

    return work
