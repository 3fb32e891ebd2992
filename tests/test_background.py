"""Beside the callers: progress within 25 ms, syncs within sync_interval, settlements within settle_interval."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.options import MIB
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock
from tests.fakes.filling import fill
from tests.fakes.gated import GatedStorage, open_gated

SYNC, SETTLE = "nsqlite-sync", "nsqlite-settle"


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture
def opened(tmp_path: Path, clock: AttendedClock) -> Iterator[tuple[nsqlite.Node, GatedStorage]]:
    """A node at "commit" with one channel."""
    node, storage = open_gated(tmp_path / "store", clock, "commit")
    node.topic("orders").channel("billing")
    yield node, storage
    storage.settle_gate.open()
    storage.sync_gate.open()
    node.close()


def test_progress_is_journaled_within_25_ms(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """A finish that no other call takes along is in the journal 25 ms later."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    channel.receive(timeout=0).finish()
    lsn = storage.journal.lsn

    clock.await_thread(SYNC, 0.025)
    clock.advance(0.025)
    clock.await_thread(SETTLE, 1.0)  # woken when the progress is journaled

    assert storage.journal.lsn == lsn + 1


def test_settlement_begins_after_its_interval(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """A second after something happened it is on its way into LMDB, without another call."""
    node, storage = opened
    node.publish("orders", b"x")
    clock.await_thread(SYNC, 0.025)
    clock.advance(0.025)
    clock.await_thread(SETTLE, 1.0)
    storage.settle_gate.shut()

    clock.advance(1.0)

    storage.settle_gate.await_arrival()
    storage.settle_gate.open()
    node.engine.background.settle_now()
    assert storage._settled.topics
    assert node.stats().journal_bytes == 0


def test_settlement_begins_at_settle_bytes(tmp_path: Path) -> None:
    """Much journal is settled at once, though no time passes."""
    node, storage = open_gated(tmp_path / "store", AttendedClock(), "commit", settle_bytes=10_000)
    storage.settle_gate.shut()

    node.publish_many("orders", [b"x" * 1000] * 11)
    storage.settle_gate.await_arrival()

    storage.settle_gate.open()
    node.close()


def test_journal_is_synced_after_its_interval(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """At "commit" the journal reaches the disk within sync_interval, without another call."""
    node, storage = opened
    node.publish("orders", b"x")
    storage.sync_gate.shut()

    clock.await_thread(SYNC, 0.025)
    clock.advance(0.025)
    clock.await_thread(SYNC, 0.175)
    clock.advance(0.175)

    storage.sync_gate.await_arrival()
    assert storage.sync_count >= 1


def test_idle_node_sleeps(opened: tuple[nsqlite.Node, GatedStorage], clock: AttendedClock) -> None:
    """When all is journaled, synced and settled nobody looks at the clock any more."""
    _node, storage = opened
    clock.await_thread(SYNC, 0.025)
    clock.advance(0.025)
    clock.await_thread(SETTLE, 1.0)
    clock.advance(2.0)
    clock.await_idle(SYNC, SETTLE)
    before = storage.sync_count, storage.journal.lsn

    clock.advance(3600)

    clock.await_idle(SYNC, SETTLE)
    assert (storage.sync_count, storage.journal.lsn) == before


def test_node_serves_while_a_settlement_is_written(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """Publishing, receiving and finishing do not wait for LMDB; what happened meanwhile is in the next one."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b"])
    storage.settle_gate.shut()
    settling = Caller(node.engine.background.settle_now)
    storage.settle_gate.await_arrival()

    channel.receive(timeout=0).finish()
    node.publish("orders", b"c")
    node.topic("orders").delete_channel("other")
    counted = channel.depth
    storage.settle_gate.open()
    settling.outcome()

    assert counted == 2
    node.engine.background.settle_now()
    assert [m.body for m in channel.receive_many(9, timeout=0)] == [b"b", b"c"]
    node.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.topic("orders").channel("billing").empty(),
        lambda node: node.topic("orders").delete_channel("billing"),
        lambda node: node.delete_topic("orders"),
    ],
    ids=["empty", "delete channel", "delete topic"],
)
def test_what_goes_during_a_settlement_stays_gone(
    opened: tuple[nsqlite.Node, GatedStorage], tmp_path: Path, change: Callable[[nsqlite.Node], None]
) -> None:
    """A run that is emptied or deleted while it is being written does not come back."""
    node, storage = opened
    node.publish_many("orders", [b"x"] * 10)
    storage.settle_gate.shut()
    settling = Caller(node.engine.background.settle_now)
    storage.settle_gate.await_arrival()

    change(node)
    node.topic("orders").channel("billing")
    node.publish("orders", b"new")
    storage.settle_gate.open()
    settling.outcome()
    node.close()

    with nsqlite.open(tmp_path / "store") as again:
        channel = again.topic("orders").channel("billing")
        assert [m.body for m in channel.receive_many(99, timeout=0)] == [b"new"]
        again.check()


def test_sync_waits_for_finishes_too(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """node.sync() journals what waits and syncs it before it returns."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    channel.receive(timeout=0).finish()
    lsn = storage.journal.lsn
    storage.sync_gate.shut()
    syncing = Caller(node.sync)
    storage.sync_gate.await_arrival()

    storage.sync_gate.open()
    syncing.outcome()

    assert storage.journal.lsn == lsn + 1
    assert not any(segment.is_dirty for segment in storage.journal.used)


def test_failed_sync_of_what_was_answered_is_made_good(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """When the journal cannot be synced, a settlement keeps what was answered, and sync() returns."""
    node, storage = opened
    node.publish("orders", b"x")
    epoch = storage.journal.epoch
    storage.failing_syncs = 1

    node.sync()

    assert storage.journal.epoch == epoch + 1
    assert node.health == "OK"
    node.publish("orders", b"y")
    assert node.topic("orders").channel("billing").depth == 2


def test_failed_sync_without_a_settlement_is_told(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """When that fails as well, sync() says that the outcome is unknown."""
    node, storage = opened
    node.publish("orders", b"x")
    storage.failing_syncs, storage.failing_settlements = 1, 1

    for _ in range(2):
        with pytest.raises(StorageFailedError) as caught:
            node.sync()

    assert caught.value.outcome_unknown or node.health.startswith("NOK")


def test_failed_settlement_is_told_and_tried_again(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """Health says what failed until a later one succeeds; nothing that was to be written is left out."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"a", b"b"])
    channel.receive(timeout=0).requeue(delay=100)
    storage.failing_settlements = 1

    with pytest.raises(StoreFullError):
        node.engine.background.settle_now()
    told = node.health
    node.engine.background.settle_now()

    assert "no space left" in told
    assert node.health == "OK"
    node.check()
    [topic] = storage.lmdb.load().topics.values()
    [kept] = topic.channels.values()
    assert [packed >> 80 > 0 for packed in kept.exceptions] == [True]


def test_publisher_waits_for_a_settlement_that_makes_room(tmp_path: Path) -> None:
    """A full journal is no error while a settlement makes headway."""
    node, storage = open_gated(tmp_path / "store", AttendedClock(), "commit", max_journal_bytes=4 * MIB)
    topic = node.topic("orders")

    ids = [topic.publish(b"x" * 100_000) for _ in range(100)]

    assert len(set(ids)) == 100
    assert topic.depth == 100
    assert storage.journal.held_bytes <= 4 * MIB
    node.close()


def test_publisher_gives_up_after_full_timeout(tmp_path: Path) -> None:
    """When no settlement comes to an end in time, StoreFullError; and the store works again later."""
    clock = AttendedClock()
    node, storage = open_gated(tmp_path / "store", clock, "commit", max_journal_bytes=4 * MIB, full_timeout=5.0)
    topic = node.topic("orders")
    storage.settle_gate.shut()

    def publish_on() -> None:
        for _ in range(1000):
            topic.publish(b"x" * 100_000)

    publisher = Caller(publish_on)
    clock.await_sleeper()
    storage.settle_gate.await_arrival()
    clock.advance(5)

    with pytest.raises(StoreFullError, match="nothing was published"):
        publisher.outcome()
    storage.settle_gate.open()
    topic.publish(b"again")
    node.close()


def test_receiving_never_waits_for_room(tmp_path: Path) -> None:
    """With a full store and a settlement that hangs, consumers go on."""
    node, storage = open_gated(
        tmp_path / "store", AttendedClock(), "commit", max_journal_bytes=4 * MIB, full_timeout=0.0
    )
    channel = node.topic("orders").channel("billing")
    storage.settle_gate.shut()
    published, _ = fill(lambda _: node.publish("orders", b"x" * 10_000))

    for message in channel.receive_many(published, timeout=0):
        message.touch()
        message.finish()

    storage.settle_gate.open()
    node.publish("orders", b"again")
    node.close()
    assert published > 100


def test_threads_are_named_daemons_and_end_with_the_node(tmp_path: Path) -> None:
    """On disk two, in memory none, and none that could keep the interpreter."""
    with nsqlite.open() as memory:
        assert memory.engine.background is None
    with nsqlite.open(tmp_path / "store") as node:
        threads = node.engine.background._threads
        assert sorted(thread.name for thread in threads) == ["nsqlite-settle", "nsqlite-sync"]
        assert all(thread.daemon and thread.is_alive() for thread in threads)

    assert not any(thread.is_alive() for thread in threads)


class _NotingGuard:
    """A lock that notes which threads took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.takers: list[str] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self.takers.append(threading.current_thread().name)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_settling_takes_segments_out_of_use_between_syncs(tmp_path: Path) -> None:
    """A segment is not used again while a sync may still be writing it."""
    with nsqlite.open(tmp_path / "store", durability="commit", clock=AttendedClock()) as node:
        guard = _NotingGuard()
        node.engine.storage.journal.sync_guard = guard
        node.publish("orders", b"one")

        node.engine.background.settle_now()

        assert SETTLE in guard.takers
