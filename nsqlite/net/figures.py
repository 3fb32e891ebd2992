"""What `/metrics` shows: names, kinds and where each value comes from. Pure; `metrics` makes text of it.

Names end in their unit, counters in "_total", as Prometheus wants it. The only labels are
`topic` and `channel`: one per client would make series without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import attrs

from nsqlite.stats import NodeStats

MAX_LABELLED: Final = 10_000
MAX_LABELLED_HISTOGRAMS: Final = 1_000  # each is worth sixteen other series
Kind = Literal["gauge", "counter"]


@attrs.frozen
class Figure:
    """One metric of one number.

    Attributes:
        name: Without "nsqlite_"; a counter's ends in "_total".
        kind: "gauge" may fall, "counter" begins at 0 with the process.
        about: What it is, in one sentence.
        read: The value, from the statistics of what it is about.
        fold: How the values of several become one.
    """

    name: str
    kind: Kind
    about: str
    read: Callable[[Any], float]
    fold: Callable[[Iterable[float]], float] = sum


def _healthy(node: NodeStats) -> float:
    return float(node.health == "OK")


def _channel_count(node: NodeStats) -> float:
    return sum(len(topic.channels) for topic in node.topics)


def _client_count(node: NodeStats) -> float:
    return sum(channel.client_count for topic in node.topics for channel in topic.channels)


NODE: Final[tuple[Figure, ...]] = (
    Figure("start_time_seconds", "gauge", "When the node was opened, Unix time.", lambda n: n.start_time_ns / 1e9),
    Figure("healthy", "gauge", "1 if the last write to the store went well, else 0.", _healthy),
    Figure("store_full", "gauge", "1 if the last publish that found no room would find none now.", lambda n: n.is_full),
    Figure("store_bytes", "gauge", "Bytes the store takes: LMDB, journal and reserve.", lambda n: n.store_bytes),
    Figure("journal_bytes", "gauge", "Bytes of journal that are not settled yet.", lambda n: n.journal_bytes),
    Figure("topics", "gauge", "Topics.", lambda n: len(n.topics)),
    Figure("channels", "gauge", "Channels of all topics.", _channel_count),
    Figure("clients", "gauge", "Consumers of all channels.", _client_count),
    Figure("producers", "gauge", "Clients of listeners that have published.", lambda n: len(n.producers)),
)

TOPIC: Final[tuple[Figure, ...]] = (
    Figure("topic_messages_total", "counter", "Messages published.", lambda t: t.message_count),
    Figure("topic_message_bytes_total", "counter", "Bytes of their bodies.", lambda t: t.message_bytes),
    Figure(
        "topic_messages_dropped_total",
        "counter",
        "Messages for which an ephemeral topic had no room.",
        lambda t: t.dropped_count,
    ),
    Figure("topic_depth", "gauge", "Messages that wait in the topic itself.", lambda t: t.depth),
    Figure("topic_backend_depth", "gauge", "Of those, how many are on disk only.", lambda t: t.backend_depth),
    Figure("topic_paused", "gauge", "1 if it routes nothing to its channels.", lambda t: t.paused),
)

CHANNEL: Final[tuple[Figure, ...]] = (
    Figure("channel_messages_total", "counter", "Messages it was routed.", lambda c: c.message_count),
    Figure("channel_messages_finished_total", "counter", "Messages finished.", lambda c: c.finish_count),
    Figure("channel_messages_requeued_total", "counter", "Messages requeued by consumers.", lambda c: c.requeue_count),
    Figure(
        "channel_messages_timed_out_total",
        "counter",
        "Deliveries that were not answered in time.",
        lambda c: c.timeout_count,
    ),
    Figure(
        "channel_messages_dropped_total",
        "counter",
        "Messages for which an ephemeral channel had no room.",
        lambda c: c.dropped_count,
    ),
    Figure("channel_depth", "gauge", "Messages that wait, neither in flight nor deferred.", lambda c: c.depth),
    Figure("channel_backend_depth", "gauge", "Of those, how many are on disk only.", lambda c: c.backend_depth),
    Figure("channel_in_flight", "gauge", "Messages handed out and not answered.", lambda c: c.in_flight_count),
    Figure("channel_deferred", "gauge", "Messages that wait for their time.", lambda c: c.deferred_count),
    Figure("channel_clients", "gauge", "Consumers that are open.", lambda c: c.client_count),
    Figure("channel_paused", "gauge", "1 if it hands nothing out.", lambda c: c.paused),
    Figure(
        "channel_oldest_waiting_seconds",
        "gauge",
        "Age of the oldest message that waits, 0 if none does.",
        lambda c: c.oldest_waiting_seconds,
        max,
    ),
)

SYNC: Final = "sync_duration_seconds", "How long syncs to stable storage took."
SETTLEMENT: Final = "settlement_duration_seconds", "How long settlements of the journal took."
E2E: Final = "e2e_processing_latency_seconds", "From a message's publish to its finish."
CHANNEL_E2E: Final = "channel_e2e_processing_latency_seconds", "From a message's publish to its finish, by channel."
HISTOGRAMS: Final = (SYNC, SETTLEMENT, E2E, CHANNEL_E2E)
