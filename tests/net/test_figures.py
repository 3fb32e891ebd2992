"""The names and values of metrics, and the document that lists them."""

import re
from itertools import chain
from pathlib import Path

import pytest

from nsqlite.net import figures
from nsqlite.net.figures import Figure
from nsqlite.stats import ChannelStats, NodeStats, TopicStats

ROW = re.compile(
    r"^\| `nsqlite_(?P<name>\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<about>[^|]*) \|$", re.MULTILINE
)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ALL = [*figures.NODE, *figures.TOPIC, *figures.CHANNEL]


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.name)
def test_names_follow_the_conventions(figure: Figure) -> None:
    """Counters, and only they, end in _total; nothing is counted in anything but base units."""
    assert re.fullmatch("[a-z0-9_]+", figure.name)
    assert figure.name.endswith("_total") == (figure.kind == "counter")
    assert not re.search("_(ns|ms|usec|kb|mb|count)(_|$)", figure.name)
    assert figure.about.endswith(".")


def test_names_are_told_apart() -> None:
    """No metric has the name of another, and none that another's samples would have."""
    names = [figure.name for figure in ALL] + [name for name, _ in figures.HISTOGRAMS]

    assert len(names) == len(set(names))


def test_values_come_from_the_statistics() -> None:
    """Each figure reads what its sentence says."""
    counts = dict.fromkeys(
        ("depth", "backend_depth", "in_flight_count", "deferred_count", "message_count", "requeue_count"), 0
    )
    channel = ChannelStats(
        channel_name="c", **counts, timeout_count=3, finish_count=4, dropped_count=5, client_count=6, clients=(),
        paused=True, oldest_waiting_seconds=1.5,
    )  # fmt: skip
    topic = TopicStats(
        topic_name="t", channels=(channel,), depth=1, backend_depth=0, message_count=9, message_bytes=90,
        dropped_count=2, paused=False,
    )  # fmt: skip
    node = NodeStats(
        version="1",
        health="NOK - disk",
        start_time_ns=1_500_000_000,
        topics=(topic,),
        store_bytes=7,
        journal_bytes=8,
        is_full=True,
    )

    of_channel = {figure.name: figure.read(channel) for figure in figures.CHANNEL}
    of_topic = {figure.name: figure.read(topic) for figure in figures.TOPIC}
    of_node = {figure.name: figure.read(node) for figure in figures.NODE}

    assert of_channel["channel_messages_timed_out_total"] == 3
    assert of_channel["channel_messages_finished_total"] == 4
    assert of_channel["channel_messages_dropped_total"] == 5
    assert of_channel["channel_clients"] == 6
    assert of_channel["channel_paused"] == 1
    assert of_channel["channel_oldest_waiting_seconds"] == 1.5
    assert (of_topic["topic_messages_total"], of_topic["topic_message_bytes_total"]) == (9, 90)
    assert of_node["store_full"] == 1
    assert (of_node["healthy"], of_node["start_time_seconds"], of_node["clients"]) == (0, 1.5, 6)


def test_document_lists_every_metric() -> None:
    """docs/metrics.md has a row for each, with its kind, labels and sentence, and no others."""
    wanted = {figure.name: (figure.kind, "", figure.about) for figure in figures.NODE}
    wanted |= {figure.name: (figure.kind, "topic", figure.about) for figure in figures.TOPIC}
    wanted |= {figure.name: (figure.kind, "topic, channel", figure.about) for figure in figures.CHANNEL}
    wanted |= {name: ("histogram", "", about) for name, about in figures.HISTOGRAMS}
    wanted[figures.CHANNEL_E2E[0]] = ("histogram", "topic, channel", figures.CHANNEL_E2E[1])
    wanted["build_info"] = ("gauge", "version", "What runs here.")

    found = {
        row["name"]: (row["kind"], row["labels"].strip(), row["about"].strip())
        for row in ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))
    }

    assert found == wanted


def test_bounds_are_those_of_the_document() -> None:
    """What is beyond them is summed, and the document says beyond what."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert f"{figures.MAX_LABELLED:,}" in text
    assert f"{figures.MAX_LABELLED_HISTOGRAMS:,}" in text


def test_folding_keeps_the_oldest() -> None:
    """The age of many is that of the oldest; everything else adds up."""
    folds = {figure.name: figure.fold for figure in chain(figures.TOPIC, figures.CHANNEL)}

    assert [name for name, fold in folds.items() if fold is not sum] == ["channel_oldest_waiting_seconds"]
