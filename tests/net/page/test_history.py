"""A node's last minutes, sampled in a loop on virtual time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import nsqlite
from nsqlite.net.page import history as module
from nsqlite.net.page.history import CHEAP_CHANNELS, History
from nsqlite.net.page.series import DEPTH, IN, OUT, POINTS
from nsqlite.testing import Clock, Nsq

ROUNDS = 20


pytestmark = pytest.mark.nsq(durability="memory")


@pytest.fixture
def clock(nsq_clock: Clock) -> Clock:
    """Time that the test moves."""
    return nsq_clock


@pytest.fixture
def node(nsq: Nsq) -> nsqlite.Node:
    """A node in memory that must end the test sound."""
    return nsq.node


@pytest.fixture
async def history(node: nsqlite.Node) -> AsyncIterator[History]:
    """A history that runs."""
    made = History(node.engine)
    made.start()
    await rounds()
    yield made
    await made.close()


async def rounds() -> None:
    """Let the loop do all that it can."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def pass_time(clock: Clock, seconds: float) -> None:
    """Let time pass, and what it sets off be done."""
    clock.advance(seconds)
    await rounds()


def last(history: History, topic: str, field: int) -> int:
    """The last value of a topic's series."""
    series = history.topic_series(history.rows[topic].number)
    assert series is not None
    return series.last(field)


async def test_rows_add_up_channels(node: nsqlite.Node, clock: Clock, history: History) -> None:
    """A topic's row has what waits, is in flight and deferred in itself and in all of its channels."""
    topic = node.topic("t")
    first, second = topic.channel("a"), topic.channel("b")
    topic.publish_many([b"x"] * 5)
    topic.publish(b"later", delay=100)
    taken = first.receive_many(2, timeout=0)
    taken[0].finish()

    await pass_time(clock, 2)

    row = history.rows["t"]
    assert (row.depth, row.in_flight_count, row.deferred_count) == (3 + 5, 1, 2)
    assert (row.channel_count, row.message_count, row.finish_count) == (2, 6, 1)
    assert row.rate == 0.0  # it was made within these two seconds
    assert second.depth == 5


async def test_series_follow_the_clock(node: nsqlite.Node, clock: Clock, history: History) -> None:
    """Each two seconds of the engine's clock there is one more value, and a rate."""
    topic = node.topic("t")
    channel = topic.channel("c")
    for count in (1, 3, 5):
        topic.publish_many([b"x"] * count)
        await pass_time(clock, 2)
    series = history.channel_series(channel._core.number)

    assert series is not None
    assert series.of(DEPTH) == [1, 4, 9]
    assert series.of(IN) == [1, 4, 9]
    assert series.of(OUT) == [0, 0, 0]
    assert history.rows["t"].rate == 2.5
    assert len(history.times_ns()) == 4
    assert history.totals.of(DEPTH) == [0, 1, 4, 9]


async def test_history_reaches_back_five_minutes(clock: Clock, history: History) -> None:
    """However long it runs."""
    for _ in range(POINTS + 20):
        await pass_time(clock, 2)

    assert len(history.times_ns()) == POINTS
    assert len(history.totals) == POINTS


async def test_totals_do_not_fall_with_a_deleted_topic(node: nsqlite.Node, clock: Clock, history: History) -> None:
    """What a topic had counted stays counted, so that no rate is negative."""
    for name in ("a", "b"):
        node.topic(name).publish_many([b"x"] * 10)
    await pass_time(clock, 2)

    node.delete_topic("a")
    await pass_time(clock, 2)

    assert history.totals.of(IN) == [0, 20, 20]
    assert history.totals.of(DEPTH) == [0, 20, 10]
    assert set(history.rows) == {"b"}


async def test_deferred_messages_are_released_for_the_count(node: nsqlite.Node, clock: Clock, history: History) -> None:
    """A message whose time has come waits, though nobody has asked for it."""
    topic = node.topic("t")
    topic.channel("c")
    topic.publish(b"x", delay=3)

    await pass_time(clock, 4)

    assert (history.rows["t"].depth, history.rows["t"].deferred_count) == (1, 0)


async def test_large_nodes_are_sampled_less_often_while_nobody_looks(
    node: nsqlite.Node, clock: Clock, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every two seconds again once somebody does."""
    monkeypatch.setattr(module, "CHEAP_CHANNELS", 2)
    topic = node.topic("t")
    for number in range(4):
        topic.channel(f"c{number}")
    await pass_time(clock, 2)
    before = len(history.times_ns())

    await pass_time(clock, 2)
    idle = len(history.times_ns()) - before
    await history.look()
    await pass_time(clock, 4)
    for _ in range(3):
        await pass_time(clock, 2)

    assert CHEAP_CHANNELS == 2000
    assert idle == 0
    assert len(history.times_ns()) - before >= 4


async def test_a_topic_somebody_looks_at_has_series(
    node: nsqlite.Node, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though all places are taken by busier ones."""
    monkeypatch.setattr(module, "TOPIC_SERIES", 2)
    monkeypatch.setattr(module, "CHANNEL_SERIES", 2)
    for number in range(4):
        node.topic(f"t{number}").channel("c")
        node.publish(f"t{number}", b"x")
    idle = node.topic("idle")
    channel = idle.channel("c")
    history = History(node.engine)
    await history.look()

    for _ in range(3):
        clock.advance(2)
        await history.look("idle")

    assert history.topic_series(history.rows["idle"].number) is not None
    assert history.channel_series(channel._core.number) is not None


async def test_two_that_look_share_one_sample(clock: Clock, history: History) -> None:
    """Whoever comes while it is taken waits for it; whoever comes soon after takes the last."""
    clock.advance(1.999)
    await asyncio.gather(history.look(), history.look())
    unchanged = len(history.times_ns())
    clock.advance(0.001)

    await asyncio.gather(history.look(), history.look(), history.look())

    assert (unchanged, len(history.times_ns())) == (1, 2)


async def test_a_closed_node_ends_nothing(node: nsqlite.Node, clock: Clock, history: History) -> None:
    """The sampler goes on trying, and who looks is told."""
    node.close()

    await pass_time(clock, 2)

    with pytest.raises(nsqlite.NodeClosedError):
        await history.look()
    await history.close()
    await history.close()
