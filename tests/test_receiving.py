"""Handing out and taking answers never waits for a disk, except for what must be read back."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import ChannelDeletedError, NotInFlightError
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock

SMALL = {"cache_bytes": 0}


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture
def node(tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node that keeps nothing in memory that is on disk."""
    with nsqlite.open(tmp_path / "store", durability="commit", clock=clock, options=nsqlite.Options(**SMALL)) as made:
        made.topic("orders").channel("billing")
        yield made
        made.check()


def settle(node: nsqlite.Node) -> None:
    """Have everything in LMDB, and nothing in memory."""
    node.engine.background.settle_now()


def drain(channel: nsqlite.Channel) -> list[bytes]:
    """Everything that is ready, finished."""
    found = []
    while messages := channel.receive_many(7, timeout=0):
        channel.finish_many(messages)
        found += [message.body for message in messages]
    return found


def test_settled_messages_are_read_back(node: nsqlite.Node) -> None:
    """What left memory comes from disk, whole and in order, with what is in memory behind it."""
    bodies = [b"%03d" % number + b"." * 5000 for number in range(100)]
    node.publish_many("orders", bodies[:60])
    settle(node)
    node.publish_many("orders", bodies[60:])

    assert drain(node.topic("orders").channel("billing")) == bodies


def test_settled_messages_can_be_redelivered(node: nsqlite.Node, clock: AttendedClock) -> None:
    """A requeued, deferred or timed-out message whose run is on disk only is found there."""
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b", b"c"])
    one, two, _ = channel.receive_many(3, timeout=0)
    one.requeue()
    two.requeue(delay=5)
    settle(node)
    clock.advance(60)

    messages = [channel.receive(timeout=0) for _ in range(3)]

    assert sorted(message.body for message in messages) == [b"a", b"b", b"c"]
    assert {message.attempts for message in messages} == {2}


def test_settled_message_in_flight_can_be_answered_and_read(node: nsqlite.Node) -> None:
    """Who holds a message holds its bytes, whatever memory lets go of."""
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x" * 1000)
    message = channel.receive(timeout=0)
    settle(node)
    node.publish_many("orders", [b"y"] * 10)
    settle(node)

    assert message.body == b"x" * 1000
    message.touch()
    message.finish()
    assert (channel.depth, channel.in_flight_count) == (10, 0)


def test_many_threads_load_one_run_once_and_share_it(node: nsqlite.Node) -> None:
    """Each message goes to one of those who wait for the same run."""
    channel = node.topic("orders").channel("billing")
    bodies = [b"%03d" % number for number in range(200)]
    node.publish_many("orders", bodies)
    settle(node)

    callers = [Caller(lambda: drain(channel)) for _ in range(4)]

    assert sorted(body for caller in callers for body in caller.outcome()) == bodies


def test_woken_receiver_that_was_interrupted_passes_it_on(node: nsqlite.Node, clock: AttendedClock) -> None:
    """A wake-up that its receiver cannot use goes to the next one."""
    channel = node.topic("orders").channel("billing")
    core, engine = channel._core, node.engine
    told = []

    class Waiter:
        """A sleeper that tells when it is woken."""

        def __init__(self, name: str) -> None:
            self.name = name

        def wake(self) -> None:
            """Tell."""
            told.append(self.name)

    first, second = Waiter("first"), Waiter("second")
    for waiter in (first, second):
        engine.begin_wait(core, waiter, clock.monotonic_ns() + 10**12)
    node.publish("orders", b"x")
    assert "first" in told

    engine.end_wait(core, first)

    assert "second" in told


def test_begin_wait_does_not_sleep_on_what_is_ready(node: nsqlite.Node, clock: AttendedClock) -> None:
    """Between looking and sleeping nothing is missed."""
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    until_ns = clock.monotonic_ns() + 10**9

    assert node.engine.begin_wait(channel._core, object(), until_ns) == 0
    channel.receive(timeout=0)
    assert node.engine.begin_wait(channel._core, object(), clock.monotonic_ns()) == -1
    assert not channel._core.waiters


def test_consumer_without_room_leaves_messages_to_others(node: nsqlite.Node, clock: AttendedClock) -> None:
    """A full consumer that waits does not keep a message from a receiver beside it."""
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"a")
    with channel.consume(max_in_flight=1) as consumer:
        held = next(consumer)
        full = Caller(lambda: next(consumer))
        clock.await_sleeper()
        beside = Caller(channel.receive)
        clock.await_sleeper()

        node.publish("orders", b"b")
        assert beside.outcome().body == b"b"
        held.finish()
        node.publish("orders", b"c")
        assert full.outcome().body == b"c"


def test_deleting_while_many_receive_loses_and_hangs_nothing(node: nsqlite.Node) -> None:
    """Receivers and a deletion race; each receiver ends with messages or with the reason."""
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"x"] * 500)
    callers = [Caller(lambda: drain(channel)) for _ in range(3)]

    node.topic("orders").delete_channel("billing")

    for caller in callers:
        with suppress(ChannelDeletedError, NotInFlightError):
            caller.outcome()
    assert node.topic("orders").channels == []
