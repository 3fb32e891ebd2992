"""A test with `nsq`: what do set-up and tear-down cost, beside those of fakeredis?"""

from collections.abc import Iterator

from benchmarks.harness import Bench, Figure
from benchmarks.testing.suites import around, figures

OURS = 'nsq.on("orders", "billing", lambda message: None); nsq.publish("orders", b"7"); nsq.drain()'
THEIRS = 'fake_redis.lpush("orders", b"7"); assert fake_redis.rpop("orders") == b"7"'
COUNT = 200


def answer(bench: Bench) -> Iterator[Figure]:
    """Every test publishes a message and has it consumed."""
    measures = {
        "set-up and tear-down of a test with nsq": (around(bench, "nsq", OURS, COUNT), 2.0),
        "the same with fakeredis.FakeRedis": (around(bench, "fake_redis", THEIRS, COUNT), None),
        "the same with a fixture that does nothing": (around(bench, "nothing", "pass", COUNT), None),
    }
    yield from figures(bench, measures)
