"""What is owed, in LMDB: opened safely or refused, read back whole or named as damage."""

from pathlib import Path

import lmdb
import pytest

from nsqlite.errors import StorageFailedError, StoreDamagedError, StoreFullError, StoreVersionError
from nsqlite.run import Run
from nsqlite.state import NodeState, TopicState
from nsqlite.storage import layout
from nsqlite.storage.interface import Damage
from nsqlite.storage.on_lmdb import LmdbStore, Meta, _opening_error, _writing_error
from tests.fakes.cores import make_run

META = Meta(b"0123456789abcdef", 3, 5)


@pytest.fixture
def store(tmp_path: Path) -> LmdbStore:
    """An empty environment."""
    (tmp_path / "lmdb").mkdir()
    made = LmdbStore(str(tmp_path / "lmdb"), str(tmp_path))
    yield made
    made.close()


def make_state(*runs: Run) -> NodeState:
    """A topic in which these runs wait."""
    end = runs[-1].first_seq + runs[-1].count if runs else 0
    return NodeState(settled=9, last_id=77, next_number=4, topics={1: TopicState(1, "orders", end, 0, runs=list(runs))})


def big_runs(count: int) -> list[Run]:
    """Runs that each get a row of their own."""
    return [make_run(seq, [b"%d" % seq + b"x" * 70_000]) for seq in range(count)]


def damage(store: LmdbStore, seq: int) -> None:
    """Flip a bit in the middle of a row, as a disk might."""
    key = layout.LOG_KEY.pack(1, seq)
    with store._env.begin(write=True) as txn:
        value = bytearray(txn.get(key, db=store._dbs[b"log"]))
        value[len(value) // 2] ^= 1
        txn.put(key, bytes(value), db=store._dbs[b"log"])


def test_new_store_knows_nothing_of_itself(store: LmdbStore) -> None:
    """Before the first settlement there is no meta, and the state is empty."""
    assert store.read_meta() is None
    assert store.load() == NodeState()


def test_meta_is_read_back(store: LmdbStore) -> None:
    """Store id, epoch and node id are part of every settlement."""
    store.settle(NodeState(), make_state(), META)

    assert store.read_meta() == META
    loaded = store.load()
    assert (loaded.settled, loaded.last_id, loaded.next_number) == (9, 77, 4)


def test_newer_format_is_refused(store: LmdbStore) -> None:
    """A store of a later format is not touched; the error names both."""
    store.settle(NodeState(), make_state(), META)
    with store._env.begin(write=True) as txn:
        txn.put(b"format", (layout.FORMAT_VERSION + 1).to_bytes(8, "little"), db=store._dbs[b"meta"])

    with pytest.raises(StoreVersionError, match="install a newer nsqlite") as caught:
        store.read_meta()

    assert (caught.value.found, caught.value.known) == (layout.FORMAT_VERSION + 1, layout.FORMAT_VERSION)


def test_truncated_file_is_refused_before_it_is_read(store: LmdbStore, tmp_path: Path) -> None:
    """A file shorter than LMDB thinks is damage, not a SIGBUS."""
    store.settle(NodeState(), make_state(*big_runs(5)), META)
    store.close()
    file = tmp_path / "lmdb" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(StoreDamagedError, match="truncated"):
        LmdbStore(str(tmp_path / "lmdb"), str(tmp_path))

    file.write_bytes(whole)
    store._open()
    assert store.load().topics[1].end == 5


@pytest.mark.parametrize("content", [b"not lmdb" * 2000, b"x"])
def test_file_that_is_no_environment_is_refused(tmp_path: Path, content: bytes) -> None:
    """Something else by the name of data.mdb raises, and stays."""
    (tmp_path / "data.mdb").write_bytes(content)

    with pytest.raises((StoreDamagedError, StorageFailedError)):
        LmdbStore(str(tmp_path), str(tmp_path))

    assert (tmp_path / "data.mdb").read_bytes() == content


def test_reader_of_a_new_store_makes_nothing(store: LmdbStore, tmp_path: Path) -> None:
    """A reader finds nothing in a store where nothing was settled, and leaves it as it was."""
    store.close()
    before = (tmp_path / "lmdb" / "data.mdb").read_bytes()

    reader = LmdbStore(str(tmp_path / "lmdb"), str(tmp_path), is_read_only=True)

    assert reader.read_meta() is None
    assert reader.load() == NodeState()
    reader.close()
    assert (tmp_path / "lmdb" / "data.mdb").read_bytes() == before


def test_environment_with_a_table_missing_is_refused(tmp_path: Path) -> None:
    """A store that lost a table is damaged, not new."""
    with lmdb.open(str(tmp_path), max_dbs=6) as env:
        env.open_db(b"meta")

    with pytest.raises(StoreDamagedError, match="a table is missing"):
        LmdbStore(str(tmp_path), str(tmp_path))


def test_damaged_row_is_named_up_to_the_next(store: LmdbStore) -> None:
    """A flipped bit in a row costs that row, which is told with both ends; its neighbours are read."""
    store.settle(NodeState(), make_state(*big_runs(3)), META)

    damage(store, 1)

    assert store.read(1, 1) == Damage(1, 2)
    for seq in (0, 2):
        [run] = store.read(1, seq)
        assert run.frame(0)[34:].startswith(b"%dx" % seq)


def test_damage_in_the_last_row_has_no_known_end(store: LmdbStore) -> None:
    """Behind the last row nothing says how far it reached."""
    store.settle(NodeState(), make_state(*big_runs(2)), META)

    damage(store, 1)

    assert store.read(1, 1) == Damage(1, -1)


def test_missing_row_is_damage_up_to_the_next(store: LmdbStore) -> None:
    """A seq that no row covers reaches to the row behind it."""
    store.settle(NodeState(), make_state(*big_runs(3)), META)
    with store._env.begin(write=True) as txn:
        txn.delete(layout.LOG_KEY.pack(1, 1), db=store._dbs[b"log"])

    assert store.read(1, 1) == Damage(1, 2)


def test_settlement_that_fails_leaves_the_tables(store: LmdbStore) -> None:
    """All or nothing: an error half-way changes nothing."""
    first = make_state(*big_runs(2))
    store.settle(NodeState(), first, META)
    broken = make_state(make_run(2, [b"ok"]))
    broken.topics[2] = TopicState(2, "x" * 20, 2**65, 0)  # more than a row can hold

    with pytest.raises(Exception, match="argument"):
        store.settle(first, broken, META)

    assert store.load().topics.keys() == {1}
    assert store.read(1, 2) == Damage(2, -1)


def test_reopened_environment_writes_all_again(store: LmdbStore) -> None:
    """After reopening nothing is taken for written that was not."""
    first = make_state(make_run(0, [b"a"]))
    store.settle(NodeState(), first, META)

    store.reopen()
    store.settle(first, NodeState(settled=11), META)

    assert store.load() == NodeState(settled=11)


def test_copy_is_consistent_and_opens(store: LmdbStore, tmp_path: Path) -> None:
    """A compact copy has what was settled."""
    store.settle(NodeState(), make_state(*big_runs(3)), META)
    (tmp_path / "copy").mkdir()

    store.copy(str(tmp_path / "copy"), is_compact=True)

    copy = LmdbStore(str(tmp_path / "copy"), str(tmp_path))
    assert copy.read_meta() == META
    assert copy.load().topics[1].end == 3
    copy.close()


def test_file_does_not_grow_at_constant_depth(store: LmdbStore) -> None:
    """Publishing and finishing for ever reuses the pages of what went."""
    before, sizes = NodeState(), []
    for at in range(30):
        run = make_run(at, [b"x" * 100_000])
        state = make_state(run)
        state.topics[1].routed = at
        store.settle(before, state, META)
        state.topics[1].runs = ()
        before = state
        sizes.append(store.file_bytes)

    assert sizes[-1] <= 1.3 * sizes[9]
    assert store.used_bytes() < sizes[-1]


@pytest.mark.parametrize(
    "error, kind",
    [
        (lmdb.CorruptedError("x"), StoreDamagedError),
        (lmdb.InvalidError("x"), StoreDamagedError),
        (lmdb.VersionMismatchError("x"), StoreDamagedError),
        (lmdb.ReadersFullError("x"), StorageFailedError),
    ],
)
def test_opening_errors_are_told_apart(error: lmdb.Error, kind: type[Exception]) -> None:
    """What is damaged is told from what may work another time."""
    assert isinstance(_opening_error("store", error), kind)


@pytest.mark.parametrize(
    "error, kind",
    [
        (lmdb.DiskError("No space left on device"), StoreFullError),
        (lmdb.Error("mdb_txn_commit: No space left on device"), StoreFullError),
        (lmdb.Error("mdb_txn_commit: Input/output error"), StorageFailedError),
    ],
)
def test_writing_errors_are_told_apart(error: lmdb.Error, kind: type[Exception]) -> None:
    """A full disk is told from a broken one."""
    assert isinstance(_writing_error(error), kind)
