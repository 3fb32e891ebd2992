"""What Prometheus reads of a node, read back by prometheus-client's own parsers."""

import http.client

import attrs
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

import nsqlite
from nsqlite.net import figures, metrics
from nsqlite.net.metrics import Metrics, render, slices
from nsqlite.stats import HistogramStats, NodeStats
from tests.net.rig import rigged

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_SENDS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


def stats_of(channels: int = 2) -> NodeStats:
    """The statistics of a node with a topic and some channels."""
    with nsqlite.open() as node:
        topic = node.topic("t")
        for number in range(channels):
            topic.channel(f"c{number}")
        topic.publish_many([b"four"] * 3)
        with topic.channel("c0").receive(timeout=0):
            pass
        return node.stats()


def samples(text: bytes, parse: object = parse_plain) -> dict[tuple[str, ...], float]:
    """Name and the values of its labels in order of their names, to the value of each sample."""
    found = {}
    for family in parse(text.decode()):  # type: ignore[operator]
        for each in family.samples:
            key = (each.name, *(each.labels[name] for name in sorted(each.labels)))
            assert key not in found
            found[key] = each.value
    return found


def test_text_has_the_figures() -> None:
    """Labels of a channel are its topic's name and its own; all can be read back."""
    text, content_type = render(stats_of())

    found = samples(text)

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert found["nsqlite_topic_messages_total", "t"] == 3
    assert found["nsqlite_topic_message_bytes_total", "t"] == 12
    assert found["nsqlite_channel_depth", "c0", "t"] == 2
    assert found["nsqlite_channel_messages_finished_total", "c0", "t"] == 1
    assert found["nsqlite_channel_depth", "c1", "t"] == 3
    assert found["nsqlite_healthy",] == 1
    assert found["nsqlite_build_info", nsqlite.__version__] == 1
    assert found["nsqlite_sync_duration_seconds_count",] == 0
    assert any(name == "process_resident_memory_bytes" for name, *_ in found)


@pytest.mark.parametrize("accept", [OPENMETRICS, PROMETHEUS_SENDS])
def test_openmetrics_is_spoken_when_asked_for(accept: str) -> None:
    """By the Accept header that Prometheus sends; the text ends as it must, and has units."""
    text, content_type = render(stats_of(), accept)

    found = samples(text, parse_openmetrics)

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    assert text.count(b"# EOF") == 1
    assert b"# UNIT nsqlite_channel_oldest_waiting_seconds seconds\n" in text
    assert found["nsqlite_channel_messages_total", "c0", "t"] == 3


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=what", "application/openmetrics-text;version=no"])
def test_any_accept_header_is_answered(accept: str) -> None:
    """One that makes no sense, too."""
    text, _ = render(stats_of(), accept)

    assert samples(text)["nsqlite_topics",] == 1


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_slices_make_one_text(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their size: each family has one head, and its samples are together."""
    stats = stats_of(channels=7)
    whole, _ = render(stats, accept)
    monkeypatch.setattr(metrics, "SLICE_SERIES", 2)

    pieces, _ = slices(stats, accept)
    text = b"".join(pieces)

    process = b"# HELP process_"  # its figures change from one moment to the next
    assert text.partition(process)[0] == whole.partition(process)[0]


def test_channels_beyond_the_bound_are_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """With empty labels, so that sums over all channels stay right."""
    monkeypatch.setattr(figures, "MAX_LABELLED", 2)
    text, _ = render(stats_of(channels=5))

    found = samples(text)

    depths = {key[1:]: value for key, value in found.items() if key[0] == "nsqlite_channel_depth"}
    assert depths == {("c0", "t"): 2, ("c1", "t"): 3, ("", ""): 9}
    assert found["nsqlite_channels",] == 5


def with_histogram(stats: NodeStats, *histograms: HistogramStats | None) -> NodeStats:
    """The same, with latencies of the topic's channels."""
    (topic,) = stats.topics
    channels = [
        attrs.evolve(channel, e2e_seconds=each) for channel, each in zip(topic.channels, histograms, strict=True)
    ]
    return attrs.evolve(stats, topics=(attrs.evolve(topic, channels=tuple(channels)),))


def test_histograms_have_their_buckets() -> None:
    """All that is beyond the last bound is in +Inf; channels without one have no series."""
    histogram = HistogramStats(buckets=((0.001, 1), (1.0, 3)), sum_seconds=7.5, count=4)
    stats = attrs.evolve(with_histogram(stats_of(), histogram, None), sync_seconds=histogram)

    found = samples(render(stats)[0])

    assert found["nsqlite_sync_duration_seconds_bucket", "0.001"] == 1
    assert found["nsqlite_sync_duration_seconds_bucket", "+Inf"] == 4
    assert found["nsqlite_sync_duration_seconds_sum",] == 7.5
    name = "nsqlite_channel_e2e_processing_latency_seconds_bucket"
    assert {key[1:]: value for key, value in found.items() if key[0] == name} == {
        ("c0", "0.001", "t"): 1,
        ("c0", "1.0", "t"): 3,
        ("c0", "+Inf", "t"): 4,
    }


def test_histograms_beyond_the_bound_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bucket by bucket, into the series with empty labels."""
    monkeypatch.setattr(figures, "MAX_LABELLED_HISTOGRAMS", 1)
    one = HistogramStats(buckets=((1.0, 1),), sum_seconds=2.0, count=2)
    stats = with_histogram(stats_of(channels=3), one, one, one)

    found = samples(render(stats)[0])

    name = "nsqlite_channel_e2e_processing_latency_seconds"
    assert found[f"{name}_count", "c0", "t"] == 2
    assert found[f"{name}_bucket", "", "1.0", ""] == 2
    assert found[f"{name}_sum", "", ""] == 4.0


def test_real_latencies_are_shown() -> None:
    """Of a node that keeps percentiles."""
    with nsqlite.open(e2e_processing_latency_percentiles=(0.5,)) as node:
        channel = node.topic("t").channel("c")
        node.publish("t", b"x")
        with channel.receive(timeout=0):
            pass
        text, _ = render(node.stats())

    found = samples(text)

    assert found["nsqlite_e2e_processing_latency_seconds_count",] == 1
    assert found["nsqlite_channel_e2e_processing_latency_seconds_count", "c", "t"] == 1


def test_scrape_over_http() -> None:
    """The endpoint of a listener, as Prometheus asks for it."""
    with rigged(http_address="127.0.0.1:0") as rig:
        rig.node.topic("t").channel("c")
        rig.node.publish("t", b"x")
        connection = http.client.HTTPConnection(*rig.listener.http_address)
        connection.request("GET", "/metrics", headers={"Accept": PROMETHEUS_SENDS})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert samples(text, parse_openmetrics)["nsqlite_channel_depth", "c", "t"] == 1


def test_metrics_may_be_off() -> None:
    """With http_metrics=False there is no such path."""
    with rigged(http_address="127.0.0.1:0", http_metrics=False) as rig:
        connection = http.client.HTTPConnection(*rig.listener.http_address)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        answer.read()
        connection.close()

    assert answer.status == 404


def test_scrapes_at_once_are_bounded() -> None:
    """So is what they hold: clients that read nothing keep four snapshots, and the next is refused."""
    with rigged(http_address="127.0.0.1:0") as rig:
        for number in range(300):
            for name in range(20):
                rig.node.topic(f"topic-with-a-long-name-{number}").channel(f"channel-with-a-long-name-{name}")
        stuck = []
        for _ in range(metrics.MAX_SCRAPES):
            connection = http.client.HTTPConnection(*rig.listener.http_address)
            connection.request("GET", "/metrics")
            stuck.append((connection, connection.getresponse()))
        refused = http.client.HTTPConnection(*rig.listener.http_address)
        refused.request("GET", "/metrics")
        answer = refused.getresponse()
        said = answer.read()
        for connection, first in stuck:
            first.close()
            connection.close()
        refused.close()
        status = answer.status

    assert (status, said) == (503, b'{"message":"TOO_MANY_SCRAPES"}')


async def test_a_closed_node_is_an_error() -> None:
    """Whoever scrapes it is told so."""
    node = nsqlite.open()
    endpoint = Metrics(node.engine)
    node.close()

    with pytest.raises(nsqlite.NodeClosedError):
        await endpoint._gathered()
