"""How fast wrk gets messages into a server: what the questions about /pub and /mpub share."""

import time
from typing import Final

from benchmarks.http.wrk import post
from benchmarks.net.clients import CHANNEL, TOPIC, subscribe_once
from benchmarks.net.match import Figures, Work
from benchmarks.net.servers import Server

CONNECTIONS: Final = 32
ARRIVE_SECONDS: Final = 60


def publishing(seconds: float, target: str, body: bytes, messages: int) -> Work:
    """Let wrk POST for so long; each request carries so many messages. The figure is messages a second.

    The channel exists before, so that each message is routed, and nobody reads.
    """

    def work(server: Server) -> Figures:
        subscribe_once(server, TOPIC, CHANNEL)
        told = post(server, f"{target}topic={TOPIC}", body, connections=CONNECTIONS, seconds=seconds)
        published = int(told["requests"]) * messages
        _expect(server, published)
        return {"rate": published / told["seconds"]}

    return work


def _expect(server: Server, count: int) -> None:
    """Look whether they are there; wrk counts no requests whose answers it did not wait for.

    Raises:
        RuntimeError: They are not, after a minute.
    """
    deadline = time.monotonic() + ARRIVE_SECONDS
    while (depth := server.depth(TOPIC, CHANNEL)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{depth:,} of {count:,} messages wait")
        time.sleep(0.1)
