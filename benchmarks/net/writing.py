"""How fast bench_writer gets messages into a server: what the three questions about it share.

The channel exists before, so that each message is routed, and nobody reads. Batches are written for as long as
bench_writer does by default, ten seconds. That matters: nsqd A is as fast as B until its memory queues are full.
"""

from benchmarks.net.clients import CHANNEL, TOPIC, bench_writer, subscribe_once
from benchmarks.net.match import Figures, Work
from benchmarks.net.servers import Server

LONGER = 2.5  # than the other questions measure


def writing(seconds: float, *, batch: int = 200) -> Work:
    """Let bench_writer write for so long, so many messages an MPUB."""

    def work(server: Server) -> Figures:
        subscribe_once(server, TOPIC, CHANNEL)
        return {"rate": bench_writer(server, seconds, batch=batch)}

    return work
