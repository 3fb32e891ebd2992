"""Statistics are frozen snapshots, named as NSQ names its counters."""

import attrs
import pytest

from nsqlite.stats import ChannelStats, ClientStats, NodeStats, TopicStats

# nsqd's names (its protocol reference, section on counters), and what is ours.
NSQ = {
    TopicStats: {"topic_name", "channels", "depth", "backend_depth", "message_count", "message_bytes", "paused"},
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
    },
    ClientStats: {"client_id", "message_count", "finish_count", "requeue_count", "in_flight_count", "ready_count"},
    NodeStats: {"version", "health", "topics"},
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
