"""GET /stats as text: nsqd's layout, in C's format widths. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import attrs

from nsqlite.net.http_api.identity import version_line, who
from nsqlite.net.memory_stats import MemoryStats
from nsqlite.net.protocol.go_duration import format_duration
from nsqlite.options import SECOND_NS
from nsqlite.stats import ChannelStats, ClientStats, Latency, TopicStats


def text_parts(
    *,
    health: str,
    start_time_ns: int,
    now_ns: int,
    memory: MemoryStats | None,
    topics: Iterable[TopicStats],
    producers: Iterable[ClientStats],
    topic_name: str = "",
) -> Iterator[bytes]:
    """The whole page, piece by piece; of what clients published, only `topic_name` if there is one."""
    yield _head(health, start_time_ns, now_ns).encode()
    if memory is not None:
        lines = [f"   {name:<25}\t{value}\n" for name, value in attrs.asdict(memory).items()]
        yield "".join(["\nMemory:\n", *lines]).encode()
    title = "\nTopics:"
    for topic in topics:
        yield (title + _topic_line(topic)).encode()
        title = ""
        for channel in topic.channels:
            clients = "".join(f"        {client_line(each, now_ns, topic_name)}\n" for each in channel.clients)
            yield (_channel_line(channel) + clients).encode("utf-8", "surrogateescape")
    if title:
        yield b"\nTopics: None\n"
    title = "\nProducers:\n"
    for client in producers:
        yield f"{title}   {client_line(client, now_ns, topic_name)}\n".encode("utf-8", "surrogateescape")
        title = ""
    if title:
        yield b"\nProducers: None\n"


def _head(health: str, start_time_ns: int, now_ns: int) -> str:
    start = datetime.fromtimestamp(start_time_ns // SECOND_NS, UTC)
    return (
        f"{version_line('nsqd')}\n"
        f"start_time {start:%Y-%m-%dT%H:%M:%SZ}\n"
        f"uptime {format_duration(now_ns - start_time_ns)}\n"
        f"\nHealth: {health}\n"
    )


def _topic_line(topic: TopicStats) -> str:
    prefix = "*P " if topic.paused else "   "
    return (
        f"\n{prefix}[{topic.topic_name:<15}] depth: {topic.depth:<5d} be-depth: {topic.backend_depth:<5d} "
        f"msgs: {topic.message_count:<8d} e2e%: {_latencies(topic.e2e_processing_latency)}\n"
    )


def _channel_line(channel: ChannelStats) -> str:
    prefix = "   *P " if channel.paused else "      "
    return (
        f"{prefix}[{channel.channel_name:<25}] depth: {channel.depth:<5d} be-depth: {channel.backend_depth:<5d} "
        f"inflt: {channel.in_flight_count:<4d} def: {channel.deferred_count:<4d} "
        f"re-q: {channel.requeue_count:<5d} timeout: {channel.timeout_count:<5d} "
        f"msgs: {channel.message_count:<8d} e2e%: {_latencies(channel.e2e_processing_latency)}\n"
    )


def client_line(client: ClientStats, now_ns: int, topic_name: str = "") -> str:
    """A client that publishes, if it has; else one that consumes."""
    hostname, remote_address, user_agent = who(client)
    shown = f"{hostname}:{remote_address.rpartition(':')[2]} {user_agent}"
    since_ns = max(0, now_ns // SECOND_NS - client.connect_ts) * SECOND_NS
    connected = f"connected: {format_duration(since_ns)}"
    head = f"[{client.version or 'V2'} {shown:<21}]"
    counts = [each for each in client.pub_counts if topic_name in ("", each.topic)]
    if counts:
        total = sum(each.count for each in counts)
        topics = ",".join(f"{each.topic}={each.count}" for each in counts)
        return f"{head} msgs: {total:<8d} topics: {topics} {connected}"
    return (
        f"{head} state: {client.state} inflt: {client.in_flight_count:<4d} rdy: {client.ready_count:<4d} "
        f"fin: {client.finish_count:<8d} re-q: {client.requeue_count:<8d} msgs: {client.message_count:<8d} {connected}"
    )


def _latencies(latency: Latency) -> str:
    return ", ".join(_human(each.value_ns) for each in latency.percentiles)


def _human(ns: float) -> str:
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns > unit:
            return f"{ns / unit:.1f}{name}"
    return f"{ns:.1f}ns"
