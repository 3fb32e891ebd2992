import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nsqlite
from nsqlite.storage.check import audit
from nsqlite.storage.compacting import compact
from nsqlite.storage.reading import summarise
from tests.storage.stores import BODY, COUNT, closed_store, contents, flip_in_body, killed_store

NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture(params=[closed_store, killed_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store that was closed, and one that was killed."""
    path: Path = request.param(tmp_path / "store")
    return path


def bloated_store(path: Path) -> Path:
    """A store whose file once held a lot more than it does now."""
    with nsqlite.open(path, durability="commit") as node:
        channel = node.topic("orders").channel("billing")
        node.publish_many("orders", [b"." * 1000] * 5000)
        node.engine.background.settle_now()
        while messages := channel.receive_many(1000, timeout=0):
            channel.finish_many(messages)
        node.publish("orders", b"kept")
    return path


def test_compacting_gives_disk_back(tmp_path: Path) -> None:
    """Pages that nobody needs leave the file, and what is owed stays."""
    path = bloated_store(tmp_path / "store")

    done = compact(str(path))

    assert done.path == str(path)
    assert done.before_bytes > 5_000_000
    assert done.after_bytes < 1_500_000
    assert done.after_bytes == sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    with nsqlite.open(path) as node:
        assert node.topic("orders").channel("billing").receive(timeout=0).body == b"kept"


def test_compacting_changes_nothing_that_counts(store: Path) -> None:
    """Topics, channels, depths and due times are what they were; it is settled, and sound."""
    before = summarise(str(store), NOW_NS)

    compact(str(store))

    after = summarise(str(store), NOW_NS)
    assert after.topics == before.topics
    assert (after.store_id, after.node_id) == (before.store_id, before.node_id)
    assert (after.record_count, after.journal_bytes) == (0, 0)
    assert audit(str(store)).is_sound


def test_compacted_store_opens(store: Path) -> None:
    """All that was promised is delivered afterwards, with its attempts."""
    compact(str(store))

    with nsqlite.open(store) as node:
        messages = node.topic("orders").channel("billing").receive_many(10_000, timeout=0)
        messages += node.topic("orders").channel("billing").receive_many(10_000, timeout=0)
        assert {each.body for each in messages} <= {BODY % number for number in range(COUNT)}
        assert max(each.attempts for each in messages) == 2
        node.publish("orders", b"goes on")
    assert audit(str(store)).is_sound


def test_compacted_files_are_private(store: Path) -> None:
    """The new file is as private as the old one, and nothing lies beside it."""
    compact(str(store))

    assert (store / "lmdb" / "data.mdb").stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in store.iterdir()) == ["journal", "lmdb", "owner", "reserve"]


def test_damaged_row_stays_what_it_is(tmp_path: Path) -> None:
    """A damaged row is carried over, and still named."""
    path = closed_store(tmp_path / "store")
    flip_in_body(path, 599)
    before = audit(str(path)).faults

    compact(str(path))

    assert audit(str(path)).faults == before != []


def test_store_in_use_is_not_compacted(tmp_path: Path) -> None:
    """A store that is open is refused, and left as it is."""
    with nsqlite.open(tmp_path / "store") as node:
        node.publish("orders", b"x")
        before = contents(tmp_path / "store")

        with pytest.raises(nsqlite.StoreLockedError) as refused:
            compact(str(tmp_path / "store"))

        assert refused.value.pid == os.getpid()
        assert contents(tmp_path / "store") == before


def test_what_is_no_store_is_not_made_one(tmp_path: Path) -> None:
    """Compacting a path with nothing there makes nothing there."""
    with pytest.raises(nsqlite.StorePathError):
        compact(str(tmp_path / "missing"))

    assert list(tmp_path.iterdir()) == []


def test_failed_copy_leaves_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for the copy, the store holds what it held and is free again."""
    path = closed_store(tmp_path / "store")
    before = summarise(str(path), NOW_NS).topics

    def full(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("compacting/data.mdb"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(nsqlite.StoreFullError):
        compact(str(path))
    monkeypatch.undo()

    assert summarise(str(path), NOW_NS).topics == before
    assert not (path / "compacting").exists()


def test_opening_removes_what_a_compaction_left(tmp_path: Path) -> None:
    """The rest of one that was broken off goes with the next opening."""
    path = closed_store(tmp_path / "store")
    (path / "compacting").mkdir()
    (path / "compacting" / "data.mdb").write_bytes(b"half a copy")

    nsqlite.open(path).close()

    assert not (path / "compacting").exists()


def test_refused_opening_removes_nothing(tmp_path: Path) -> None:
    """Who is refused because a compaction runs leaves its copy alone."""
    with nsqlite.open(tmp_path / "store"):
        (tmp_path / "store" / "compacting").mkdir()
        with pytest.raises(nsqlite.StoreLockedError):
            nsqlite.open(tmp_path / "store")

        assert (tmp_path / "store" / "compacting").exists()


# Kills itself ahead of the n-th line that compacting runs, for every n: one child each.
DIE_AT_EVERY_LINE = """
import os, shutil, sys
from nsqlite.storage import compacting
from nsqlite.storage.check import audit
from nsqlite.storage.reading import summarise

origin, work = sys.argv[1:]
wanted = summarise(origin, 1_700_000_000_000_000_000).topics

def dying_at(line):
    seen = 0
    def local(frame, event, argument):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                os._exit(9)
        return local
    return lambda frame, event, argument: local if frame.f_code.co_filename == compacting.__file__ else None

line = 0
while True:
    line += 1
    shutil.copytree(origin, work)
    child = os.fork()
    if child == 0:
        sys.settrace(dying_at(line))
        compacting.compact(work)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    found = audit(work)
    assert found.is_sound, (line, found.faults)
    assert summarise(work, 1_700_000_000_000_000_000).topics == wanted, line
    compacting.compact(work)
    assert sorted(os.listdir(work)) == ["journal", "lmdb", "owner", "reserve"]
    assert summarise(work, 1_700_000_000_000_000_000).topics == wanted, line
    shutil.rmtree(work)
    if status == 0:
        break
print(line)
"""


@pytest.mark.parametrize("make", [closed_store, killed_store])
def test_compaction_may_be_killed_anywhere(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Killed ahead of any of its lines, it leaves a store that is sound, opens, and holds the same."""
    origin = make(tmp_path / "store")

    done = subprocess.run(
        [sys.executable, "-c", DIE_AT_EVERY_LINE, origin, tmp_path / "work"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert int(done.stdout) > 25
