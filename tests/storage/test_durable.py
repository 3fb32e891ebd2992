"""The durable storage holds to the contract, opened as every level would open it."""

import os
import shutil
from pathlib import Path

import pytest

from nsqlite.errors import StoreDamagedError, StoreError, StoreLockedError
from nsqlite.options import MIB, Options
from nsqlite.state import NodeState
from nsqlite.storage import layout
from nsqlite.storage.durable import RESERVE_BYTES, DurableStorage, copy_state, replayed
from tests.fakes.cores import make_run
from tests.fakes.filling import fill
from tests.storage.contract import *  # noqa: F403  # the contract's tests run here
from tests.storage.contract import CHANNEL, TOPIC, Opening, made_topic, make_state, published

WAYS = {
    "commit-mapped": {"durability": "commit", "journal_writes": "mapped"},
    "commit-pwrite": {"durability": "commit", "journal_writes": "pwrite"},
    "fsync-pwrite": {"durability": "fsync", "journal_writes": "pwrite"},
}


@pytest.fixture(params=WAYS)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Open the store of this test, and begin an epoch as a node does."""
    opened: list[DurableStorage] = []

    def open_storage(**fields: object) -> tuple[DurableStorage, NodeState]:
        options = Options(**WAYS[request.param] | fields)
        storage = DurableStorage(str(tmp_path / "store"), options, is_synced=options.durability == "fsync")
        opened.append(storage)
        begun = storage.recover()
        state = copy_state(begun)  # the exceptions go with the copy
        storage.restart(begun)
        return storage, state

    yield open_storage
    for storage in opened:
        storage._give_up()


def test_new_store_is_small(opening: Opening, tmp_path: Path) -> None:
    """An empty store takes under 5 MiB of disk."""
    storage, _ = opening()

    taken = sum(file.stat().st_blocks * 512 for file in (tmp_path / "store").rglob("*") if file.is_file())

    assert taken < 5 * MIB
    assert storage.store_bytes < 5 * MIB


def test_settled_close_leaves_no_journal(opening: Opening, tmp_path: Path) -> None:
    """A cleanly closed store has an empty journal, and one that was not settled keeps it."""
    storage, _ = opening()
    storage.append(made_topic())
    storage.close()
    kept = os.listdir(tmp_path / "store" / "journal")
    storage, state = opening()

    storage.settle(make_state([], 0))
    storage.close(is_settled=True)

    assert kept
    assert state.topics
    assert os.listdir(tmp_path / "store" / "journal") == []


def test_epoch_rises_with_each_opening(opening: Opening) -> None:
    """Every opening begins a new epoch, so that no record of an older one counts."""
    epochs = []
    for _ in range(3):
        storage, _ = opening()
        epochs.append(storage.journal.epoch)
        storage.close()

    assert epochs == [1, 2, 3]


def test_restart_makes_the_old_journal_void(opening: Opening, tmp_path: Path) -> None:
    """After a restart nothing that was only in the old journal comes back."""
    storage, _ = opening()
    storage.append(made_topic())
    shutil.copytree(tmp_path / "store" / "journal", tmp_path / "old")

    storage.restart(NodeState(settled=1, next_number=9))
    storage.close()
    for file in (tmp_path / "old").iterdir():
        shutil.copy(file, tmp_path / "store" / "journal" / ("0" + file.name))
    _, state = opening()

    assert state.topics == {}
    assert state.next_number == 9


def test_journal_of_another_store_is_refused(opening: Opening, tmp_path: Path) -> None:
    """A foreign journal is never replayed: the store says it is damaged, and lets go of its lock."""
    storage, _ = opening()
    storage.append(made_topic())
    storage.close()
    segment = layout.pack_segment_head(b"another store id", 1, 1)
    (tmp_path / "store" / "journal" / "foreign.seg").write_bytes(segment + bytes(4096))

    for _ in range(2):
        with pytest.raises(StoreDamagedError, match="belongs to another store"):
            opening()


@pytest.mark.parametrize("payload", [b"\xee no such kind", b"\x02\x00", b"\x14", b"\x0a\x00"])
def test_record_that_makes_no_sense_is_damage(opening: Opening, payload: bytes) -> None:
    """A record that checks but cannot be understood stops the opening; nothing is guessed."""
    storage, _ = opening()
    storage.append([payload])
    storage.close()

    with pytest.raises(StoreDamagedError, match="journal record 1 cannot be understood"):
        opening()


def test_second_storage_on_a_path_is_refused(opening: Opening, tmp_path: Path) -> None:
    """One opener per store, in this process too."""
    opening()

    with pytest.raises(StoreLockedError) as caught:
        opening()

    assert caught.value.pid == os.getpid()


def test_limit_refuses_promises_and_takes_progress(opening: Opening) -> None:
    """max_store_bytes holds for promises; what makes room is always taken."""
    storage, _ = opening(max_store_bytes=4 * MIB)
    storage.append(made_topic())

    seq, error = fill(lambda seq: storage.append(published(make_run(seq, [b"x" * 100_000]))))

    assert "the store is full" in str(error)
    assert storage.store_bytes <= 4 * MIB
    assert error.needed_bytes > 100_000
    assert not storage.has_room(100_000)
    assert storage.append([layout.pack_progress([(18, CHANNEL, 0, seq)])], is_promise=False)


def test_full_journal_refuses_without_writing(opening: Opening) -> None:
    """Beyond max_journal_bytes an append raises, and the record before it is the last."""
    storage, _ = opening(max_journal_bytes=4 * MIB)
    storage.append(made_topic())
    appended, error = fill(lambda seq: storage.append(published(make_run(seq, [b"x" * 500_000]))))
    storage.close()

    _, state = opening()

    assert "no room in the journal" in str(error)
    assert state.topics[TOPIC].end == appended
    assert state.settled == appended + 1


def test_settled_segments_are_used_again(opening: Opening) -> None:
    """A load that settles as it goes does not make the journal grow."""
    storage, _ = opening()
    lsn, sizes = 0, set()
    for at in range(40):
        lsn = storage.append([b"x" * 200_000])
        if at % 4 == 3:
            storage.settle(NodeState(settled=lsn))
            for extra in storage.after_settling(lsn):
                extra.delete()
            sizes.add(storage.journal.held_bytes)
            storage.journal.check()

    assert max(sizes) <= 8 * MIB


def test_backup_is_a_store_of_its_own(opening: Opening, tmp_path: Path) -> None:
    """A copy opens by itself, with what was settled."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"a"])], 1))

    storage.backup(str(tmp_path / "copy"))

    copy = DurableStorage(str(tmp_path / "copy"), Options(), is_synced=False)
    try:
        assert copy.recover().topics[TOPIC].end == 1
        assert copy.read(TOPIC, 0)[0].frame(0)[34:] == b"a"
    finally:
        copy._give_up()


def test_backup_into_a_store_is_refused(opening: Opening, tmp_path: Path) -> None:
    """A backup never writes over a store; the one that is there stays."""
    storage, _ = opening()
    storage.backup(str(tmp_path / "copy"))
    before = (tmp_path / "copy" / "lmdb" / "data.mdb").read_bytes()

    with pytest.raises(StoreError, match="holds a store already"):
        storage.backup(str(tmp_path / "copy"))

    assert (tmp_path / "copy" / "lmdb" / "data.mdb").read_bytes() == before


def test_reserve_is_real_and_made_again(opening: Opening, tmp_path: Path) -> None:
    """The file that is given up for a full disk holds blocks, not holes, and comes back when there is room."""
    storage, _ = opening()
    reserve = tmp_path / "store" / "reserve"
    taken = reserve.stat().st_blocks * 512

    storage._spend_reserve()
    was_spent = not reserve.exists()
    storage.renew_reserve()

    assert was_spent
    assert taken >= RESERVE_BYTES
    assert reserve.stat().st_size == RESERVE_BYTES


def test_store_keeps_its_node_id(tmp_path: Path) -> None:
    """The node id a store was made with stands, unless another is given."""
    ids = []
    for given in (5, None, 6, None):
        storage = DurableStorage(str(tmp_path / "store"), Options(node_id=given), is_synced=False)
        ids.append(storage.node_id)
        storage.restart(storage.recover())
        storage.close()

    assert ids == [5, 5, 6, 6]


def test_copied_state_is_independent() -> None:
    """What replay changes does not show in what was settled."""
    settled = make_state([], 3, cursor=1)

    copied = copy_state(settled)
    copied.topics[TOPIC].stepped.add(1)
    copied.topics[TOPIC].channels[CHANNEL].in_flight.add(0)
    del copied.topics[TOPIC]

    assert not settled.topics[TOPIC].stepped
    assert not settled.topics[TOPIC].channels[CHANNEL].in_flight


def test_replay_writes_nothing(opening: Opening, tmp_path: Path) -> None:
    """Looking at a store with its journal leaves every byte as it was."""
    storage, _ = opening()
    storage.append(made_topic())
    meta = storage._meta
    storage.close()
    files = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.seg")}

    state = replayed(NodeState(), str(tmp_path / "store"), meta)

    assert list(state.topics) == [TOPIC]
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.seg")} == files
