"""Cores built by hand: runs, topics and deliveries without an engine around them."""

from collections.abc import Sequence

from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.progress import Progress
from nsqlite.core.topic import Topic
from nsqlite.run import Run, build_run

SECOND = 1_000_000_000
NOW_NS = 1_000 * SECOND
WALL_NS = 1_700_000_000 * SECOND
TIMEOUT_NS = 60 * SECOND
MAX_TIMEOUT_NS = 900 * SECOND


def make_run(first_seq: int, bodies: Sequence[bytes], due_ns: int = 0, first_id: int | None = None) -> Run:
    """A run whose ids go with its seqs."""
    return build_run(first_seq, 1000 + first_seq if first_id is None else first_id, bodies, WALL_NS, due_ns)


def publish(topic: Topic, count: int, delay_ns: int = 0) -> Run:
    """Publish `count` messages, each with its seq as body."""
    bodies = [b"%d" % seq for seq in range(topic.end, topic.end + count)]
    run = make_run(topic.end, bodies, WALL_NS + delay_ns if delay_ns else 0)
    topic.append_run(run, NOW_NS + delay_ns if delay_ns else 0)
    return run


def make_channel(name: str = "billing", topic: str = "orders", mem_queue_size: int = 10_000) -> Channel:
    """A channel, number 2, of a topic, number 1, with a list for its progress."""
    progress: list[Progress] = []
    made = Topic(1, topic, mem_queue_size)
    return made.add_channel(2, name, 0, progress)


def take(channel: Channel, limit: int = 1, now_ns: int = NOW_NS, consumer: Consumer | None = None) -> list[Delivery]:
    """Take at a time of the test's choice."""
    return channel.take(limit, now_ns, TIMEOUT_NS, MAX_TIMEOUT_NS, consumer)


def seqs(deliveries: Sequence[Delivery]) -> list[int]:
    """The seqs of deliveries, in order."""
    return [seq for each in deliveries for seq in range(each.first_seq, each.first_seq + each.count)]
