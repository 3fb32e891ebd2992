"""A store in nsqd's data path."""

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import nsqlite
from nsqlite.daemon.data_path import LockFailedError, make_room, opened_node
from nsqlite.errors import ImportRefusedError, StoreDamagedError, StorePathError
from nsqlite.options import Options
from nsqlite.storage.check import audit
from tests.daemon.daemons import ROOT
from tests.fakes.nsqd_files import record, write_nsqd_dat, write_queue

DURABLE = Options(durability="commit")
MEMORY = Options(durability="memory")


def test_store_is_in_the_data_path(tmp_path: Path) -> None:
    """A data path is a store's folder, as any other program and `nsqlite check` know it."""
    with opened_node(str(tmp_path), DURABLE) as node:
        node.publish("orders", b"one")

    with nsqlite.open(tmp_path) as node:
        assert node.topics == ["orders"]
    assert not audit(str(tmp_path)).faults


def test_empty_data_path_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nsqd's."""
    monkeypatch.chdir(tmp_path)

    with opened_node("", DURABLE):
        pass

    assert (tmp_path / "lmdb" / "data.mdb").exists()


def test_store_lives_beside_other_files(tmp_path: Path) -> None:
    """Files that are nobody's business stay, and the store opens again beside them."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "nsqd.cfg").write_text("x")

    for _ in range(2):
        with opened_node(str(tmp_path), DURABLE) as node:
            node.topic("orders")

    assert (tmp_path / "nsqd.cfg").read_text() == "x"


def test_what_nsqd_left_is_imported_once(tmp_path: Path) -> None:
    """Topics, channels and messages are there when the node is handed over, and no second time."""
    write_nsqd_dat(tmp_path, {"orders": {"channels": {"billing": False}}})
    write_queue(tmp_path, "orders:billing", [record(b"one")])

    for _ in range(2):
        with opened_node(str(tmp_path), DURABLE) as node:
            assert node.topic("orders").channel("billing").depth == 1


def test_memory_opens_no_store(tmp_path: Path) -> None:
    """Nothing is written, and a data path that is not there is nobody's concern."""
    with opened_node(str(tmp_path), MEMORY) as node:
        node.publish("orders", b"one")
    with opened_node(str(tmp_path / "nonesuch"), MEMORY):
        pass

    assert list(tmp_path.iterdir()) == []


def test_memory_never_ignores_what_nsqd_left(tmp_path: Path) -> None:
    """It cannot be imported there, so the node is not opened."""
    write_nsqd_dat(tmp_path, {"orders": {}})

    with pytest.raises(ImportRefusedError, match="keeps nothing on disk"), opened_node(str(tmp_path), MEMORY):
        pass


def test_memory_says_that_a_store_is_not_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever changes the durability learns where the backlog is."""
    with opened_node(str(tmp_path), DURABLE):
        pass

    with caplog.at_level(logging.WARNING, "nsqlite"), opened_node(str(tmp_path), MEMORY):
        pass

    assert [record.event for record in caplog.records] == ["store_ignored"]


def test_missing_data_path_is_refused(tmp_path: Path) -> None:
    """A mistyped path makes no empty store; the words are nsqd's."""
    path = str(tmp_path / "nonesuch")

    with pytest.raises(LockFailedError) as raised, opened_node(path, DURABLE):
        pass

    assert str(raised.value) == f"failed to lock data-path: open {path}: no such file or directory"


def test_data_path_is_locked_as_nsqd_locks_it(tmp_path: Path) -> None:
    """Neither nsqd nor another of us can use it meanwhile, and it is free afterwards."""
    told = "possibly in use by another instance of nsqd"

    with opened_node(str(tmp_path), DURABLE):  # noqa: SIM117  # the inner one is what may not be
        with pytest.raises(ImportRefusedError, match=told), opened_node(str(tmp_path), DURABLE):
            pass

    with opened_node(str(tmp_path), DURABLE):
        pass


def test_open_store_is_refused_in_the_same_words(tmp_path: Path) -> None:
    """A program that has the store open holds no lock of nsqd's, and is named by its pid."""
    told = f"failed to lock data-path: .* process {os.getpid()}"

    with nsqlite.open(tmp_path), pytest.raises(LockFailedError, match=told), opened_node(str(tmp_path), DURABLE):
        pass


@pytest.mark.parametrize("name", ["lmdb", "journal", "owner", "reserve"])
def test_foreign_file_of_a_stores_name_is_refused(tmp_path: Path, name: str) -> None:
    """What happens to have a name that the store needs is not written over."""
    (tmp_path / "mine").write_text("x")
    (tmp_path / name).write_text("x")

    with pytest.raises(StorePathError, match=name):
        make_room(str(tmp_path))

    assert sorted(os.listdir(tmp_path)) == sorted(["mine", name])


def test_foreign_folder_of_lmdbs_name_is_refused(tmp_path: Path) -> None:
    """The same for a folder that is no database."""
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb" / "mine").write_text("x")

    with pytest.raises(StorePathError, match="lmdb"):
        make_room(str(tmp_path))


def test_store_that_was_never_finished_is_made(tmp_path: Path) -> None:
    """Killed after any step of making it, the next start goes on."""
    (tmp_path / "mine").write_text("x")
    make_room(str(tmp_path))
    make_room(str(tmp_path))

    with opened_node(str(tmp_path), DURABLE):
        pass


def test_store_that_the_library_did_not_finish_is_made(tmp_path: Path) -> None:
    """A folder with nothing but what a store has is a store's."""
    (tmp_path / "owner").write_text("")

    with opened_node(str(tmp_path), DURABLE):
        pass


def test_store_without_its_tables_is_not_made_anew(tmp_path: Path) -> None:
    """Beside files of nsqd's, too: a backup is needed, and nothing is to be moved away."""
    (tmp_path / "imported-by-nsqlite").mkdir()
    with opened_node(str(tmp_path), DURABLE):
        pass

    for lost in (tmp_path / "lmdb" / "data.mdb", tmp_path / "lmdb" / "lock.mdb"):
        lost.unlink()
        with pytest.raises(StoreDamagedError, match=r"data\.mdb is missing"), opened_node(str(tmp_path), DURABLE):
            pass
    (tmp_path / "lmdb").rmdir()
    with pytest.raises(StoreDamagedError, match=r"data\.mdb is missing"), opened_node(str(tmp_path), DURABLE):
        pass


AS_NOBODY = """\
import os, sys
from nsqlite.daemon import nsqd
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(nsqd.main(["-data-path", sys.argv[1], "-tcp-address=127.0.0.1:0", "-http-address="]))
"""


@pytest.mark.parametrize("mode", [0o555, 0o111])
def test_data_path_that_may_not_be_used_is_told(mode: int) -> None:
    """In one sentence, as the last line, whatever lies there."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        path = Path(name) / "data"
        path.mkdir()
        (path / "mine").write_text("x")
        os.chmod(path, mode)
        command = [sys.executable, "-c", AS_NOBODY, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        os.chmod(path, 0o755)

    told = done.stderr.splitlines()[-1].partition(" FATAL: failed to instantiate nsqd - ")[2]
    assert done.returncode == 1
    assert told in (
        f"cannot use {str(path)!r} as a store: the folder is not readable and writable for this user",
        f"failed to lock data-path: open {path}: permission denied",
    )
