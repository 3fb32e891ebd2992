"""All counters of a node, gathered in a loop."""

import asyncio

import pytest

import nsqlite
from nsqlite.net import gathering
from nsqlite.net.gathering import gathered


async def test_topics_come_by_name_without_clients() -> None:
    """Clients are counted, and not listed."""
    with nsqlite.open() as node:
        for name in ("b", "a"):
            node.topic(name).channel("c")
        node.publish("a", b"x")
        with node.topic("a").channel("c").consume():
            topics = await gathered(node.engine)

    assert [each.topic_name for each in topics] == ["a", "b"]
    assert topics[0].channels[0].depth == 1
    assert (topics[0].channels[0].client_count, topics[0].channels[0].clients) == (1, ())


async def test_others_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of many topics does not hold the loop up."""
    monkeypatch.setattr(gathering, "SLICE_SECONDS", -1.0)
    with nsqlite.open() as node:
        for number in range(5):
            node.topic(f"t{number}")
        task = asyncio.ensure_future(gathered(node.engine))
        rounds = 0
        while not task.done():
            await asyncio.sleep(0)
            rounds += 1

    assert rounds > 4
    assert len(task.result()) == 5
