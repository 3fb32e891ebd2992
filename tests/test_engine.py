"""A node's life: what an opening finds is what the last life owed."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import StoreFullError
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import open_gated

DURABLE = ["commit", "fsync"]
ENDS = ["close", "kill"]


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture(params=DURABLE)
def durability(request: pytest.FixtureRequest) -> str:
    """A level."""
    return str(request.param)


@pytest.fixture(params=ENDS)
def reopen(
    request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock, durability: str
) -> Iterator[Callable[[], nsqlite.Node]]:
    """Open the store, the first time and again after its life was ended one way or the other."""
    lives: list[nsqlite.Node] = []

    def open_again() -> nsqlite.Node:
        path = tmp_path / f"life-{len(lives)}"
        if lives:
            last = lives[-1]
            if request.param == "close":
                last.close()
            else:
                with last.engine.lock:
                    last.engine.flush_progress()  # a kill forgets 25 ms of it
            shutil.copytree(tmp_path / f"life-{len(lives) - 1}", path)
            last.close()
        lives.append(nsqlite.open(path, durability=durability, clock=clock))
        return lives[-1]

    yield open_again
    lives[-1].check()
    lives[-1].close()


def test_messages_survive(reopen: Callable[[], nsqlite.Node]) -> None:
    """Whatever ends a life, what was published is there, in every channel, as it was."""
    node = reopen()
    topic = node.topic("orders")
    for name in ("one", "two"):
        topic.channel(name)
    ids = topic.publish_many([b"a", b"b"])
    message = topic.channel("one").receive(timeout=0)
    timestamp = message.timestamp
    message.finish()

    topic = reopen().topic("orders")

    assert [m.id for m in topic.channel("one").receive_many(9, timeout=0)] == ids[1:]
    found = topic.channel("two").receive_many(9, timeout=0)
    assert [(m.id, m.body, m.attempts, m.timestamp) for m in found] == [
        (ids[0], b"a", 1, timestamp),
        (ids[1], b"b", 1, timestamp),
    ]


def test_delays_survive(reopen: Callable[[], nsqlite.Node], clock: AttendedClock) -> None:
    """A delay ends when it would have ended, in the channel and in a topic without one."""
    node = reopen()
    node.topic("orders").channel("billing")
    node.publish("orders", b"a", delay=100)
    node.publish("waiting", b"b", delay=100)
    clock.advance(60)

    node = reopen()
    channels = [node.topic("orders").channel("billing"), node.topic("waiting").channel("late")]

    for channel in channels:
        assert (channel.depth, channel.deferred_count) == (0, 1)
    clock.advance(39.9)
    assert [channel.depth for channel in channels] == [0, 0]
    clock.advance(0.1)
    assert [channel.receive(timeout=0).attempts for channel in channels] == [1, 1]


def test_deferred_requeues_survive(reopen: Callable[[], nsqlite.Node], clock: AttendedClock) -> None:
    """A requeue's delay and attempts are kept."""
    node = reopen()
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"a")
    channel.receive(timeout=0).requeue(delay=50)

    channel = reopen().topic("orders").channel("billing")

    assert channel.deferred_count == 1
    clock.advance(50)
    assert channel.receive(timeout=0).attempts == 2


def test_time_that_passed_while_closed_counts(reopen: Callable[[], nsqlite.Node], clock: AttendedClock) -> None:
    """What fell due meanwhile is ready at once."""
    node = reopen()
    node.topic("orders").channel("billing")
    node.publish("orders", b"a", delay=100)
    clock.step_wall(200)

    channel = reopen().topic("orders").channel("billing")

    assert channel.depth == 1


def test_clock_that_stepped_back_while_closed_loses_nothing(
    reopen: Callable[[], nsqlite.Node], clock: AttendedClock
) -> None:
    """Ids go on rising, and a delay is at worst longer."""
    node = reopen()
    node.topic("orders").channel("billing")
    before = node.publish("orders", b"a", delay=10)
    clock.step_wall(-3600)

    node = reopen()
    channel = node.topic("orders").channel("billing")

    assert node.publish("orders", b"b") > before
    assert channel.deferred_count == 1
    clock.advance(3610)
    assert channel.depth == 2


def test_in_flight_messages_come_back_ahead_of_fresh(reopen: Callable[[], nsqlite.Node]) -> None:
    """What was in somebody's hands is ready at once, attempts counted, before what nobody had."""
    node = reopen()
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"%d" % number for number in range(6)])
    held = channel.receive_many(3, timeout=0)
    held[1].finish()

    channel = reopen().topic("orders").channel("billing")
    messages = [channel.receive(timeout=0) for _ in range(5)]

    assert [message.body for message in messages] == [b"0", b"2", b"3", b"4", b"5"]
    assert [message.attempts for message in messages] == [2, 2, 1, 1, 1]


def test_attempts_go_on_over_lives(reopen: Callable[[], nsqlite.Node]) -> None:
    """Each life that takes a message and ends counts as an attempt."""
    reopen().topic("orders").channel("billing")
    reopen().publish("orders", b"a")

    attempts = [reopen().topic("orders").channel("billing").receive(timeout=0).attempts for _ in range(4)]

    assert attempts == [1, 2, 3, 4]


def test_pauses_and_names_survive(reopen: Callable[[], nsqlite.Node]) -> None:
    """Topics, channels and what is paused are as they were; what was deleted is gone; nothing ephemeral is left."""
    node = reopen()
    topic = node.topic("orders")
    topic.channel("billing").pause()
    topic.channel("audit")
    topic.channel("gone")
    topic.channel("tail#ephemeral")
    topic.delete_channel("gone")
    topic.pause()
    topic.publish(b"x")
    node.topic("events#ephemeral").channel("kept")
    node.topic("gone")
    node.delete_topic("gone")

    node = reopen()
    topic = node.topic("orders")

    assert node.topics == ["orders"]
    assert topic.channels == ["audit", "billing"]
    assert (topic.is_paused, topic.channel("billing").is_paused, topic.channel("audit").is_paused) == (
        True,
        True,
        False,
    )
    assert topic.depth == 1


def test_emptied_and_made_again_is_new(reopen: Callable[[], nsqlite.Node]) -> None:
    """Emptying, deleting and making again survive in this order."""
    node = reopen()
    topic = node.topic("orders")
    channel = topic.channel("billing")
    topic.publish_many([b"a", b"b"])
    channel.receive(timeout=0)
    channel.empty()
    topic.delete_channel("billing")
    topic.channel("billing")
    topic.publish(b"c")
    node.delete_topic("orders")
    node.topic("orders").channel("billing")
    node.publish("orders", b"d")

    channel = reopen().topic("orders").channel("billing")

    assert [message.body for message in channel.receive_many(9, timeout=0)] == [b"d"]


def test_cleanly_closed_store_has_an_empty_journal(tmp_path: Path, clock: AttendedClock, durability: str) -> None:
    """Closing settles everything."""
    with nsqlite.open(tmp_path / "store", durability=durability, clock=clock) as node:
        node.publish_many("orders", [b"x"] * 10)

    assert os.listdir(tmp_path / "store" / "journal") == []


def test_close_that_cannot_settle_keeps_the_journal(tmp_path: Path, clock: AttendedClock, durability: str) -> None:
    """It says so, lets go of the lock, and the next opening finds all that was promised."""
    node, storage = open_gated(tmp_path / "store", clock, durability)
    node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b"])
    storage.failing_settlements = 1

    with pytest.raises(StoreFullError):
        node.close()
    node.close()

    with nsqlite.open(tmp_path / "store", clock=clock) as again:
        assert again.topic("orders").channel("billing").depth == 2


def test_opening_that_cannot_settle_changes_nothing(tmp_path: Path, clock: AttendedClock) -> None:
    """An opening without room raises, lets go of the lock, and what the journal holds stays."""
    node, _ = open_gated(tmp_path / "first", clock, "commit")
    node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    shutil.copytree(tmp_path / "first", tmp_path / "store")
    node.close()

    for _ in range(2):
        with pytest.raises(StoreFullError):
            open_gated(tmp_path / "store", clock, "commit", failing_settlements=1)

    with nsqlite.open(tmp_path / "store", clock=clock) as again:
        assert again.topic("orders").channel("billing").depth == 1


def test_settled_and_journaled_make_one_whole(tmp_path: Path, clock: AttendedClock, durability: str) -> None:
    """Settled half-way and killed later, each message is owed as often as it should be."""
    node = nsqlite.open(tmp_path / "store", durability=durability, clock=clock)
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"%d" % number for number in range(6)])
    first, second, third = channel.receive_many(3, timeout=0)
    first.finish()
    second.requeue(delay=100)
    node.engine.background.settle_now()
    third.finish()
    channel.receive(timeout=0).finish()
    node.publish("orders", b"6")
    node.sync()

    shutil.copytree(tmp_path / "store", tmp_path / "image")
    node.close()

    with nsqlite.open(tmp_path / "image", clock=clock) as killed:
        found = killed.topic("orders").channel("billing")
        assert found.deferred_count == 1
        assert [m.body for m in found.receive_many(9, timeout=0)] == [b"4", b"5", b"6"]
        killed.check()


def test_check_finds_what_is_broken(clock: AttendedClock) -> None:
    """Every invariant is looked at, down to the channel's."""
    with nsqlite.open(clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        node.check()
        channel._core.ready_count = 5

        with pytest.raises(AssertionError):
            node.check()
