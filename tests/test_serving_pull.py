"""A listener pulls as many messages as its client has room for, and is woken for more."""

from collections.abc import Callable
from pathlib import Path

import pytest

import nsqlite
from nsqlite.core.timers import NEVER
from nsqlite.errors import ChannelDeletedError, NodeClosedError
from nsqlite.testing import Clock, Nsq
from tests.fakes.clients import TIMEOUT_NS, Client, ids, publish

pytestmark = pytest.mark.nsq(durability="memory")


@pytest.fixture
def clock(nsq_clock: Clock) -> Clock:
    """Time that stands still."""
    return nsq_clock


@pytest.fixture
def node(nsq: Nsq) -> nsqlite.Node:
    """A node in memory that must end the test sound."""
    return nsq.node


@pytest.fixture
def channel(node: nsqlite.Node) -> nsqlite.Channel:
    """Channel billing of topic orders."""
    return node.topic("orders").channel("billing")


@pytest.fixture
def connect(node: nsqlite.Node, channel: nsqlite.Channel) -> Callable[..., Client]:
    """Make clients of it."""
    return lambda rdy_count=100: Client(node.engine, channel._core, rdy_count)


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """One client."""
    return connect()


# -- pull ----------------------------------------------------------------------------------


def test_pull_takes_what_the_ceiling_allows(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """Messages come in order, no more than the client may hold, and the rest after answers."""
    published, client = publish(node, 10), connect(4)

    assert client.take() == published[:4]
    assert client.take() == []
    client.finish(*published[:3])
    assert client.take() == published[4:7]


def test_pull_waits_when_there_is_nothing(node: nsqlite.Node, client: Client) -> None:
    """Who gets nothing is in line once, however often it looks, and is woken by a publish."""
    for _ in range(3):
        deliveries, until_ns, missing = client.pull()

        assert (deliveries, until_ns, missing) == ([], NEVER, -1)
    assert list(client.channel.waiters) == [client.waiter]

    node.publish("orders", b"x")

    assert client.waiter.wake_count == 1
    assert not client.channel.waiters


def test_pull_that_took_all_waits_too(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """Who has room left waits for the next message, and until its own first deadline at the longest."""
    publish(node, 3)

    deliveries, until_ns, _ = client.pull()
    node.publish("orders", b"x")

    assert len(ids(deliveries)) == 3
    assert until_ns == clock.monotonic_ns() + TIMEOUT_NS
    assert client.waiter.wake_count == 1


def test_pull_beyond_its_budget_is_to_be_asked_again(node: nsqlite.Node, client: Client) -> None:
    """With more there than one turn gives, the client is to ask at once, and does not wait."""
    first, second = publish(node, 10), publish(node, 10)

    deliveries, until_ns, missing = client.pull(budget_bytes=1)

    assert (ids(deliveries), until_ns, missing) == (first, 0, -1)
    assert not client.channel.waiters
    assert client.take() == second


def test_pull_without_room_does_not_wait(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """A client at its ceiling, or with none, is not in the way of others, and learns when time is to be watched."""
    none, full = connect(0), connect(1)
    publish(node, 2)

    assert none.pull() == ([], NEVER, -1)
    assert len(full.take()) == 1
    assert full.pull()[0] == []
    assert full.pull()[1] == full.channel.next_due_ns < NEVER
    assert not full.channel.waiters


def test_pull_from_a_paused_channel_waits(node: nsqlite.Node, channel: nsqlite.Channel, client: Client) -> None:
    """A pause hands nothing out; its end wakes who waits."""
    published = publish(node, 2)
    channel.pause()

    assert client.pull() == ([], NEVER, -1)
    assert client.waiter.wake_count == 0
    channel.unpause()

    assert client.waiter.wake_count == 1
    assert client.take() == published


def test_pull_watches_deferred_messages(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """Who waits learns when the next delay is over, and then gets what was delayed."""
    node.publish("orders", b"later", delay=5)

    deliveries, until_ns, _ = client.pull()
    clock.advance(5)

    assert deliveries == []
    assert until_ns == clock.monotonic_ns()
    assert len(client.take()) == 1


def test_pull_names_the_run_that_is_not_in_memory(tmp_path: Path, clock: Clock) -> None:
    """On disk nothing is read inside the turn: what must be loaded is named, and nobody waits meanwhile."""
    with nsqlite.open(tmp_path / "store", durability="commit", clock=clock, cache_bytes=0) as node:
        client = Client(node.engine, node.topic("orders").channel("billing")._core)
        published = publish(node, 5)
        node.engine.background.settle_now()

        deliveries, until_ns, missing = client.pull()

        assert (deliveries, until_ns, missing) == ([], 0, client.channel.cursor)
        assert not client.channel.waiters
        node.engine.load(client.channel, missing)
        assert client.take() == published
        node.check()


def test_pull_in_memory_never_loads(node: nsqlite.Node, client: Client) -> None:
    """A store in memory reads on in the same turn, over however many runs."""
    published = publish(node, 5) + publish(node, 5)
    node.engine._ask_settlement()

    deliveries, _, missing = client.pull()

    assert ids(deliveries) == published
    assert missing == -1


def test_pull_from_a_deleted_channel_raises(node: nsqlite.Node, client: Client) -> None:
    """Who waits is woken, and told."""
    client.pull()

    node.topic("orders").delete_channel("billing")

    assert client.waiter.wake_count == 1
    with pytest.raises(ChannelDeletedError):
        client.pull()


def test_closed_node_serves_nobody(node: nsqlite.Node, client: Client) -> None:
    """Who waits is woken, and every call says why it is not taken."""
    (number,) = publish(node, 1)
    client.take()
    client.pull()

    node.close()

    assert client.waiter.wake_count == 1
    for call in (client.pull, lambda: client.finish(number), lambda: client.requeue(number)):
        with pytest.raises(NodeClosedError):
            call()


def test_pull_serves_those_who_wait_in_turn(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """One message wakes one client, the one that has waited longest; two wake both."""
    first, second = connect(), connect()
    first.pull()
    second.pull()

    publish(node, 1)

    assert (first.waiter.wake_count, second.waiter.wake_count) == (1, 0)
    first.take()
    publish(node, 2)
    assert (first.waiter.wake_count, second.waiter.wake_count) == (2, 1)
