"""The folder of a store: who may use it, and who has it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import NetworkFilesystemError, StoreDamagedError, StoreLockedError, StorePathError
from nsqlite.storage.place import NETWORK_FILESYSTEMS, Claim, filesystem_of, find_store, prepare, tidy

ROOT = Path(__file__).resolve().parents[2]
MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / {point} rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
31 22 0:27 / {point}/local rw - tmpfs tmpfs rw
32 22 0:28 / {point}/with\\040space rw shared:7 master:2 - fuse.sshfs host: rw
"""
HELD = """\
import sys
from nsqlite.storage.place import Claim
claim = Claim(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
AS_NOBODY = """\
import os, sys
import nsqlite, nsqlite.node
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
from nsqlite.storage.place import find_store
for use in nsqlite.open, find_store:
    try:
        use(sys.argv[1])
    except nsqlite.StorePathError as error:
        print(error)
"""


def test_claim_writes_its_pid(tmp_path: Path) -> None:
    """The owner's file tells who has the store."""
    claim = Claim(str(tmp_path))

    assert (tmp_path / "owner").read_text() == f"{os.getpid()}\n"
    claim.release()


def test_claim_is_exclusive_in_this_process(tmp_path: Path) -> None:
    """A second claim here is refused with this process's pid, by inode: a link is no way round."""
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    claim = Claim(str(tmp_path / "store"))

    for way in ("store", "link"):
        with pytest.raises(StoreLockedError) as caught:
            Claim(str(tmp_path / way))
        assert caught.value.pid == os.getpid()

    claim.release()
    Claim(str(tmp_path / "link")).release()


def test_claim_held_elsewhere_names_its_process(tmp_path: Path) -> None:
    """A store that another process has open is refused with that process's pid in the message."""
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as owner:
        assert owner.stdout.readline() == "held\n"

        with pytest.raises(StoreLockedError, match=f"process {owner.pid}") as caught:
            Claim(str(tmp_path))
        with pytest.raises(StoreLockedError):
            Claim(str(tmp_path), is_shared=True)
        owner.kill()

    assert caught.value.pid == owner.pid
    Claim(str(tmp_path)).release()


def test_released_claim_stays_released(tmp_path: Path) -> None:
    """Releasing twice does not take the store from who has it by then."""
    first = Claim(str(tmp_path))
    first.release()
    second = Claim(str(tmp_path))

    first.release()

    with pytest.raises(StoreLockedError):
        Claim(str(tmp_path))
    second.release()


def test_shared_claim_changes_nothing(tmp_path: Path) -> None:
    """A reader leaves no file and no pid of its own."""
    Claim(str(tmp_path), is_shared=True).release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "owner").write_text("4711\n")

    Claim(str(tmp_path), is_shared=True).release()

    assert (tmp_path / "owner").read_text() == "4711\n"


def test_prepare_makes_the_folder_for_its_owner_alone(tmp_path: Path) -> None:
    """Folders on the way are made; nobody else can read what is in the store."""
    path = prepare(str(tmp_path / "a" / "b"), allow_network_filesystem=False)

    assert path == str(tmp_path / "a" / "b")
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_prepare_takes_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is known by its absolute path, wherever the process goes later."""
    monkeypatch.chdir(tmp_path)

    assert prepare("store", allow_network_filesystem=False) == str(tmp_path / "store")


@pytest.mark.parametrize("below", ["", "below"])
def test_prepare_refuses_a_file(tmp_path: Path, below: str) -> None:
    """A path that is a file, or goes through one, raises and leaves the file."""
    file = tmp_path / "file"
    file.write_bytes(b"mine")

    with pytest.raises(StorePathError) as caught:
        prepare(str(file / below), allow_network_filesystem=False)

    assert caught.value.path == str(file / below).rstrip("/")
    assert file.read_bytes() == b"mine"


def test_prepare_refuses_a_folder_of_other_things(tmp_path: Path) -> None:
    """A folder that holds other files is not taken for a store by mistake."""
    (tmp_path / "thesis.tex").write_bytes(b"mine")

    with pytest.raises(StorePathError, match=r"other files \('thesis.tex'\)"):
        prepare(str(tmp_path), allow_network_filesystem=False)


@pytest.mark.parametrize("missing", [True, False], ids=["in an unwritable folder", "unwritable itself"])
def test_unwritable_path_is_refused(missing: bool) -> None:
    """A folder that this user may not write is refused with a sentence, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "store"
        folder.mkdir()
        os.chmod(folder, 0o555)
        path = folder / "new" if missing else folder
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        left = list(folder.iterdir())
        os.chmod(folder, 0o755)

    first = told.stdout.splitlines()[0]
    assert first.startswith(f"cannot use {str(path)!r} as a store: the folder "), told.stderr
    assert left == []


@pytest.mark.parametrize("part", ["lmdb", "lmdb/data.mdb", "journal", ".."])
def test_store_of_somebody_else_is_told_from_none(part: str) -> None:
    """What this user may not use of it is named, by who opens it and by who only looks."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        path = Path(name) / "above" / "store"
        path.parent.mkdir()
        with nsqlite.open(path):
            pass
        for each in (path, path / "lmdb", path / "journal"):
            os.chmod(each, 0o777)
        for each in (path / "owner", path / "lmdb" / "data.mdb"):
            os.chmod(each, 0o666)
        os.chmod(path / part, 0)
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        os.chmod(path / part, 0o755)

    lines = told.stdout.splitlines()
    assert len(lines) == 2, told.stderr
    if part != "..":
        assert f"its {part} is not readable and writable for this user" in lines[0]
        assert f"its {part} is not readable for this user" in lines[1]
    else:
        assert "a folder on the way there is not readable for this user" in lines[1]


@pytest.mark.parametrize("left", ["journal", "reserve"])
@pytest.mark.parametrize("use", [lambda path: prepare(path, allow_network_filesystem=False), find_store])
def test_store_without_its_tables_is_damaged(tmp_path: Path, left: str, use: Callable[[str], str]) -> None:
    """No empty one takes its place, and nobody is told to delete what is left."""
    (tmp_path / "owner").write_text("1\n")
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb" / "lock.mdb").write_bytes(b"")
    if left == "journal":
        (tmp_path / "journal").mkdir()
        (tmp_path / "journal" / "0.seg").write_bytes(b"x")
    else:
        (tmp_path / "reserve").write_bytes(b"x")

    with pytest.raises(StoreDamagedError, match=r"data.mdb is missing \(leave the journal.*restore it from a backup"):
        use(str(tmp_path))


@pytest.mark.parametrize(
    "path, kind",
    [("store", "nfs4"), ("", "nfs4"), ("local/store", "tmpfs"), ("with space/x", "fuse.sshfs"), ("localstore", "nfs4")],
)
def test_filesystem_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    """The longest mount point above a path says what it is on, by whole names."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(point=tmp_path))

    assert filesystem_of(str(tmp_path / path), str(mounts)) == kind


def test_filesystem_of_a_link_is_its_targets(tmp_path: Path) -> None:
    """A link onto a network mount is on it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(point=tmp_path / "export"))
    (tmp_path / "export").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "export")

    assert filesystem_of(str(tmp_path / "link"), str(mounts)) == "nfs4"
    assert filesystem_of(str(tmp_path), str(mounts)) == "ext4"


def test_later_mount_on_the_same_point_counts(tmp_path: Path) -> None:
    """Of two filesystems mounted on one folder the upper one is seen."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(point=tmp_path) + f"40 22 0:30 / {tmp_path} rw - cifs //host/share rw\n")

    assert filesystem_of(str(tmp_path / "store"), str(mounts)) == "cifs"


def test_system_without_mounts_does_not_say(tmp_path: Path) -> None:
    """Where the table cannot be read nothing is known, and nothing refused."""
    assert filesystem_of(str(tmp_path), str(tmp_path / "none")) == ""


def test_network_filesystems_are_listed() -> None:
    """Those whose locks and syncs are known not to hold, by the names the kernel uses."""
    assert {"nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "ceph"} <= NETWORK_FILESYSTEMS
    assert "ext4" not in NETWORK_FILESYSTEMS


def test_network_error_says_how_to_insist() -> None:
    """The refusal names the filesystem and the option that overrules it."""
    told = str(NetworkFilesystemError("/mnt/queue", "nfs4"))

    assert "nfs4" in told
    assert "allow_network_filesystem=True" in told


def test_find_store_makes_nothing(tmp_path: Path) -> None:
    """What is no store is refused with a reason, and stays as it is."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()

    for name in ("none", "file", "folder"):
        with pytest.raises(StorePathError):
            find_store(str(tmp_path / name))

    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_tidy_leaves_the_store(tmp_path: Path) -> None:
    """Tidying removes only what a broken compaction left."""
    (tmp_path / "lmdb").mkdir()

    tidy(str(tmp_path))

    assert os.listdir(tmp_path) == ["lmdb"]
