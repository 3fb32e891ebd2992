"""What a statsd hears from the real nsqd and from a node after the same traffic."""

import socket
import struct
import time
from typing import Any

import pytest

from tests.interop.servers import SERVERS, Server, until
from tests.interop.transcripts.wire import pub

COUNTS = {
    "p.topic.orders.message_count|c": 7,
    "p.topic.orders.message_bytes|c": 28,
    "p.topic.orders.depth|g": 0,
    "p.topic.orders.channel.billing.message_count|c": 7,
    "p.topic.orders.channel.billing.depth|g": 4,
    "p.topic.orders.channel.billing.in_flight_count|g": 1,
    "p.topic.orders.channel.billing.deferred_count|g": 1,
    "p.topic.orders.channel.billing.requeue_count|c": 1,
    "p.topic.orders.channel.billing.timeout_count|c": 0,
    "p.topic.orders.channel.billing.clients|g": 1,
    "p.topic.alone.depth|g": 1,
}


class Ear:
    """A statsd that adds counters up and keeps the last value of gauges."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.values: dict[str, int] = {}
        self.sizes: list[int] = []

    def listen(self) -> dict[str, int]:
        """What is known by now: name and type, to value."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return self.values
        self.sizes.append(len(data))
        for line in data.decode().splitlines():
            name, _, value = line.rpartition(":")
            number, _, kind = value.partition("|")
            before = self.values.get(f"{name}|{kind}", 0) if kind == "c" else 0
            self.values[f"{name}|{kind}"] = before + int(number)
        return self.values


def consume(server: Server) -> socket.socket:
    """Take three of seven messages: finish one, requeue one for later, keep one."""
    client = socket.create_connection((server.host, server.port), timeout=10)
    stream = client.makefile("rb")

    def frame() -> tuple[int, bytes]:
        size, kind = struct.unpack(">II", stream.read(8))
        return kind, stream.read(size - 4)

    client.sendall(b"  V2SUB orders billing\n")
    assert frame() == (0, b"OK")
    client.sendall(b"".join(pub("orders", b"four") for _ in range(7)) + pub("alone", b"x"))
    assert [frame() for _ in range(8)] == [(0, b"OK")] * 8
    client.sendall(b"RDY 3\n")
    ids = [frame()[1][10:26] for _ in range(3)]
    client.sendall(b"RDY 0\nREQ " + ids[0] + b" 600000\nFIN " + ids[1] + b"\n")
    return client


def heard(kind: str, **options: Any) -> Ear:
    """What a server tells after some traffic, and a push more."""
    ear = Ear()
    address = f"127.0.0.1:{ear.socket.getsockname()[1]}"
    wanted = {"statsd_address": address, "statsd_interval": 2.0, "statsd_prefix": "p", **options}
    with SERVERS[kind](**wanted) as server, consume(server):
        until(lambda: COUNTS.items() <= ear.listen().items(), f"all counts of {kind}")
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            ear.listen()
    ear.socket.close()
    return ear


@pytest.fixture(scope="module")
def ears() -> dict[str, Ear]:
    """Both of them."""
    percentiles = (1.0, 0.99, 0.5)
    return {kind: heard(kind, e2e_processing_latency_percentiles=percentiles) for kind in SERVERS}


def test_names_and_types_are_those_of_nsqd(ears: dict[str, Ear]) -> None:
    """Every line that one of them sends, the other sends, too."""
    assert ears["node"].values.keys() == ears["nsqd"].values.keys()


def test_values_are_those_of_nsqd(ears: dict[str, Ear]) -> None:
    """Counts and depths, that is; memory and latencies are each its own."""
    for kind in ears:
        assert {name: ears[kind].values[name] for name in COUNTS} == COUNTS


def test_datagrams_have_the_size_of_nsqds(ears: dict[str, Ear]) -> None:
    """As full as lines allow, up to 508 bytes."""
    assert max(ears["node"].sizes) <= 508
    assert abs(max(ears["node"].sizes) - max(ears["nsqd"].sizes)) < 100
