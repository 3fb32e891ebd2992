"""A test with `nsqd` in memory: what do set-up and tear-down cost, beside fakeredis over TCP and a real nsqd?"""

from collections.abc import Iterator

from benchmarks.harness import Bench, Figure
from benchmarks.net.servers import PEERS
from benchmarks.testing.suites import around, figures

PING = (
    "import socket; client = socket.create_connection(fake_redis_server); client.sendall(b'PING\\r\\n'); client.close()"
)
COUNT = 40


def answer(bench: Bench) -> Iterator[Figure]:
    """Every test connects, and publishes a message."""
    measures = {
        "set-up and tear-down of a test with nsqd": (
            around(bench, "nsqd_address", "publish(nsqd_address)", COUNT),
            25.0,
        ),
        "the same with fakeredis.TcpFakeServer": (around(bench, "fake_redis_server", PING, COUNT), None),
    }
    if (PEERS / "nsqd").exists():
        measures["the same with a real nsqd process"] = around(bench, "real_nsqd", "publish(real_nsqd)", COUNT), None
    yield from figures(bench, measures)
