"""A listener answers many messages of one client at once, by their ids."""

from collections.abc import Callable

import pytest

import nsqlite
from nsqlite.options import SECOND_NS
from nsqlite.testing import Clock, Nsq
from tests.fakes.clients import Client, numbers, publish

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


# -- finish --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen, missed",
    [
        (range(10), []),
        (range(3), []),
        (range(4, 8), []),
        (range(9, -1, -1), []),
        ([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], []),
        ([0, 1, 2, 2, 1, 0], [3, 4, 5]),
        ([5, 5], [1]),
        ([0, 1, 1, 3], [2]),
        ([-1, 0, 1, 99, 2], [0, 3]),
        ([7, 8, 9, 10, 11], [3, 4]),
        ([], []),
    ],
    ids=[
        "all",
        "first",
        "middle",
        "reversed",
        "interleaved",
        "twice",
        "one twice",
        "one for another",
        "unknown",
        "beyond",
        "none",
    ],
)
def test_finish_takes_ids_in_any_order(
    node: nsqlite.Node, client: Client, chosen: list[int], missed: list[int]
) -> None:
    """What is held is finished once; the rest is named by its place, and does no harm."""
    first = publish(node, 10)[0]
    client.take()

    found = client.finish(*[first + number for number in chosen])

    assert found == missed
    assert client.channel.finish_count == len(set(chosen)) - len(set(chosen) - set(range(10)))
    assert client.consumer.in_flight_count == 10 - client.channel.finish_count


def test_finish_spans_deliveries(node: nsqlite.Node, client: Client) -> None:
    """Ids of many deliveries may come in one piece, each delivery in several."""
    published = [number for _ in range(5) for number in publish(node, 4)]
    client.take()

    assert client.finish(*published[2:9], *published[12:], *published[:2], *published[9:12]) == []
    assert client.channel.finish_count == 20


@pytest.mark.nsq(e2e_processing_latency_percentiles=(1.0, 0.5))
def test_finish_by_id_measures_what_it_finished(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """One by one or in stretches: each message once, those that are missed not at all."""
    published = publish(node, 9)
    client.take()
    clock.advance(3)
    client.finish(*published[:4], published[8])
    clock.advance(4)
    client.finish(*published)

    [stats] = node.stats().topics[0].channels
    assert stats.finish_count == stats.e2e_processing_latency.count == 9
    found = [each.value_ns for each in stats.e2e_processing_latency.percentiles]
    assert found == pytest.approx([7 * SECOND_NS, 3 * SECOND_NS], rel=0.01)


def test_finish_of_a_message_that_timed_out_is_missed(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """At its deadline a message is not the client's any more, whether anybody has noticed or not."""
    published = publish(node, 3)
    client.take()
    client.touch(published[1])
    clock.advance(59)
    client.touch(published[1])
    clock.advance(1)

    assert client.finish(*published) == [0, 2]
    assert client.channel.depth == 2


def test_finish_of_what_another_holds_is_missed(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """Only who holds a message finishes it."""
    published, one, other = publish(node, 4), connect(2), connect(2)
    one.take()
    other.take()

    assert one.finish(*published) == [2, 3]
    assert other.finish(*published) == [0, 1]


def test_finish_of_a_redelivered_message_is_the_last_holders(
    node: nsqlite.Node, connect: Callable[..., Client]
) -> None:
    """Whoever had it before it was put back cannot finish it."""
    published, one, other = publish(node, 2), connect(2), connect(2)
    one.take()
    one.set_ready(0)
    one.requeue(published[0])
    other.take()

    assert one.finish(*published) == [0]
    assert other.finish(*published) == [1]


def test_finish_wakes_nobody_in_vain(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """A finish makes no message ready, so who waits sleeps on."""
    one, other = connect(), connect()
    published = publish(node, 2)
    one.take()
    other.pull()
    woken = other.waiter.wake_count

    one.finish(*published)

    assert other.waiter.wake_count == woken


# -- requeue, touch, ownership -------------------------------------------------------------


def test_requeue_puts_one_message_back(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """At once or after a delay, once, and only what is held."""
    published = publish(node, 3)
    client.take()

    assert client.requeue(published[0])
    assert client.requeue(published[1], 5 * SECOND_NS)
    assert not client.requeue(published[0])
    assert not client.requeue(published[2] + 1)

    assert client.take() == [published[0]]
    clock.advance(5)
    assert client.take() == [published[1]]
    assert client.consumer.requeue_count == 2


def test_requeue_wakes_who_waits(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """A message that one client puts back is for whoever waits."""
    one, other = connect(1), connect(1)
    (number,) = publish(node, 1)
    one.take()
    other.pull()

    one.requeue(number)

    assert other.waiter.wake_count == 1
    assert other.take() == [number]


def test_touch_postpones_the_deadline(node: nsqlite.Node, client: Client, clock: Clock) -> None:
    """A touched message outlives its neighbours, and only what is held is touched."""
    published = publish(node, 3)
    client.take()
    clock.advance(59)

    assert client.touch(published[1])
    assert not client.touch(published[2] + 1)
    clock.advance(1)

    assert not client.touch(published[0])
    assert client.finish(*published) == [0, 2]


def test_ownership_is_known_for_errors(node: nsqlite.Node, connect: Callable[..., Client], clock: Clock) -> None:
    """In flight to somebody, by whatever delivery; nothing that was answered, timed out or never was."""
    engine, published, one = node.engine, publish(node, 4), connect(4)
    asked = [published[-1] + 1, *published, published[0] - 1, -1, published[2]]
    one.take()
    one.finish(published[0])
    one.requeue(published[1], SECOND_NS)
    one.touch(published[2])

    assert engine.held_by_anybody(one.channel, asked) == set(published[2:])
    assert engine.held_by_anybody(one.channel, [published[1]]) == set()
    clock.advance(60)
    assert engine.held_by_anybody(one.channel, asked) == set()


# -- samples and ceilings ------------------------------------------------------------------


def test_sample_throws_away_what_is_not_wanted(node: nsqlite.Node, client: Client) -> None:
    """A sampling client takes the rest of the channel's messages with it: nobody gets them."""
    published = publish(node, 10)
    deliveries, _, _ = client.pull()
    wanted = iter([True, False] * 5)

    node.engine.sample(client.channel, deliveries, lambda: next(wanted))

    assert [number for each in deliveries for number in numbers(each)] == published[::2]
    assert client.consumer.in_flight_count == client.consumer.message_count == 5
    assert client.channel.depth == 0
    assert client.finish(*published) == [1, 3, 5, 7, 9]


def test_ceiling_that_rises_wakes_its_client(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """Who waits without room is passed by; once it has room again it is woken for what is there."""
    client = connect(1)
    client.pull()
    client.set_ready(0)

    publish(node, 1)

    assert client.waiter.wake_count == 0
    client.set_ready(2)
    assert client.waiter.wake_count == 1
    assert len(client.take()) == 1


def test_ceiling_that_falls_takes_nothing_back(node: nsqlite.Node, connect: Callable[..., Client]) -> None:
    """What is held stays held; nothing comes until it is below the ceiling again."""
    client, published = connect(3), publish(node, 6)
    client.take()

    client.set_ready(1)

    assert client.finish(*published[:2]) == []
    assert client.take() == []
    assert client.finish(published[2]) == []
    assert client.take() == [published[3]]
