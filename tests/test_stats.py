"""Statistics are frozen snapshots, named as NSQ names its counters."""

import attrs
import pytest

from nsqlite.stats import (
    NO_HISTOGRAM,
    NO_LATENCY,
    ChannelStats,
    ClientStats,
    HistogramStats,
    Latency,
    NodeStats,
    Percentile,
    TopicStats,
)

# nsqd's names (its protocol reference, section on counters), and what is ours.
NSQ = {
    TopicStats: {
        "topic_name",
        "channels",
        "depth",
        "backend_depth",
        "message_count",
        "message_bytes",
        "paused",
        "e2e_processing_latency",
    },
    ChannelStats: {
        "channel_name",
        "depth",
        "backend_depth",
        "in_flight_count",
        "deferred_count",
        "message_count",
        "requeue_count",
        "timeout_count",
        "client_count",
        "clients",
        "paused",
        "e2e_processing_latency",
    },
    ClientStats: {"client_id", "message_count", "finish_count", "requeue_count", "in_flight_count", "ready_count"},
    NodeStats: {"version", "health", "topics"},
    Latency: {"count", "percentiles"},
    Percentile: {"quantile"},
    HistogramStats: set(),
}


@pytest.mark.parametrize("kind", NSQ, ids=lambda kind: kind.__name__)
def test_stats_have_nsqs_names(kind: type) -> None:
    """Every counter that nsqd shows is here under its name."""
    assert {field.name for field in attrs.fields(kind)} >= NSQ[kind]


@pytest.mark.parametrize("kind", NSQ, ids=lambda kind: kind.__name__)
def test_stats_document_every_field(kind: type) -> None:
    """Each field is told in the docstring."""
    told = kind.__doc__ or ""

    assert [field.name for field in attrs.fields(kind) if f"        {field.name}: " not in told] == []


def test_stats_are_frozen() -> None:
    """A snapshot does not change."""
    stats = ClientStats("1", 2, 3, 4, 5, 6)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        stats.ready_count = 5


def test_nothing_measured_is_empty() -> None:
    """What is off has no samples, no percentiles and no buckets."""
    assert (NO_LATENCY.count, NO_LATENCY.percentiles) == (0, ())
    assert (NO_HISTOGRAM.buckets, NO_HISTOGRAM.sum_seconds, NO_HISTOGRAM.count) == ((), 0.0, 0)
