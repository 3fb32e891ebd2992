"""What the page is told, and that it is no more than it can show."""

import asyncio
import json
from typing import Any

import pytest

import nsqlite
from nsqlite.clock import VirtualClock
from nsqlite.net.page import document
from nsqlite.net.page.document import BINS, MAX_ROWS, Documents, View
from nsqlite.net.page.history import History


class Desk:
    """A node, its history, and who asks for documents of it."""

    def __init__(self, mode: str = "read-only") -> None:
        self.clock = VirtualClock()
        self.node = nsqlite.open(clock=self.clock)
        self.documents = Documents(self.node.engine, History(self.node.engine), mode)

    async def ask(self, seconds: float = 2.0, **view: Any) -> dict[str, Any]:
        """The document of a view, some time later."""
        self.clock.advance(seconds)
        found: dict[str, Any] = json.loads(await self.documents.document(View(**view)))
        return found


@pytest.fixture
def desk() -> Any:
    """A desk at a node in memory."""
    made = Desk()
    yield made
    made.node.close()


@pytest.mark.parametrize(
    "params,wanted",
    [
        ({}, View()),
        ({"topic": "t", "filter": "ABC", "order": "depth"}, View(topic="t", text="abc", order="depth")),
        ({"limit": "7", "producers": "true"}, View(limit=7, producers=True)),
        ({"limit": "99999"}, View(limit=MAX_ROWS)),
        ({"limit": "-1", "producers": "1"}, View()),
        ({"limit": "9" * 5000}, View()),
    ],
)
def test_view_takes_what_it_understands(params: dict[str, str], wanted: View) -> None:
    """And nothing that would make a document without bound."""
    assert View.of(params) == wanted


async def test_overview_has_topics_and_totals(desk: Desk) -> None:
    """Each topic with its counts and its last minutes; all together."""
    await desk.ask()
    topic = desk.node.topic("orders")
    channel = topic.channel("billing")
    topic.publish_many([b"x"] * 6)
    channel.receive(timeout=0)

    await desk.ask()
    topic.publish_many([b"x"] * 8)
    found = await desk.ask()

    (row,) = found["topics"]["rows"]
    assert (row["name"], row["depth"], row["in_flight"], row["rate"]) == ("orders", 13, 1, 4.0)
    assert row["spark"]["depth"][-1] == 13
    assert found["totals"]["depth"] == 13
    assert found["totals"]["channels"] == 1
    assert found["history"]["depth"] == [0, 5, 13]
    assert found["history"]["in"] == [3.0, 4.0]
    assert found["ages"] == [4.0, 2.0, 0.0]
    assert found["topic"] is None
    assert found["node"]["mode"] == "read-only"
    assert found["node"]["health"] == "OK"


async def test_overview_is_filtered_ordered_and_cut(desk: Desk) -> None:
    """By a part of the name, by what waits, to so many rows; the count tells how many there are."""
    for number in range(5):
        topic = desk.node.topic(f"Topic-{number}")
        topic.publish_many([b"x"] * (10 - number if number % 2 else number + 1))
    desk.node.topic("other")

    by_name = await desk.ask(text="topic-")
    deepest = await desk.ask(text="topic-", order="depth", limit=2)
    busiest = await desk.ask(order="rate", limit=1)

    assert [row["name"] for row in by_name["topics"]["rows"]] == [f"Topic-{number}" for number in range(5)]
    assert [row["name"] for row in deepest["topics"]["rows"]] == ["Topic-1", "Topic-3"]
    assert deepest["topics"]["count"] == 5
    assert len(busiest["topics"]["rows"]) == 1


async def test_one_topic_has_its_channels(desk: Desk) -> None:
    """With counts, last minutes and clients; only those whose names are asked for."""
    topic = desk.node.topic("orders")
    billing = topic.channel("billing")
    topic.channel("audit").pause()
    await desk.ask()
    topic.publish_many([b"x"] * 4)
    with billing.consume(max_in_flight=2):
        found = await desk.ask(topic="orders")
        filtered = await desk.ask(topic="orders", text="aud", order="depth")

    assert found["topics"] is None
    assert [each["name"] for each in found["topic"]["rows"]] == ["audit", "billing"]
    audit, billed = found["topic"]["rows"]
    assert (audit["paused"], audit["depth"], audit["client_count"]) == (True, 4, 0)
    assert audit["history"]["depth"] == [0, 4]
    assert audit["history"]["in"] == [2.0]
    assert billed["client_count"] == 1
    assert billed["clients"][0]["ready_count"] == 2
    assert found["topic"]["own_depth"] == 0
    assert [each["name"] for each in filtered["topic"]["rows"]] == ["audit"]


async def test_topic_that_is_not_there_is_none(desk: Desk) -> None:
    """The page says so; it is no error."""
    found = await desk.ask(topic="nobody")

    assert found["topic"] is None
    assert found["topics"] is None


async def test_clients_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of a channel and so many of all; the count is that of all."""
    monkeypatch.setattr(document, "MAX_CLIENTS", 5)
    monkeypatch.setattr(document, "MAX_CLIENTS_A_CHANNEL", 3)
    channels = [desk.node.topic("t").channel(name) for name in "abc"]
    consumers = [channel.consume() for channel in channels for _ in range(4)]
    for each in consumers:
        each.__enter__()

    found = await desk.ask(topic="t")
    for each in consumers:
        each.close()

    assert [len(each["clients"]) for each in found["topic"]["rows"]] == [3, 2, 0]
    assert [each["client_count"] for each in found["topic"]["rows"]] == [4, 4, 4]


async def test_sparks_leave_out_what_was_before_them(desk: Desk) -> None:
    """A list has no more values than there is history, and never more than it has bins."""
    desk.node.topic("t")
    for _ in range(200):
        found = await desk.ask()

        if len(found["ages"]) == 2:
            young = found["topics"]["rows"][0]["spark"]

    old = found["topics"]["rows"][0]["spark"]
    assert (len(young["depth"]), len(young["in"])) == (1, 1)
    assert (len(old["depth"]), len(old["in"])) == (BINS, BINS)


async def test_producers_come_when_asked_for(desk: Desk) -> None:
    """Not otherwise: it takes a look at each connection."""
    plain = await desk.ask()
    asked = await desk.ask(producers=True)

    assert "producers" not in plain
    assert asked["producers"] == {"count": 0, "rows": []}


async def test_two_pages_cost_one_sample(desk: Desk) -> None:
    """Documents are made of the last sample, however many ask."""
    desk.node.topic("t")
    desk.clock.advance(2)

    await asyncio.gather(*(desk.documents.document(View()) for _ in range(5)))

    assert len(desk.documents._history.times_ns()) == 1
