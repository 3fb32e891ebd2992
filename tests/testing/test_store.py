"""A store in memory that outlives a crash: it keeps records, and replays them as from a disk."""

import pytest

import nsqlite
from nsqlite.engine import Engine
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.options import Options
from nsqlite.testing.clock import Clock
from nsqlite.testing.store import RecordedStorage


def opened(storage: RecordedStorage) -> nsqlite.Node:
    """A node on it."""
    return nsqlite.Node(Engine(storage, Options(), Clock(), is_synced=False))


def test_what_was_recorded_is_there_again() -> None:
    """Messages, topics, channels, pauses and attempts, with the numbers they had."""
    storage = RecordedStorage(1)
    node = opened(storage)
    channel = node.topic("orders").channel("billing")
    ids = node.publish_many("orders", [b"0", b"1", b"2"])
    message = channel.receive(timeout=0)
    assert message is not None
    message.requeue(delay=10)
    node.topic("orders").channel("paused").pause()
    node.sync()

    again = opened(storage)
    left = again.topic("orders").channel("billing").receive_many(10, timeout=0)

    assert again.topics == ["orders"]
    assert again.topic("orders").channels == ["billing", "paused"]
    assert again.topic("orders").channel("paused").is_paused
    assert [each.id for each in left] == ids[1:]
    assert again.topic("orders").channel("billing").deferred_count == 1
    again.check()


def test_recovering_twice_finds_the_same() -> None:
    """Records are read, not used up."""
    storage = RecordedStorage(1)
    node = opened(storage)
    node.topic("orders").channel("billing")
    node.publish("orders", b"x")

    depths = [opened(storage).topic("orders").channel("billing").depth for _ in range(3)]

    assert depths == [1, 1, 1]


def test_it_keeps_all_when_closed() -> None:
    """Closing is not a crash, and leaves no less."""
    storage = RecordedStorage(1)
    with opened(storage) as node:
        node.publish("orders", b"x")

    assert opened(storage).topic("orders").depth == 1


def test_settled_messages_are_still_recorded() -> None:
    """What has left memory for the rows comes back from the records."""
    storage = RecordedStorage(1)
    node = opened(storage)
    node.topic("orders").channel("billing")
    node.publish_many("orders", [b"x" * 1000] * 50)
    node.engine._ask_settlement()

    channel = opened(storage).topic("orders").channel("billing")

    assert (channel.depth, len(channel.receive_many(100, timeout=0))) == (50, 50)


def test_full_disk_refuses_promises_and_takes_progress() -> None:
    """As a disk whose journal has room for what is forgotten anyway."""
    storage = RecordedStorage(1)
    node = opened(storage)
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"one")

    storage.is_full = True
    with pytest.raises(StoreFullError, match="the test has filled the disk"):
        node.publish("orders", b"two")
    message = channel.receive(timeout=0)
    assert message is not None
    message.finish()
    storage.is_full = False
    node.publish("orders", b"three")

    left = opened(storage).topic("orders").channel("billing").receive_many(10, timeout=0)
    assert [each.body for each in left] == [b"three"]


def test_broken_disk_fails_so_many_promises() -> None:
    """Each raises, and did not happen; then all is well."""
    storage = RecordedStorage(1)
    node = opened(storage)
    node.topic("orders").channel("billing")

    storage.failures = 2
    for _ in range(2):
        with pytest.raises(StorageFailedError, match="the test has broken the disk") as caught:
            node.publish("orders", b"lost")
        assert not caught.value.outcome_unknown
    node.publish("orders", b"kept")

    assert storage.failures == 0
    assert opened(storage).topic("orders").channel("billing").depth == 1


def test_store_bytes_are_those_of_the_records() -> None:
    """They grow with what is recorded, and only then."""
    storage = RecordedStorage(1)
    node = opened(storage)
    node.topic("orders").channel("billing")
    before = storage.store_bytes

    node.publish("orders", b"x" * 1000)

    assert before + 1000 < storage.store_bytes < before + 1200
