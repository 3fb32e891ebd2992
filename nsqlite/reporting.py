"""Counters and copies of a node, gathered under the lock and made up outside."""

from __future__ import annotations

from typing import Any

from nsqlite._version import __version__
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.errors import StoreError
from nsqlite.gate import refuse_deleted
from nsqlite.options import SECOND_NS
from nsqlite.run import AnyRun, timestamp_of
from nsqlite.state import unpack_exception
from nsqlite.stats import ChannelStats, NodeStats, TopicStats
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.interface import Damage

_LOOK_AT = 1000


def channel_counts(engine: Engine, channel: Channel) -> tuple[int, int, int]:
    """Depth, in-flight and deferred counts as of now."""
    now_ns = engine.clock.monotonic_ns()

    def read(broker: Broker) -> tuple[int, int, int]:
        refuse_deleted(channel)
        broker.tick(channel, now_ns)
        late, due = channel.overdue(now_ns)
        return channel.depth + late + due, channel.in_flight_count - late, channel.deferred_count - due

    counts: tuple[int, int, int] = engine.locked(read)
    engine.wake()
    return counts


def node_stats(engine: Engine) -> NodeStats:
    """The frozen tree of all counters."""
    now_ns, wall_ns = engine.clock.monotonic_ns(), engine.clock.wall_ns()
    oldest: dict[int, int | None] = {}

    def seek(broker: Broker) -> list[tuple[Channel, int, AnyRun | None]]:
        found = []
        for channel in broker.channels():
            broker.tick(channel, now_ns)
            seq = _oldest_seq(channel)
            if seq >= 0:
                found.append((channel, seq, channel.kept.get(seq) or channel.topic.log.find(seq)))
        return found

    for channel, seq, run in engine.locked(seek):
        oldest[channel.number] = _timestamp(engine, channel.topic, seq, run)

    def read(broker: Broker) -> list[TopicStats]:
        return [_topic_stats(topic, now_ns, wall_ns, oldest) for _, topic in sorted(broker.topics.items())]

    topics = tuple(engine.locked(read))
    engine.wake()
    storage = engine.storage
    return NodeStats(
        version=__version__,
        health=engine.health.text,
        start_time_ns=engine.start_time_ns,
        topics=topics,
        store_bytes=storage.store_bytes,
        journal_bytes=storage.journal.record_bytes if isinstance(storage, DurableStorage) else 0,
        producers=tuple(each for tell in engine.producers for each in tell()),
    )


def _oldest_seq(channel: Channel) -> int:
    """The lowest seq that waits, among the first thousand that are ready; -1 if none waits."""
    seqs = [unpack_exception(packed)[1] for packed, _ in zip(channel.ready, range(_LOOK_AT), strict=False)]
    if channel.fresh_count > 0:
        stepped = channel.topic.stepped
        seqs.append(stepped.next_absent(channel.cursor) if channel.stepped_ahead else channel.cursor)
    return min(seqs, default=-1)


def _timestamp(engine: Engine, topic: Topic, seq: int, run: AnyRun | None) -> int | None:
    if run is None:
        found: Any = engine.storage.read(topic.number, seq)
        if isinstance(found, Damage):
            return None
        run = next((each for each in found if 0 <= seq - each.first_seq < each.count), None)
    return None if run is None else timestamp_of(run.frame(seq - run.first_seq))


def _topic_stats(topic: Topic, now_ns: int, wall_ns: int, oldest: dict[int, int | None]) -> TopicStats:
    channels = []
    for _, channel in sorted(topic.channels.items()):
        late, due = channel.overdue(now_ns)
        timestamp = oldest.get(channel.number)
        in_memory = max(0, topic.routed - max(topic.log.settled_end, channel.cursor))
        depth = channel.depth + late + due
        channels.append(
            ChannelStats(
                channel_name=channel.name,
                depth=depth,
                backend_depth=max(0, depth - in_memory) if not channel.is_volatile else 0,
                in_flight_count=channel.in_flight_count - late,
                deferred_count=channel.deferred_count - due,
                message_count=channel.message_count,
                requeue_count=channel.requeue_count,
                timeout_count=channel.timeout_count,
                finish_count=channel.finish_count,
                dropped_count=channel.dropped_count,
                client_count=len(channel.consumers),
                clients=tuple(consumer.stats() for consumer in channel.consumers),
                paused=channel.is_paused,
                oldest_waiting_seconds=0.0 if timestamp is None else max(0, wall_ns - timestamp) / SECOND_NS,
            )
        )
    return TopicStats(
        topic_name=topic.name,
        channels=tuple(channels),
        depth=topic.depth,
        backend_depth=max(0, min(topic.depth, topic.log.settled_end - topic.routed)),
        message_count=topic.message_count,
        message_bytes=topic.message_bytes,
        dropped_count=topic.dropped_count,
        paused=topic.is_paused,
    )


def backup(engine: Engine, path: str) -> None:
    """Settle, then copy the store; see Node.backup."""
    storage = engine.storage
    if not isinstance(storage, DurableStorage) or engine.background is None:
        raise StoreError("a node in memory has no store to copy: open it with a path")
    engine.locked(lambda _: None)
    engine.background.settle_now()
    storage.backup(path)
