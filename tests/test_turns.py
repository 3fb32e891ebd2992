"""Turns that promise are strictly serial, share their syncs, and never stop who only receives."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import NodeClosedError, StorageFailedError
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import GatedStorage, open_gated


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture
def opened(tmp_path: Path, clock: AttendedClock) -> Iterator[tuple[nsqlite.Node, GatedStorage]]:
    """A node at "fsync" with one channel, and the gate before its syncs."""
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("orders").channel("billing")
    yield node, storage
    storage.sync_gate.open()
    node.close()


def image(node: nsqlite.Node, tmp_path: Path) -> Path:
    """What a kill would leave now."""
    shutil.copytree(node.engine.storage.path, tmp_path / "image")
    return tmp_path / "image"


def test_publish_returns_after_its_sync(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """Nothing is visible, and nothing answered, before the record is on stable storage."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    storage.sync_gate.shut()

    publisher = Caller(lambda: node.publish("orders", b"x"))
    storage.sync_gate.await_arrival()
    during = channel.depth
    storage.sync_gate.open()

    assert during == 0
    assert len(publisher.outcome()) == 16
    assert channel.depth == 1


def test_receiving_goes_on_during_a_sync(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """While a promise is synced messages are received, finished, requeued, touched and counted."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b", b"c"])
    storage.sync_gate.shut()
    publisher = Caller(lambda: node.publish("orders", b"d"))
    storage.sync_gate.await_arrival()

    first, second, third = channel.receive_many(3, timeout=0)
    first.finish()
    second.requeue()
    third.touch()
    counted = (channel.depth, channel.in_flight_count, node.stats().topics[0].channels[0].finish_count)

    storage.sync_gate.open()
    publisher.outcome()
    assert counted == (1, 1, 1)
    node.check()


def test_publishers_that_arrive_during_a_sync_share_the_next(
    opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock
) -> None:
    """Group commit: however many wait, one more sync answers them all."""
    node, storage = opened
    topic = node.topic("orders")
    storage.sync_gate.shut()
    first = Caller(lambda: topic.publish(b"first"))
    storage.sync_gate.await_arrival()
    rest = []
    for number in range(10):
        rest.append(Caller(lambda number=number: topic.publish(b"%d" % number)))
        clock.await_sleeper()
    before = storage.sync_count

    storage.sync_gate.open()
    ids = [first.outcome(), *(caller.outcome() for caller in rest)]

    assert storage.sync_count == before + 1
    assert len(set(ids)) == 11
    bodies = [message.body for message in topic.channel("billing").receive_many(100, timeout=0)]
    assert bodies == [b"first", *(b"%d" % number for number in range(10))]


def test_promises_are_strictly_serial(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """A channel that is asked for during another's sync is decided after it, and starts behind it."""
    node, storage = opened
    topic = node.topic("orders")
    storage.sync_gate.shut()
    publisher = Caller(lambda: topic.publish_many([b"a", b"b"]))
    storage.sync_gate.await_arrival()
    maker = Caller(lambda: topic.channel("audit"))
    clock.await_sleeper()

    storage.sync_gate.open()
    publisher.outcome()

    assert maker.outcome().depth == 0
    assert topic.channel("billing").depth == 2


@pytest.mark.parametrize(
    "act",
    [
        lambda messages: messages[0].finish(),
        lambda messages: messages[0].requeue(),
        lambda messages: messages[0].requeue(delay=60),
        lambda messages: None,
    ],
    ids=["finish", "requeue", "defer", "hold"],
)
def test_emptied_messages_do_not_come_back_after_a_kill(
    opened: tuple[nsqlite.Node, GatedStorage], tmp_path: Path, act: Callable[[list[nsqlite.Message]], None]
) -> None:
    """What was handed out while an emptying was synced is dropped with the rest, also by replay."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"x"] * 5)
    storage.sync_gate.shut()
    emptying = Caller(channel.empty)
    storage.sync_gate.await_arrival()

    act(channel.receive_many(2, timeout=0))
    with node.engine.lock:
        node.engine.flush_progress()
    storage.sync_gate.open()
    emptying.outcome()
    node.sync()

    counts = (channel.depth, channel.in_flight_count, channel.deferred_count)
    with nsqlite.open(image(node, tmp_path), clock=node.engine.clock) as killed:
        found = killed.topic("orders").channel("billing")
        assert (found.depth, found.in_flight_count, found.deferred_count) == counts == (0, 0, 0)
        killed.check()


def test_close_lets_the_turn_in_progress_end(
    opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock, tmp_path: Path
) -> None:
    """What is being synced is answered and kept; what waits behind it is refused and not published."""
    node, storage = opened
    storage.sync_gate.shut()
    inside = Caller(lambda: node.publish("orders", b"inside"))
    storage.sync_gate.await_arrival()
    behind = Caller(lambda: node.publish("orders", b"behind"))
    clock.await_sleeper()
    closing = Caller(node.close)
    clock.await_sleeper()

    storage.sync_gate.open()

    assert len(inside.outcome()) == 16
    with pytest.raises(NodeClosedError, match="nothing was published"):
        behind.outcome()
    closing.outcome()
    with nsqlite.open(tmp_path / "store") as again:
        assert [m.body for m in again.topic("orders").channel("billing").receive_many(9, timeout=0)] == [b"inside"]


def test_failed_sync_is_told_and_the_node_goes_on(opened: tuple[nsqlite.Node, GatedStorage], tmp_path: Path) -> None:
    """The publish did not happen, now or after reopening; the next one does, in a new epoch."""
    node, storage = opened
    node.publish("orders", b"before")
    epoch = storage.journal.epoch
    storage.failing_syncs = 1

    with pytest.raises(StorageFailedError, match="may be tried again") as caught:
        node.publish("orders", b"failed")
    node.publish("orders", b"after")

    assert not caught.value.outcome_unknown
    assert storage.journal.epoch == epoch + 1
    with nsqlite.open(image(node, tmp_path), clock=node.engine.clock) as killed:
        bodies = [m.body for m in killed.topic("orders").channel("billing").receive_many(9, timeout=0)]
    assert bodies == [b"before", b"after"]


@pytest.mark.parametrize("durability", ["commit", "fsync"])
def test_failed_append_is_told_and_the_node_goes_on(tmp_path: Path, clock: AttendedClock, durability: str) -> None:
    """A write that fails takes the promise back, at every level."""
    node, storage = open_gated(tmp_path / "store", clock, durability)
    channel = node.topic("orders").channel("billing")
    for publish in (lambda: node.publish("orders", b"x"), lambda: node.publish_many("orders", [b"x", b"y"])):
        storage.failing_appends = 1
        with pytest.raises(StorageFailedError) as caught:
            publish()
        assert not caught.value.outcome_unknown

    node.publish("orders", b"after")

    assert channel.depth == 1
    assert node.health == "OK"
    node.check()
    node.close()


def test_disk_that_fails_for_good_refuses_promises_only(
    opened: tuple[nsqlite.Node, GatedStorage],
) -> None:
    """When not even a settlement goes through, publishes say that their outcome is unknown; receiving goes on."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b"])
    storage.failing_syncs, storage.failing_settlements = 1, 1

    with pytest.raises(StorageFailedError) as caught:
        node.publish("orders", b"lost?")
    for promise in (lambda: node.publish("orders", b"x"), lambda: node.topic("new")):
        with pytest.raises(StorageFailedError):
            promise()

    assert caught.value.outcome_unknown
    assert node.health.startswith("NOK - ")
    for message in channel.receive_many(2, timeout=0):
        message.finish()
    assert channel.depth == 0


def test_interrupted_caller_leaves_the_line(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """Who is interrupted while it waits for its turn takes its publish back, and the others go on."""
    node, storage = opened
    topic = node.topic("orders")
    storage.sync_gate.shut()
    first = Caller(lambda: topic.publish(b"first"))
    storage.sync_gate.await_arrival()
    second = Caller(lambda: topic.publish(b"second"))
    clock.await_sleeper()
    third = Caller(lambda: topic.publish(b"third"))
    clock.await_sleeper()
    with node.engine.lock:
        abandoned = node.engine._ops[0]
    node.engine._abandon(abandoned)

    storage.sync_gate.open()
    first.outcome()
    third.outcome()

    channel = topic.channel("billing")
    assert [message.body for message in channel.receive_many(9, timeout=0)] == [b"first", b"third"]
    with node.engine.lock:
        abandoned.error = NodeClosedError()
        abandoned.answer()
    with pytest.raises(NodeClosedError):
        second.outcome()
