"""The shim and the disk rebuilt from its log, against a writer simple enough to know by heart."""

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.power.disk import Disk, Tree, read_tree, write_tree
from tests.shim import environment, recording
from tests.shim.recording import Event, read_log


def run(source: str, root: Path, log: Path | None) -> str:
    """Run a script that has the shim and return what it printed."""
    head = "import errno, mmap, os\nfrom tests.shim import *\nshim = Shim()\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(source)],
        env=environment(root, log),
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to record."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the log goes, outside of what is recorded."""
    return tmp_path / "log"


def images(root: Path, events: list[Event], start: Tree | None = None, count: int = 200) -> list[Tree]:
    """Many images of the end of a log."""
    disk = Disk(root, start)
    for index, event in enumerate(events):
        disk.step(index, event)
    return [disk.image(random.Random(seed)) for seed in range(count)]


def test_record_all_calls_rebuild_the_folder(root: Path, log: Path) -> None:
    """Every call that changes a file or a name is in the log: replaying all gives the folder itself."""
    run(
        """
        os.mkdir("sub")
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"one" * 1000)
        os.pwrite(fd, b"two", 5000)
        os.writev(fd, [b"three", b"four"])
        os.pwritev(fd, [b"five", b"six"], 9000)
        os.ftruncate(fd, 8000)
        os.posix_fallocate(fd, 0, 12000)
        os.rename("a", "sub/b")
        os.link("sub/b", "c")
        os.unlink("c")
        view = mmap.mmap(fd, 12000)
        view[100:105] = b"store"
        shim.mark("between")
        view[10000:10004] = b"last"
        view.close()
        with open("d", "wb") as file:
            file.write(b"buffered")
        with open("d", "ab") as file:
            file.write(b" and more")
        with open("d", "rb") as source, open("e", "wb") as target:
            os.sendfile(target.fileno(), source.fileno(), 0, 8)
        fd = os.open(".", os.O_RDONLY)
        os.replace("e", "f", src_dir_fd=fd, dst_dir_fd=fd)
        shim.mark("end")
        """,
        root,
        log,
    )
    whole = read_tree(root)

    found = images(root, read_log(log))

    assert whole in found
    assert [event.data for event in read_log(log) if event.kind == recording.MARK] == [b"between", b"end"]
    assert whole["f"] == b"buffered"


def test_image_keeps_what_was_synced(root: Path, log: Path) -> None:
    """A synced write is in every image; an unsynced one in some, torn at 512 bytes."""
    run(
        """
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b"s" * 2048, 0)
        os.fdatasync(fd)
        here = os.open(".", os.O_RDONLY)
        os.fsync(here)
        os.pwrite(fd, b"u" * 2048, 1024)
        """,
        root,
        log,
    )

    contents = {tree["a"] for tree in images(root, read_log(log))}

    assert all(content is not None and content.startswith(b"s" * 1024) for content in contents)
    assert b"s" * 2048 in contents
    assert b"s" * 1024 + b"u" * 2048 in contents
    assert b"s" * 1024 + b"u" * 512 + b"s" * 512 in contents
    assert len(contents) > 10


def test_image_may_lack_a_name_until_its_folder_is_synced(root: Path, log: Path) -> None:
    """A file that was synced itself is lost with its name; a rename is there whole or not at all."""
    run(
        """
        here = os.open(".", os.O_RDONLY)
        fd = os.open("old", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x")
        os.fsync(fd)
        os.fsync(here)
        os.rename("old", "new")
        fd = os.open("old", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"y")
        os.fsync(fd)
        """,
        root,
        log,
    )

    found = images(root, read_log(log))

    assert {frozenset(tree.items()) for tree in found} == {
        frozenset({("old", b"x")}),
        frozenset({("new", b"x")}),
        frozenset({("new", b"x"), ("old", b"y")}),
    }


def test_image_covers_a_synced_descriptors_write_alone(root: Path, log: Path) -> None:
    """A write through O_DSYNC is certain, what was written before it is not."""
    run(
        """
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        meta = os.open("a", os.O_WRONLY | os.O_DSYNC)
        os.pwrite(fd, b"d" * 512, 512)
        os.pwrite(meta, b"m" * 512, 0)
        here = os.open(".", os.O_RDONLY)
        os.fsync(here)
        """,
        root,
        log,
    )

    contents = {tree["a"][:1024] for tree in images(root, read_log(log)) if tree["a"] is not None}

    assert contents == {b"m" * 512, b"m" * 512 + bytes(512), b"m" * 512 + b"d" * 512}


def test_image_after_a_failed_sync_misses_writes_for_good(root: Path, log: Path) -> None:
    """What a failed sync should have covered may be lost although a later sync succeeds."""
    run(
        """
        here = os.open(".", os.O_RDONLY)
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        os.fsync(here)
        for n in range(20):
            os.pwrite(fd, bytes([65 + n]) * 512, n * 512)
        shim.arm(SYNC, 1, errno.EIO)
        try:
            os.fdatasync(fd)
        except OSError as error:
            assert error.errno == errno.EIO
        os.fdatasync(fd)
        """,
        root,
        log,
    )

    found = {tree["a"] for tree in images(root, read_log(log))}

    assert len(found) == 1
    assert found != {(root / "a").read_bytes()}


def test_image_continues_one_that_was_written_out(root: Path, log: Path) -> None:
    """A folder that stood before the log began is certain, and renaming works on its files."""
    write_tree({"sub": None, "sub/a": b"x" * 100_000 + bytes(200_000), "b": b"gone"}, root)
    start = read_tree(root)
    run(
        """
        os.rename("sub/a", "sub/c")
        os.unlink("b")
        fd = os.open("sub/c", os.O_RDWR)
        os.pwrite(fd, b"y", 0)
        """,
        root,
        log,
    )

    found = images(root, read_log(log), start)

    assert start in found
    assert read_tree(root) in found
    assert {name for tree in found for name in tree} == {"sub", "sub/a", "sub/c", "b"}


@pytest.mark.parametrize(
    "call, kind",
    [
        ("os.write(fd, b'x')", "WRITE"),
        ("os.fsync(fd)", "SYNC"),
        ("os.fdatasync(here)", "SYNC"),
        ("os.rename('a', 'b')", "RENAME"),
        ("os.ftruncate(fd, 0)", "TRUNCATE"),
        ("os.open(f'c{n}{mode}', os.O_CREAT)", "CREATE"),
        ("os.posix_fallocate(fd, 0, 10)", "FALLOCATE"),
        ("os.unlink('a')", "UNLINK"),
        ("mmap.mmap(fd, 4)", "MAP"),
    ],
)
def test_inject_the_nth_call_of_a_class_fails(root: Path, call: str, kind: str) -> None:
    """Armed for the first call it fails, armed for the second the first goes through."""
    told = run(
        f"""
        here = os.open(".", os.O_RDONLY)
        def go(n, mode):
            fd = os.open("a", os.O_CREAT | os.O_RDWR)
            os.write(fd, b"full")
            shim.arm({kind}, n, errno.ENOSPC, mode)
            try:
                {call}
                print("done", shim.fired)
            except OSError as error:
                print(errno.errorcode[error.errno], shim.fired)
            shim.disarm()
        go(1, ONCE)
        go(2, ONCE)
        go(1, FOR_GOOD)
        print(shim.count("{kind.lower()}") > 0)
        """,
        root,
        None,
    )

    assert told.split() == ["ENOSPC", "1", "done", "0", "ENOSPC", "1", "True"]


def test_inject_short_and_torn_writes(root: Path) -> None:
    """A short write says how much it did; a torn one does half and fails."""
    told = run(
        """
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        shim.arm(WRITE, 1, errno.EIO, SHORT)
        print(os.pwrite(fd, b"12345678", 0))
        shim.arm(WRITE, 1, errno.EIO, TORN)
        try:
            os.pwrite(fd, b"abcdefgh", 8)
        except OSError as error:
            print(errno.errorcode[error.errno])
        """,
        root,
        None,
    )

    assert told.split() == ["4", "EIO"]
    assert (root / "a").read_bytes() == b"1234\0\0\0\0abcd"


def test_inject_capacity_is_a_disk_that_fills(root: Path) -> None:
    """Writing and allocating over the capacity fails with ENOSPC; removing makes room."""
    told = run(
        """
        shim.limit(1000)
        fd = os.open("a", os.O_CREAT | os.O_RDWR)
        os.write(fd, bytes(900))
        other = os.open("b", os.O_CREAT | os.O_RDWR)
        for attempt in range(2):
            try:
                print(os.write(other, bytes(200)))
            except OSError as error:
                print(errno.errorcode[error.errno])
                os.unlink("a")
        """,
        root,
        None,
    )

    assert told.split() == ["ENOSPC", "200"]
