import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nsqlite
from nsqlite.clock import VirtualClock
from nsqlite.storage.on_lmdb import LmdbStore
from nsqlite.storage.reading import ChannelSummary, TopicSummary, reading, summarise
from tests.storage.stores import COUNT, closed_store, contents, fill, flip_in_body, killed_store

NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="module", params=["closed", "killed", "half-settled"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One story, left on disk in three ways."""
    path = tmp_path_factory.mktemp("stores")
    clock = VirtualClock(wall_ns=NOW_NS)
    with nsqlite.open(path / "origin", durability="commit", clock=clock) as node:
        fill(node)
        if request.param == "half-settled":
            node.engine.background.settle_now()
        node.topic("orders").publish(b"one more")
        node.sync()
        if request.param != "closed":
            shutil.copytree(path / "origin", path / "store")
    return path / ("origin" if request.param == "closed" else "store")


def test_summary_counts_what_an_opening_would_find(store: Path) -> None:
    """Depths are those of the next opening, wherever the messages lie: what was in flight waits."""
    orders = (
        ChannelSummary("billing", COUNT + 1 - 8, 1, False, 2.0),
        ChannelSummary("mail", COUNT + 1, 0, True, 2.0),
    )

    summary = summarise(str(store), NOW_NS + 2_000_000_000)

    assert summary.topics == (
        TopicSummary("lonely", 3, False, ()),
        TopicSummary("orders", 0, False, orders),
    )
    with nsqlite.open(shutil.copytree(store, f"{store}-opened"), clock=VirtualClock(wall_ns=NOW_NS)) as node:
        counted = [(each.channel_name, each.depth) for each in node.stats().topics[1].channels]
    shutil.rmtree(f"{store}-opened")
    assert counted == [(each.channel_name, each.depth) for each in orders]


def test_summary_counts_what_is_due_as_waiting(store: Path) -> None:
    """A deferred message whose time has come waits."""
    billing = summarise(str(store), NOW_NS + 2_000_000_000_000).topics[1].channels[0]

    assert (billing.depth, billing.deferred_count) == (COUNT + 1 - 7, 0)


def test_summary_writes_nothing(store: Path) -> None:
    """No file changes, and none is made."""
    before = contents(store)

    summarise(str(store), NOW_NS)

    assert contents(store) == before


def test_summary_knows_the_store(store: Path) -> None:
    """Ids, sizes and what is not settled are there."""
    summary = summarise(str(store), NOW_NS)

    assert summary.path == str(store)
    assert (len(summary.store_id), summary.format_version, summary.epoch) == (32, 1, 1)
    assert summary.lmdb_bytes == (store / "lmdb" / "data.mdb").stat().st_size >= summary.lmdb_used_bytes > 0
    assert (summary.journal_bytes == 0) == (summary.record_count == 0)


def test_damaged_row_has_no_age(tmp_path: Path) -> None:
    """Counting goes on where a body cannot be read."""
    flip_in_body(closed_store(tmp_path / "store"), 0)

    channels = summarise(str(tmp_path / "store"), NOW_NS).topics[1].channels

    assert [each.oldest_waiting_seconds for each in channels] == [0.0, 0.0]
    assert channels[1].depth == COUNT


def test_new_store_is_empty(tmp_path: Path) -> None:
    """A store that was made and never used has no topics."""
    nsqlite.open(tmp_path / "store").close()

    assert summarise(str(tmp_path / "store"), NOW_NS).topics == ()


def test_unfinished_new_store_is_empty(tmp_path: Path) -> None:
    """A store whose maker was killed before its first settlement is read as empty."""
    (tmp_path / "lmdb").mkdir()
    LmdbStore(str(tmp_path / "lmdb"), str(tmp_path)).close()

    summary = summarise(str(tmp_path), NOW_NS)

    assert (summary.topics, summary.store_id, summary.record_count) == ((), "", 0)


@pytest.mark.parametrize(
    "name, why",
    [
        ("missing", "there is nothing at this path"),
        ("file", "it is no folder"),
        ("folder", "it has no lmdb/data.mdb"),
    ],
)
def test_what_is_no_store_is_refused(tmp_path: Path, name: str, why: str) -> None:
    """A path that is missing or something else is refused, and nothing is made there."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)

    with pytest.raises(nsqlite.StorePathError, match=why):
        summarise(str(tmp_path / name), NOW_NS)

    assert contents(tmp_path) == before


READ_TOO = """
import sys
from nsqlite.storage.place import Claim
Claim(sys.argv[1], is_shared=True)
"""


def test_two_may_read_at_once(tmp_path: Path) -> None:
    """Readers in two processes do not shut each other out."""
    path = closed_store(tmp_path / "store")

    with reading(str(path)):
        other = subprocess.run([sys.executable, "-c", READ_TOO, path], capture_output=True, text=True, check=True)

    assert other.returncode == 0


def test_reader_is_named_to_who_wants_to_open(tmp_path: Path) -> None:
    """An opener learns the pid of the reader it waits for, not of the store's last owner."""
    path = closed_store(tmp_path / "store")
    (path / "owner").write_text("1\n")
    script = "import nsqlite, sys\ntry: nsqlite.open(sys.argv[1])\nexcept nsqlite.StoreLockedError as e: print(e.pid)"

    with reading(str(path)):
        other = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)

    assert other.stdout == f"{os.getpid()}\n"


def test_truncated_store_is_refused(tmp_path: Path) -> None:
    """A file cut short is a typed error, not the end of the process."""
    path = killed_store(tmp_path / "store")
    os.truncate(path / "lmdb" / "data.mdb", 2 * 4096)

    with pytest.raises(nsqlite.StoreDamagedError, match="it was truncated"):
        summarise(str(path), NOW_NS)
