"""What nsqd tells a statsd: names, types and values as lines, and lines packed into datagrams. Pure.

A counter is sent as its increase since the push before, and a gauge as it is (NSQ reference, 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from nsqlite.names import is_ephemeral

if TYPE_CHECKING:
    from nsqlite.net.memory_stats import MemoryStats
    from nsqlite.stats import ChannelStats, Latency, TopicStats

MEMORY_GAUGES: Final = (
    "heap_objects",
    "heap_idle_bytes",
    "heap_in_use_bytes",
    "heap_released_bytes",
    "gc_pause_usec_100",
    "gc_pause_usec_99",
    "gc_pause_usec_95",
    "next_gc_bytes",
)


def full_prefix(prefix: str, address: str) -> str:
    """What stands in front of every name.

    Args:
        prefix: As the option has it.
        address: host:port, which takes the place of every "%s", as one word.
    """
    if not prefix:
        return ""
    whole = prefix.replace("%s", address.replace(".", "_").replace(":", "_"))
    return whole if whole.endswith(".") else whole + "."


def topic_lines(
    topics: Iterable[TopicStats], before: Iterable[TopicStats], prefix: str, *, exclude_ephemeral: bool = False
) -> Iterator[str]:
    """One line after another, without their ends.

    Args:
        topics: As they are now.
        before: As they were at the push before. A topic that is not there, or that counts from
            anew, is told with its whole counts.
        prefix: In front of every name.
        exclude_ephemeral: Leave out ephemeral topics and channels.
    """
    known = {topic.topic_name: topic for topic in before}
    for topic in topics:
        if exclude_ephemeral and is_ephemeral(topic.topic_name):
            continue
        last = known.get(topic.topic_name)
        name = f"{prefix}topic.{topic.topic_name}."
        yield f"{name}message_count:{_increase(topic, last, 'message_count')}|c"
        yield f"{name}message_bytes:{_increase(topic, last, 'message_bytes')}|c"
        yield f"{name}depth:{topic.depth}|g"
        yield f"{name}backend_depth:{topic.backend_depth}|g"
        yield from _latency_lines(name, topic.e2e_processing_latency)
        known_channels = {channel.channel_name: channel for channel in last.channels} if last else {}
        for channel in topic.channels:
            if not (exclude_ephemeral and is_ephemeral(channel.channel_name)):
                yield from _channel_lines(name, channel, known_channels.get(channel.channel_name))


def _channel_lines(topic: str, channel: ChannelStats, last: ChannelStats | None) -> Iterator[str]:
    name = f"{topic}channel.{channel.channel_name}."
    yield f"{name}message_count:{_increase(channel, last, 'message_count')}|c"
    yield f"{name}depth:{channel.depth}|g"
    yield f"{name}backend_depth:{channel.backend_depth}|g"
    yield f"{name}in_flight_count:{channel.in_flight_count}|g"
    yield f"{name}deferred_count:{channel.deferred_count}|g"
    yield f"{name}requeue_count:{_increase(channel, last, 'requeue_count')}|c"
    yield f"{name}timeout_count:{_increase(channel, last, 'timeout_count')}|c"
    yield f"{name}clients:{channel.client_count}|g"
    yield from _latency_lines(name, channel.e2e_processing_latency)


def _increase(now: object, last: object | None, counter: str) -> int:
    """How much a counter has grown; it began anew if it is smaller, as what it counts was deleted and made again."""
    count: int = getattr(now, counter)
    before: int = getattr(last, counter, 0)
    return count - before if count >= before else count


def _latency_lines(name: str, latency: Latency) -> Iterator[str]:
    for each in latency.percentiles:
        yield f"{name}e2e_processing_latency_{each.quantile * 100:.0f}:{each.value_ns}|g"


def memory_lines(memory: MemoryStats, runs_before: int, prefix: str) -> Iterator[str]:
    """The same of the process's memory; `runs_before` were the collections of garbage at the push before."""
    for gauge in MEMORY_GAUGES:
        yield f"{prefix}mem.{gauge}:{getattr(memory, gauge)}|g"
    yield f"{prefix}mem.gc_runs:{memory.gc_total_runs - runs_before}|c"


def datagrams(lines: Iterable[str], size_bytes: int) -> Iterator[bytes]:
    """Pack whole lines into as few datagrams as hold them; a line that is longer has one of its own."""
    packed = bytearray()
    for line in lines:
        data = line.encode() + b"\n"
        if packed and len(packed) + len(data) > size_bytes:
            yield bytes(packed)
            packed.clear()
        packed += data
    if packed:
        yield bytes(packed)
