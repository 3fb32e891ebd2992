"""The cases that the design names, each as small as it can be told."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import nsqlite
import nsqlite.aio
from nsqlite.clock import VirtualClock
from nsqlite.errors import NsqliteError
from tests.properties.pair import Pair, read_all, write_all
from tests.properties.scheduler import SECOND, Scheduler, SimulatedClock

MIB = 1 << 20
DAY = 86_400.0
LEVELS = ["memory", "commit", "fsync"]
DURABLE = ["commit", "fsync"]
TINY = {"settle_bytes": 2048, "settle_interval": 0.25, "cache_bytes": 2048}


def disk_bytes(path: Path) -> int:
    """What a store takes of the disk, holes left out."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def counters(node: nsqlite.Node) -> dict[tuple[str, str], tuple[int, ...]]:
    """What a restart must not change: what each channel owes, and what waits in topics."""
    counted = {}
    for name in node.topics:
        topic = node.topic(name)
        counted[name, ""] = (topic.depth,)
        for channel_name in topic.channels:
            channel = topic.channel(channel_name)
            owed = channel.depth + channel.in_flight_count + channel.deferred_count
            counted[name, channel_name] = (owed,)
    return counted


# -- two promises at once ------------------------------------------------------------------


def race(seed: int, folder: Path, durability: str, first: str, second: str) -> None:
    """Two threads do one thing each, in any interleaving: a restart must see what the node saw."""
    scheduler = Scheduler(seed)
    images = []
    actions: dict[str, Callable[[nsqlite.Node], object]] = {
        "publish": lambda node: node.publish("orders", b"new" * 100),
        "publish many": lambda node: node.publish_many("orders", [b"many" * 50] * 5),
        "publish delayed": lambda node: node.publish("orders", b"later", delay=60),
        "create channel": lambda node: node.topic("orders").channel("audit"),
        "delete channel": lambda node: node.topic("orders").delete_channel("mail"),
        "delete topic": lambda node: node.delete_topic("orders"),
        "empty channel": lambda node: node.topic("orders").channel("mail").empty(),
        "empty topic": lambda node: node.topic("orders").empty(),
        "pause topic": lambda node: node.topic("orders").pause(),
        "receive": lambda node: node.topic("orders").channel("mail").receive_many(3, timeout=0),
        "sync": lambda node: node.sync(),
    }

    def attempt(node: nsqlite.Node, action: str) -> None:
        try:
            actions[action](node)
        except NsqliteError:
            assert "delete" in first + second, "only what is deleted meanwhile may refuse"

    def main() -> None:
        clock = SimulatedClock(scheduler)
        node = nsqlite.open(folder / "store", durability=durability, clock=clock, **TINY)
        node.topic("orders").channel("mail")
        node.publish_many("orders", [b"old %d" % n for n in range(4)])
        left = [first, second]

        def other() -> None:
            attempt(node, second)
            left.remove(second)

        scheduler.spawn("other", other)
        attempt(node, first)
        left.remove(first)
        scheduler.wait(lambda: not left)
        node.check()
        images.append((counters(node), read_all(folder / "store")))
        scheduler.advance_ns(SECOND)
        scheduler.wait(lambda: True)
        images.append((counters(node), read_all(folder / "store")))
        node.close()
        images.append((images[-1][0], read_all(folder / "store")))

    with scheduler.installed():
        scheduler.run(main)
    for number, (counted, files) in enumerate(images):
        write_all(folder / f"image-{number}", files)
        with nsqlite.open(folder / f"image-{number}", durability=durability) as node:
            node.check()
            assert counters(node) == counted, f"seed {seed}, image {number}"


@pytest.mark.parametrize(
    "first, second",
    [
        ("publish", "create channel"),
        ("publish many", "create channel"),
        ("publish delayed", "create channel"),
        ("publish", "delete channel"),
        ("publish many", "delete topic"),
        ("publish", "empty channel"),
        ("receive", "empty channel"),
        ("receive", "delete channel"),
        ("publish delayed", "pause topic"),
        ("publish", "empty topic"),
        ("publish", "publish many"),
        ("sync", "empty channel"),
    ],
)
@pytest.mark.parametrize("durability", DURABLE)
def test_two_at_once_replay_as_they_were_applied(tmp_path: Path, durability: str, first: str, second: str) -> None:
    """A channel made during another's sync, and its like: replay agrees with memory on who owes what."""
    for seed in range(3):
        race(seed, tmp_path / str(seed), durability, first, second)


# -- removing between and during settlements -----------------------------------------------


@pytest.mark.parametrize("durability", DURABLE)
@pytest.mark.parametrize("what", ["empty channel", "empty topic", "delete channel", "delete topic"])
def test_removed_stays_removed_whatever_settles_meanwhile(tmp_path: Path, durability: str, what: str) -> None:
    """Emptied, deleted and made again, before, between and during settlements: the old does not come back."""
    for seed in range(4):
        remove_while_settling(seed, tmp_path / str(seed), durability, what)


def remove_while_settling(seed: int, folder: Path, durability: str, what: str) -> None:
    """The settling thread may run at any step; the model says what is left after each."""
    scheduler = Scheduler(seed)
    dice = scheduler.random

    def main() -> None:
        pair = Pair(folder, durability, clock=SimulatedClock(scheduler), **TINY)
        pair.advance_clock = lambda seconds: scheduler.advance_ns(int(seconds * SECOND))
        pair.open_channel("orders", "audit")
        for _ in range(3):
            pair.open_channel("orders", "mail")
            pair.publish_many("orders", 12, size=200)
            pair.publish_many("orders", 2, size=200, delay=600)
            pair.receive_many("orders", "mail", 5)
            for held in pair.held[-3:]:
                pair.requeue(held, dice.choice([0, 600]))
            if dice.random() < 0.5:
                pair.advance(0.25)
            if what == "empty channel":
                pair.empty_channel("orders", "mail")
            elif what == "delete channel":
                pair.delete_channel("orders", "mail")
            elif what == "delete topic":
                pair.delete_topic("orders")
            else:
                pair.pause_topic("orders", True)
                pair.publish_many("orders", 6, size=200)
                pair.advance(0.25)
                pair.empty_topic("orders")
                pair.pause_topic("orders", False)
            pair.compare()
            if dice.random() < 0.5:
                pair.advance(0.25)
            dice.choice([pair.restart, pair.crash, pair.sync])()
            pair.compare()
        pair.drain_all()
        pair.close()

    with scheduler.installed():
        scheduler.run(main)


# -- kills ---------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABLE)
def test_kill_keeps_a_delayed_message_in_flight_beside_a_fresh_one(tmp_path: Path, durability: str) -> None:
    """A delayed message handed out before a fresh neighbour is still owed after a kill."""
    pair = Pair(tmp_path, durability, settle_interval=1000.0, settle_bytes=MIB)
    pair.open_channel("orders", "mail")
    pair.publish("orders", delay=1)
    pair.publish("orders")
    pair.advance(1)
    pair.receive_many("orders", "mail", 1)
    pair.receive_many("orders", "mail", 1)

    pair.crash()
    pair.compare()

    assert pair.model.topics["orders"].channels["mail"].depth == 2
    pair.drain_all()
    pair.close()


@pytest.mark.parametrize("durability", DURABLE)
def test_kill_loses_nothing_when_a_large_record_skipped_a_small_segment(tmp_path: Path, durability: str) -> None:
    """A segment too small to be used again keeps old records; what lies behind them still counts."""
    pair = Pair(tmp_path, durability, settle_interval=1000.0, settle_bytes=64 * MIB, max_msg_size=4 * MIB)
    pair.open_channel("orders", "mail")
    journal = pair.node.engine.storage.journal
    while len(journal.used) < 3:
        pair.publish("orders", size=200_000)
    pair.node.engine.background.settle_now()
    pair.publish("orders", size=200_000)
    current = journal.used[-1]
    while current.size_bytes - current.position > MIB:
        pair.publish("orders", size=200_000)
    while journal.used[-1] is current:
        pair.publish("orders", size=1_600_000)

    pair.crash()
    pair.compare()

    pair.drain_all()
    pair.close()


def test_ephemeral_channel_gets_a_backlog_that_was_settled(tmp_path: Path) -> None:
    """The first channel of a topic gets what waits there, an ephemeral one too, after a restart too."""
    pair = Pair(tmp_path, "commit")
    pair.publish_many("orders", 5, size=200)
    pair.publish_many("orders", 5, size=200, delay=1)
    try:
        pair.restart()
        pair.open_channel("orders", "tail#ephemeral")
        pair.advance(2)
        pair.node.engine.background.settle_now()

        pair.compare()
        pair.drain_all()
    finally:
        pair.close()


# -- clocks --------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", LEVELS)
def test_wall_clock_that_steps_back_moves_no_deadline(tmp_path: Path, durability: str) -> None:
    """While the node is open delays and timeouts are on the monotonic clock, and ids go on rising."""
    pair = Pair(tmp_path, durability)
    pair.open_channel("orders", "mail")
    pair.publish("orders")
    pair.publish("orders", delay=30)
    pair.receive("orders", "mail")

    pair.step_wall(-DAY)
    pair.publish("orders")
    pair.publish("orders", delay=20)
    for _ in range(8):
        pair.advance(4)
        pair.compare()

    assert pair.model.topics["orders"].channels["mail"].depth == 4
    pair.drain_all()
    pair.close()


@pytest.mark.parametrize("durability", DURABLE)
def test_wall_clock_that_stepped_back_over_a_restart_keeps_due_times(tmp_path: Path, durability: str) -> None:
    """The store keeps wall time: a delay ends when the wall clock says so, and ids still rise."""
    pair = Pair(tmp_path, durability)
    pair.open_channel("orders", "mail")
    pair.publish("orders", delay=30)
    pair.publish("orders")

    pair.step_wall(-60)
    pair.restart()
    pair.publish("orders")
    pair.advance(89)
    pair.compare()

    assert len(pair.model.topics["orders"].channels["mail"].deferred) == 1
    pair.advance(1)
    pair.compare()
    assert not pair.model.topics["orders"].channels["mail"].deferred
    pair.drain_all()
    pair.close()


def test_sleeping_receiver_is_woken_by_a_shorter_delay(tmp_path: Path) -> None:
    """Who sleeps until one message's due time gets another that falls due earlier, in any interleaving."""
    for seed in range(20):
        scheduler = Scheduler(seed)
        got: list[bytes] = []

        def main(scheduler: Scheduler = scheduler, got: list[bytes] = got) -> None:
            node = nsqlite.open(clock=SimulatedClock(scheduler))
            channel = node.topic("orders").channel("mail")
            node.publish("orders", b"late", delay=60)
            scheduler.spawn("receiver", lambda: got.append(channel.receive(timeout=None).body))
            for _ in range(scheduler.random.randrange(8)):
                scheduler.switch()
            node.publish("orders", b"soon", delay=5)
            began_ns = scheduler.now_ns
            scheduler.wait(lambda: bool(got))
            assert scheduler.now_ns == began_ns + 5 * SECOND
            node.close()

        with scheduler.installed():
            scheduler.run(main)
        assert got == [b"soon"], f"seed {seed}"


def test_virtual_clock_wakes_a_real_thread() -> None:
    """A thread that waits for ever gets a delayed message when the virtual time comes."""
    clock = VirtualClock()
    with nsqlite.open(clock=clock) as node:
        channel = node.topic("orders").channel("mail")
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(channel.receive(timeout=None).body))
        node.publish("orders", b"late", delay=60)
        thread.start()
        node.publish("orders", b"soon", delay=5)
        clock.advance(5)
        thread.join(timeout=20)
        assert got == [b"soon"]


# -- asyncio -------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(8))
def test_cancelled_receive_gives_the_message_back(turns: int) -> None:
    """Cancelled at any turn of the loop: the message comes with attempts 1 to the next who asks."""

    async def main() -> None:
        node = nsqlite.open(clock=VirtualClock())
        face = nsqlite.aio.face(node)
        channel = face.topic("orders").channel("mail")
        waiting = asyncio.create_task(channel.receive(timeout=None))
        await asyncio.sleep(0)
        publishing = asyncio.create_task(face.publish("orders", b"one"))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await publishing
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        node.check()
        if isinstance(outcome, asyncio.CancelledError):
            message = await channel.receive(timeout=None)
            assert message is not None
            assert (message.body, message.attempts) == (b"one", 1)
            outcome = message
        assert not isinstance(outcome, BaseException)
        await outcome.finish()
        assert (channel.depth, channel.in_flight_count) == (0, 0)
        node.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("turns", range(8))
def test_cancelled_receive_passes_its_wake_up_on(turns: int) -> None:
    """Of two that wait, one woken and cancelled at once, the other gets the message."""

    async def main() -> None:
        node = nsqlite.open(clock=VirtualClock())
        face = nsqlite.aio.face(node)
        channel = face.topic("orders").channel("mail")
        first = asyncio.create_task(channel.receive(timeout=None))
        await asyncio.sleep(0)
        second = asyncio.create_task(channel.receive(timeout=None))
        await asyncio.sleep(0)
        publishing = asyncio.create_task(face.publish("orders", b"one"))
        for _ in range(turns):
            await asyncio.sleep(0)
        first.cancel()
        await publishing
        outcome = (await asyncio.gather(first, return_exceptions=True))[0]
        if isinstance(outcome, asyncio.CancelledError):
            outcome = await second
        else:
            second.cancel()
        assert not isinstance(outcome, BaseException)
        assert (outcome.body, outcome.attempts) == (b"one", 1)
        node.check()
        node.close()

    asyncio.run(asyncio.wait_for(main(), 20))


# -- disk ----------------------------------------------------------------------------------


def test_new_empty_store_is_small(tmp_path: Path) -> None:
    """A new store takes under 5 MiB, open and closed."""
    with nsqlite.open(tmp_path / "store") as node:
        node.topic("orders").channel("mail")
        assert disk_bytes(tmp_path / "store") < 5 * MIB
    assert disk_bytes(tmp_path / "store") < 5 * MIB


@pytest.mark.parametrize("durability", DURABLE)
def test_cleanly_closed_store_has_an_empty_journal(tmp_path: Path, durability: str) -> None:
    """Closing settles everything: without its journal the store opens with all it had."""
    with nsqlite.open(tmp_path / "store", durability=durability) as node:
        node.topic("orders").channel("mail")
        node.publish_many("orders", [b"%d" % n for n in range(100)])
        node.publish("orders", b"later", delay=DAY)
        node.topic("orders").channel("mail").receive_many(10)
        counted = counters(node)

    for segment in (tmp_path / "store" / "journal").glob("*"):
        segment.unlink()

    with nsqlite.open(tmp_path / "store", durability=durability) as node:
        assert counters(node) == counted
        node.check()


def test_constant_depth_for_long_does_not_grow_the_store(tmp_path: Path) -> None:
    """Publishing and finishing for ever at the same depth reuses what was there."""
    body = b"x" * 200
    options = {"settle_bytes": MIB, "settle_interval": 0.05, "cache_bytes": MIB}
    largest = 0
    with nsqlite.open(tmp_path / "store", durability="commit", **options) as node:
        channel = node.topic("orders").channel("mail")
        node.publish_many("orders", [body] * 1000)
        for _ in range(40):
            for _ in range(100):
                node.publish_many("orders", [body] * 100)
                channel.finish_many(channel.receive_many(100))
            node.sync()
            largest = max(largest, disk_bytes(tmp_path / "store"))

    assert largest < 24 * MIB, "of 95 MB that went through"


def test_sparse_store_is_small(tmp_path: Path) -> None:
    """A million messages, every 200th requeued for a day and the rest finished: under 64 MiB."""
    body = b"x" * 200
    options = {"settle_bytes": 4 * MIB, "cache_bytes": MIB}
    with nsqlite.open(tmp_path / "store", durability="commit", **options) as node:
        channel = node.topic("orders").channel("mail")
        for _ in range(250):
            node.publish_many("orders", [body] * 4000)
            messages = []
            while len(messages) < 4000:
                messages += channel.receive_many(4000 - len(messages))
            for message in messages[::200]:
                message.requeue(delay=DAY)
            del messages[::200]
            channel.finish_many(messages)
        assert channel.deferred_count == 5000
    assert disk_bytes(tmp_path / "store") < 64 * MIB

    with nsqlite.open(tmp_path / "store", durability="commit") as node:
        channel = node.topic("orders").channel("mail")
        assert (channel.depth, channel.deferred_count) == (0, 5000)
        node.check()


# -- fairness ------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh, again", [(1000, 10), (10, 1000)])
def test_neither_fresh_nor_requeued_starve(fresh: int, again: int) -> None:
    """However many of one kind wait, the first hundred hand-outs have all or many of the other."""
    with nsqlite.open(clock=VirtualClock()) as node:
        channel = node.topic("orders").channel("mail")
        node.publish_many("orders", [b"x"] * again)
        for message in channel.receive_many(again, timeout=0):
            message.requeue()
        node.publish_many("orders", [b"x"] * fresh)

        attempts = [channel.receive(timeout=0).attempts for _ in range(100)]

        assert attempts.count(1) >= 10
        assert attempts.count(2) >= 10


def test_ephemeral_channel_drops_what_it_has_no_room_for() -> None:
    """`mem_queue_size` bounds an ephemeral channel and an ephemeral topic; the rest is counted as dropped."""
    with nsqlite.open(clock=VirtualClock(), mem_queue_size=5) as node:
        node.publish_many("gone#ephemeral", [b"x"] * 8)
        tail = node.topic("orders").channel("tail#ephemeral")
        mail = node.topic("orders").channel("mail")
        node.publish_many("orders", [b"x"] * 8)
        stats = {each.topic_name: each for each in node.stats().topics}

        assert node.topic("gone#ephemeral").depth == 5
        assert stats["gone#ephemeral"].dropped_count == 3
        assert (tail.depth, mail.depth) == (5, 8)
        assert len(tail.receive_many(8, timeout=0)) == 5
        node.check()
