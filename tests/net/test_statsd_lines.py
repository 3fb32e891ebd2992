"""What a statsd is told, line by line."""

import attrs
import pytest

from nsqlite.net.memory_stats import MemoryStats
from nsqlite.net.statsd_lines import datagrams, full_prefix, memory_lines, topic_lines
from nsqlite.stats import ChannelStats, Latency, Percentile, TopicStats


def channel(name: str = "c", **counts: int) -> ChannelStats:
    """A channel of which nothing is to tell but these counts."""
    names = [each.name for each in attrs.fields(ChannelStats)][1:12]
    whole = dict.fromkeys(names, 0) | {"clients": (), "paused": False, "oldest_waiting_seconds": 0.0} | counts
    return ChannelStats(channel_name=name, **whole)


def topic(*channels: ChannelStats, name: str = "t", **counts: int) -> TopicStats:
    """The same of a topic."""
    whole = {"depth": 0, "backend_depth": 0, "message_count": 0, "message_bytes": 0, "dropped_count": 0} | counts
    return TopicStats(topic_name=name, channels=channels, paused=False, **whole)


@pytest.mark.parametrize(
    "prefix,wanted",
    [
        ("nsq.%s", "nsq.10_0_0_1_4151."),
        ("nsq.%s.", "nsq.10_0_0_1_4151."),
        ("%s.%s", "10_0_0_1_4151.10_0_0_1_4151."),
        ("plain", "plain."),
        ("", ""),
    ],
)
def test_prefix_names_the_node_in_one_word(prefix: str, wanted: str) -> None:
    """Dots and colons of the address would be levels of the name, and a dot ends the prefix."""
    assert full_prefix(prefix, "10.0.0.1:4151") == wanted


def test_first_push_tells_whole_counts() -> None:
    """Counters are told as what they are when nothing was told before, zeros too; in nsqd's order."""
    now = [topic(channel(message_count=3, depth=2, client_count=1), message_count=3, message_bytes=30, depth=1)]

    assert list(topic_lines(now, [], "p.")) == [
        "p.topic.t.message_count:3|c",
        "p.topic.t.message_bytes:30|c",
        "p.topic.t.depth:1|g",
        "p.topic.t.backend_depth:0|g",
        "p.topic.t.channel.c.message_count:3|c",
        "p.topic.t.channel.c.depth:2|g",
        "p.topic.t.channel.c.backend_depth:0|g",
        "p.topic.t.channel.c.in_flight_count:0|g",
        "p.topic.t.channel.c.deferred_count:0|g",
        "p.topic.t.channel.c.requeue_count:0|c",
        "p.topic.t.channel.c.timeout_count:0|c",
        "p.topic.t.channel.c.clients:1|g",
    ]


def test_later_pushes_tell_increases() -> None:
    """Of counters, that is; gauges are told as they are."""
    before = [topic(channel(requeue_count=2, depth=5), message_count=10, message_bytes=100)]
    now = [topic(channel(requeue_count=3, depth=4), message_count=12, message_bytes=150)]

    lines = list(topic_lines(now, before, ""))

    assert "topic.t.message_count:2|c" in lines
    assert "topic.t.message_bytes:50|c" in lines
    assert "topic.t.channel.c.requeue_count:1|c" in lines
    assert "topic.t.channel.c.depth:4|g" in lines


def test_what_was_made_again_is_told_whole() -> None:
    """A counter that fell began anew; nothing is ever told as a negative increase."""
    before = [topic(channel(message_count=10, timeout_count=9), message_count=10, message_bytes=100)]
    now = [topic(channel(message_count=2, timeout_count=1), message_count=2, message_bytes=20)]

    lines = list(topic_lines(now, before, ""))

    assert "topic.t.message_count:2|c" in lines
    assert "topic.t.channel.c.timeout_count:1|c" in lines
    assert not any("-" in line for line in lines)


def test_ephemeral_names_may_be_left_out() -> None:
    """Topics and channels; by default they are told under their whole names."""
    both = [topic(channel("c#ephemeral"), channel("d")), topic(name="t#ephemeral")]

    told, left_out = (list(topic_lines(both, [], "", exclude_ephemeral=each)) for each in (False, True))

    assert "topic.t#ephemeral.depth:0|g" in told
    assert "topic.t.channel.c#ephemeral.depth:0|g" in told
    assert "topic.t.channel.d.depth:0|g" in left_out
    assert not any("#ephemeral" in line for line in left_out)


def test_percentiles_are_gauges_in_nanoseconds() -> None:
    """Named by the quantile in per cent, rounded as nsqd rounds it."""
    latency = Latency(count=2, percentiles=(Percentile(0.999, 2_000), Percentile(0.5, 1_000)))
    now = [attrs.evolve(topic(channel()), e2e_processing_latency=latency)]

    lines = list(topic_lines(now, [], ""))

    assert lines[4:6] == [
        "topic.t.e2e_processing_latency_100:2000|g",
        "topic.t.e2e_processing_latency_50:1000|g",
    ]


def test_memory_has_the_names_of_nsqd() -> None:
    """All are gauges but the count of collections, which is told as its increase."""
    lines = list(memory_lines(MemoryStats(heap_objects=7, gc_total_runs=12), 10, "p."))

    assert lines[0] == "p.mem.heap_objects:7|g"
    assert lines[-1] == "p.mem.gc_runs:2|c"
    assert len(lines) == 9


def test_datagrams_are_split_at_line_ends() -> None:
    """As many whole lines as fit, so that none is torn."""
    assert list(datagrams(["aaaa", "bbbb", "cc"], 10)) == [b"aaaa\nbbbb\n", b"cc\n"]
    assert list(datagrams(["aaaa", "bbbb"], 9)) == [b"aaaa\n", b"bbbb\n"]


def test_line_that_fits_nowhere_goes_alone() -> None:
    """It is sent whole, as nsqd does."""
    assert list(datagrams(["a", "b" * 20, "c"], 10)) == [b"a\n", b"b" * 20 + b"\n", b"c\n"]
    assert list(datagrams([], 10)) == []
