"""Counters and copies of a node, gathered under the lock and made up outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs

from nsqlite._version import __version__
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.latency import Sketch
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.errors import StoreError
from nsqlite.gate import refuse_deleted
from nsqlite.options import SECOND_NS
from nsqlite.run import AnyRun
from nsqlite.state import unpack_exception
from nsqlite.stats import NO_HISTOGRAM, NO_LATENCY, ChannelStats, ClientStats, HistogramStats, NodeStats, TopicStats
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.interface import Damage

SLICE_CHANNELS: Final = 500
_LOOK_AT: Final = 1000

# The fields of ChannelStats up to `paused`, and those of TopicStats from `depth` to `paused`.
_Counts = tuple[str, int, int, int, int, int, int, int, int, int, int, tuple[ClientStats, ...], bool]
_TopicCounts = tuple[int, int, int, int, int, bool]
_Measured = tuple[list[Sketch], HistogramStats]
# Of a channel: its counts; the oldest seq that waits, with its run; the halves of its window, and its histogram.
ChannelRow = tuple[_Counts, tuple[int, AnyRun | None] | None, _Measured | None]


@attrs.define
class TopicRows:
    """A topic as it was read under the lock. Making TopicStats of it takes twice as long as reading it.

    Attributes:
        topic: Which it is.
        wall_ns: When it was read.
        counts: The fields of TopicStats from `depth` to `paused`, in their order.
        channels: By name.
    """

    topic: Topic
    wall_ns: int
    counts: _TopicCounts
    channels: list[ChannelRow]


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


def node_stats(engine: Engine, topics: Iterable[TopicStats] | None = None) -> NodeStats:
    """The frozen tree of all counters.

    Args:
        engine: Of the node.
        topics: What is known of its topics already, or all that is wanted; None gathers them.
    """
    found = tuple(iter_topic_stats(engine) if topics is None else topics)
    storage, latencies = engine.storage, engine.broker.latencies
    is_durable = isinstance(storage, DurableStorage)
    return NodeStats(
        version=__version__,
        health=engine.health.text,
        start_time_ns=engine.start_time_ns,
        topics=found,
        store_bytes=storage.store_bytes,
        journal_bytes=storage.journal.record_bytes if isinstance(storage, DurableStorage) else 0,
        producers=tuple(each for tell in engine.producers for each in tell()),
        is_full=engine.is_full(),
        sync_seconds=engine.sync_times.stats() if is_durable else NO_HISTOGRAM,
        settlement_seconds=engine.settlement_times.stats() if is_durable else NO_HISTOGRAM,
        e2e_seconds=latencies.total.stats() if latencies is not None else NO_HISTOGRAM,
    )


def iter_topic_stats(
    engine: Engine, names: Iterable[str] | None = None, *, with_clients: bool = True, with_oldest: bool = True
) -> Iterator[TopicStats]:
    """Topics by name, one after another, each under a short lock of its own; see iter_topic_rows."""
    for topic in iter_topic_rows(engine, names, with_clients=with_clients, with_oldest=with_oldest):
        yield _made_up(engine, topic)


def iter_topic_rows(
    engine: Engine, names: Iterable[str] | None = None, *, with_clients: bool = True, with_oldest: bool = True
) -> Iterator[TopicRows]:
    """Topics by name, one after another, each under a short lock of its own.

    Who has other things to do lets others run between two of them. What was deleted meanwhile is
    left out.

    Args:
        engine: Of the node.
        names: Which topics, and in which order; None for all by name.
        with_clients: Whether `clients` is filled; `client_count` always is.
        with_oldest: Whether `oldest_waiting_seconds` is; it costs a look for each channel, perhaps into the store.

    Raises:
        ClosedError: The node was closed, perhaps between two of them.
    """
    if names is None:
        names = engine.locked(lambda broker: sorted(broker.topics))
    for name in names:
        topic = _topic_rows(engine, name, with_clients=with_clients, with_oldest=with_oldest)
        if topic is not None:
            yield topic


def topic_stats(engine: Engine, name: str, *, with_clients: bool = True, with_oldest: bool = True) -> TopicStats | None:
    """One topic's; None if there is none of the name. The arguments are those of `iter_topic_rows`."""
    topic = _topic_rows(engine, name, with_clients=with_clients, with_oldest=with_oldest)
    return None if topic is None else _made_up(engine, topic)


def _topic_rows(engine: Engine, name: str, *, with_clients: bool, with_oldest: bool) -> TopicRows | None:
    """One topic's; None if there is none of the name.

    Of a topic with more than SLICE_CHANNELS channels so many at a time are read under the lock.
    """
    now_ns, wall_ns = engine.clock.monotonic_ns(), engine.clock.wall_ns()
    rows: list[ChannelRow] = []

    def begin(broker: Broker) -> tuple[Topic, list[Channel], _TopicCounts] | None:
        topic = broker.topics.get(name)
        if topic is None:
            return None
        channels = list(topic.channels.values())
        counts = _topic_counts(broker, topic)
        if len(channels) <= SLICE_CHANNELS:
            read(broker, channels)
        return topic, channels, counts

    def read(broker: Broker, channels: Sequence[Channel]) -> None:
        rows.extend([_row(broker, each, now_ns, with_clients, with_oldest) for each in channels])

    found: tuple[Topic, list[Channel], _TopicCounts] | None = engine.locked(begin)
    if found is None:
        return None
    topic, channels, counts = found
    for at in range(0, len(channels) if not rows else 0, SLICE_CHANNELS):
        engine.locked(partial(read, channels=channels[at : at + SLICE_CHANNELS]))
    engine.wake()
    rows.sort(key=_name)
    return TopicRows(topic, wall_ns, counts, rows)


def _made_up(engine: Engine, read: TopicRows) -> TopicStats:
    """What was read of a topic as a frozen tree. Lock free: it may look into the store, and it sorts."""
    latencies = engine.broker.latencies
    channels, sketches = [], []
    latency, histogram = NO_LATENCY, None
    for row, oldest, measured in read.channels:
        age = 0.0
        if oldest is not None:
            timestamp = _timestamp(engine, read.topic, *oldest)
            age = 0.0 if timestamp is None else max(0, read.wall_ns - timestamp) / SECOND_NS
        if latencies is not None and measured is not None:
            halves, histogram = measured
            sketch, latency = latencies.merged(halves)
            sketches.append(sketch)
        channels.append(
            ChannelStats(*row, oldest_waiting_seconds=age, e2e_processing_latency=latency, e2e_seconds=histogram)
        )
    if latencies is not None and sketches:
        latency = latencies.merged(sketches)[1]
    return TopicStats(read.topic.name, tuple(channels), *read.counts, e2e_processing_latency=latency)


def _name(row: ChannelRow) -> str:
    return row[0][0]


def _topic_counts(broker: Broker, topic: Topic) -> _TopicCounts:
    """The fields of TopicStats from `depth` to `paused`, in their order."""
    return (
        topic.depth,
        max(0, min(topic.depth, topic.log.settled_end - topic.routed)) if broker.is_durable else 0,
        topic.message_count,
        topic.message_bytes,
        topic.dropped_count,
        topic.is_paused,
    )


def _row(broker: Broker, channel: Channel, now_ns: int, with_clients: bool, with_oldest: bool) -> ChannelRow:
    """The fields of ChannelStats up to `paused`, in their order; what oldest message waits; the latencies.

    Hot: 1 us a channel without clients, for /stats of 10,000 channels.
    """
    topic = channel.topic
    late = due = 0
    if now_ns >= channel.next_due_ns:
        broker.tick(channel, now_ns)
        late, due = channel.overdue(now_ns)
    ready = channel.depth + late + due
    on_disk = 0
    if ready and topic.log.settled_end and broker.is_durable and not channel.is_volatile:
        on_disk = max(0, ready - max(0, topic.routed - max(topic.log.settled_end, channel.cursor)))
    row = (
        channel.name,
        ready,
        on_disk,
        channel.in_flight_count - late,
        channel.deferred_count - due,
        channel.message_count,
        channel.requeue_count,
        channel.timeout_count,
        channel.finish_count,
        channel.dropped_count,
        len(channel.consumers),
        tuple([each.stats() for each in channel.consumers]) if with_clients and channel.consumers else (),
        channel.is_paused,
    )
    latency = channel.latency
    measured = (latency.halves(now_ns), latency.histogram.stats()) if latency is not None else None
    return row, _oldest(channel) if with_oldest and ready else None, measured


def _oldest(channel: Channel) -> tuple[int, AnyRun | None] | None:
    """The lowest seq that waits, among the first thousand that are ready, and its run if that is in memory."""
    seqs = [unpack_exception(packed)[1] for packed, _ in zip(channel.ready, range(_LOOK_AT), strict=False)]
    if channel.fresh_count > 0:
        stepped = channel.topic.stepped
        seqs.append(stepped.next_absent(channel.cursor) if channel.stepped_ahead else channel.cursor)
    if not seqs:
        return None
    seq = min(seqs)
    return seq, channel.kept.get(seq) or channel.topic.log.find(seq)


def _timestamp(engine: Engine, topic: Topic, seq: int, run: AnyRun | None) -> int | None:
    if run is None:
        found: Any = engine.storage.read(topic.number, seq)
        if isinstance(found, Damage):
            return None
        run = next((each for each in found if 0 <= seq - each.first_seq < each.count), None)
    return None if run is None else run.timestamp(seq - run.first_seq)


def backup(engine: Engine, path: str) -> None:
    """Settle, then copy the store; see Node.backup."""
    storage = engine.storage
    if not isinstance(storage, DurableStorage) or engine.background is None:
        raise StoreError("a node in memory has no store to copy: open it with a path")
    engine.locked(lambda _: None)
    engine.background.settle_now()
    storage.backup(path)
