"""Progress is journaled with the next promise, or soon alone; promises are journaled before they count."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.options import MIB
from nsqlite.storage import layout
from nsqlite.storage.journal import find_segments, read_records
from tests.fakes.clock import AttendedClock
from tests.fakes.filling import fill
from tests.fakes.gated import GatedStorage, open_gated

PUBLISHES = (layout.PUBLISHED, layout.ROUTED)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[nsqlite.Node, GatedStorage]]:
    """A node at "commit" whose time stands still, so that no background work is done."""
    node, storage = open_gated(tmp_path / "store", AttendedClock(), "commit")
    yield node, storage
    node.close()


def journaled(storage: GatedStorage) -> list[tuple]:
    """All entries in the journal's files, as a kill would leave them."""
    meta = storage._meta
    found, _ = find_segments(storage._journal_folder, meta.store_id, meta.epoch, storage.path)
    return [
        entry
        for _, payload in read_records(found, meta.epoch, storage._settled.settled)
        for entry in layout.unpack_entries(payload)
    ]


def test_promise_is_journaled_when_it_returns(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """A kill right after the call finds it."""
    node, storage = opened

    node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    node.publish_many("orders", [b"y", b"z"])

    kinds = [entry[0] for entry in journaled(storage)]
    assert kinds == [layout.TOPIC_MADE, layout.CHANNEL_MADE, layout.ROUTED, layout.ROUTED]


def test_hand_out_is_journaled_before_the_caller_gets_it(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """A handler that kills its process counts as an attempt, and the finishes before it are kept."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish_many("orders", [b"x", b"y"])

    channel.receive(timeout=0).finish()
    assert journaled(storage)[-1][0] == 16
    channel.receive(timeout=0)

    assert [entry[0] for entry in journaled(storage)[-2:]] == [18, 16]


def test_finish_goes_ahead_of_the_next_promise(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """Progress that waits is in the same record, before the promise."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    channel.receive(timeout=0).finish()

    node.publish("orders", b"y")

    kinds = [entry[0] for entry in journaled(storage)]
    assert kinds[-2] == 18
    assert kinds[-1] in PUBLISHES


def test_flushed_progress_is_journaled_alone(opened: tuple[nsqlite.Node, GatedStorage]) -> None:
    """Without another call the finish goes alone; with nothing to tell nothing is written."""
    node, storage = opened
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"x")
    channel.receive(timeout=0).finish()

    with node.engine.lock:
        node.engine.flush_progress()
        lsn = storage.journal.lsn
        node.engine.flush_progress()

    assert journaled(storage)[-1][:2] == (18, channel._core.number)
    assert storage.journal.lsn == lsn


def test_progress_without_room_waits_for_a_settlement(tmp_path: Path) -> None:
    """Receiving and finishing never wait for journal room; the next settlement writes what memory has."""
    clock = AttendedClock()
    options = {"max_journal_bytes": 4 * MIB, "full_timeout": 0.0}
    node, storage = open_gated(tmp_path / "store", clock, "commit", **options)
    channel = node.topic("orders").channel("billing")
    storage.settle_gate.shut()
    published, _ = fill(lambda _: node.publish("orders", b"x" * 10_000))
    room = storage.journal.used[-1]
    room.position = room.size_bytes  # not even a finish fits any more

    while messages := channel.receive_many(1000, timeout=0):
        channel.finish_many(messages)
    with node.engine.lock:
        node.engine.flush_progress()

    assert node.engine.is_progress_ahead
    assert (channel.depth, channel.in_flight_count) == (0, 0)
    storage.settle_gate.open()
    node.engine.background.settle_now()
    assert not node.engine.is_progress_ahead
    node.publish("orders", b"again")
    node.close()
    assert published > 300
    with nsqlite.open(tmp_path / "store", clock=clock) as again:
        assert again.topic("orders").channel("billing").depth == 1


def test_memory_journals_nothing_and_settles_by_itself() -> None:
    """In memory a settlement is a tidying: rows that nobody is owed go."""
    with nsqlite.open(clock=AttendedClock()) as node:
        channel = node.topic("orders").channel("billing")
        for _ in range(30):
            node.publish_many("orders", [b"x" * 1000] * 100)
            while messages := channel.receive_many(100, timeout=0):
                channel.finish_many(messages)

        assert node.engine.storage.store_bytes < 2 * MIB
        node.check()


def test_memory_settles_no_topic_that_has_no_message() -> None:
    """A settlement in memory costs what the topics with messages cost, however many others there are."""
    with nsqlite.open(clock=AttendedClock()) as node:
        for number in range(20):
            node.topic(f"idle{number}").channel("nobody")
        channel = node.topic("orders").channel("billing")
        node.publish_many("orders", [b"x" * 1000] * 2000)

        assert [topic.name for topic in node.engine.storage._settled.topics.values()] == ["orders"]
        while messages := channel.receive_many(100, timeout=0):
            channel.finish_many(messages)
        node.engine._ask_settlement()
        assert node.engine.storage.store_bytes == 0
        node.engine._ask_settlement()
        assert node.engine.storage._settled.topics == {}
        node.check()
