"""The folder of a store: may it be used, and does anybody else have it open?"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from typing import Final

from nsqlite.errors import NetworkFilesystemError, StoreDamagedError, StoreLockedError, StorePathError
from nsqlite.storage.journal import sync_folder

# fmt: off
NETWORK_FILESYSTEMS: Final = frozenset(
    [
        "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ceph",
        "fuse.sshfs", "fuse.glusterfs", "glusterfs", "lustre", "gfs2", "ocfs2", "beegfs", "gpfs",
        "ncpfs", "coda", "davfs", "fuse.davfs2", "fuse.s3fs", "fuse.rclone", "virtiofs",
    ]
)
# fmt: on
IN_PLACE_FILESYSTEMS: Final = frozenset(["ext2", "ext3", "ext4", "xfs", "tmpfs"])
STORE_NAMES: Final = ("lmdb", "lmdb.new", "journal", "owner", "reserve")  # what a store has in its folder
COMPACTING: Final = "compacting"  # folder of a compaction in progress
_open_here: set[tuple[int, int]] = set()
_guard: Final = threading.Lock()


class Claim:
    """That this process, and nobody else, has a store open.

    The lock is flock's, on a file that only this class opens, so no other descriptor's
    end can drop it; it goes with the process however that ends.
    """

    def __init__(self, path: str, *, is_shared: bool = False) -> None:
        """Claim the store in `path`.

        Args:
            is_shared: For a reader that changes nothing, not even the owner's file.

        Raises:
            StoreLockedError: With the owner's pid.
            StorePathError: The owner's file cannot be written.
        """
        self.path = path
        self._fd = -1
        self._is_held = False
        stat = os.stat(path)
        self._key = (stat.st_dev, stat.st_ino)
        with _guard:
            if self._key in _open_here:
                raise StoreLockedError(path, os.getpid())
            self._lock(os.path.join(path, "owner"), is_shared=is_shared)
            _open_here.add(self._key)
            self._is_held = True

    def _lock(self, file: str, *, is_shared: bool) -> None:
        if is_shared and not os.path.exists(file):
            return
        flags = os.O_RDONLY if is_shared else os.O_RDWR | os.O_CREAT
        try:
            fd = os.open(file, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorePathError(self.path, f"its owner file cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            pid = holder(fd) or _pid_in(fd)
            os.close(fd)
            raise StoreLockedError(self.path, pid) from error
        try:
            if not is_shared:
                os.ftruncate(fd, 0)
                os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(fd)  # or its lock would outlive this attempt
            raise StorePathError(self.path, f"its owner file cannot be written ({error.strerror})") from error
        self._fd = fd

    def release(self) -> None:
        """Let others open the store. Twice is fine, whoever has it by then."""
        with _guard:
            if self._is_held:
                self._is_held = False
                _open_here.discard(self._key)
            self.forget()

    def forget(self) -> None:
        """Close the descriptor only: all that a forked child may do."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def prepare(path: str, *, allow_network_filesystem: bool) -> str:
    """Make the folder if need be and return its absolute path.

    Raises:
        StorePathError, StoreDamagedError, NetworkFilesystemError: Nothing was made.
    """
    path = os.path.abspath(path)
    if os.path.exists(path) and not os.path.isdir(path):
        raise StorePathError(path, "it is a file; give the path of a folder")
    parent = path
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    kind = filesystem_of(parent)
    if kind in NETWORK_FILESYSTEMS and not allow_network_filesystem:
        raise NetworkFilesystemError(path, kind)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        made = path
        while made != parent:  # a name lasts once the folder it is in is synced
            made = os.path.dirname(made)
            sync_folder(made)
    except OSError as error:
        raise StorePathError(path, f"the folder cannot be made ({error.strerror})") from error
    check_access(path)
    refuse_lost(path)
    foreign = [name for name in os.listdir(path) if name not in STORE_NAMES]
    if foreign and not os.path.isdir(os.path.join(path, "lmdb")):
        raise StorePathError(path, f"it holds other files ({foreign[0]!r}); give an empty folder or a new one")
    return path


def check_access(path: str, *, is_written: bool = True) -> None:
    """See that this user may use a store's folder and what is in it, as far as it is there.

    Raises:
        StorePathError: Naming what it may not.
    """
    folder, file = (os.R_OK | os.X_OK, os.R_OK) if not is_written else (os.R_OK | os.W_OK | os.X_OK, os.R_OK | os.W_OK)
    wanted = "readable and writable" if is_written else "readable"
    if not os.access(path, folder):
        raise StorePathError(path, f"the folder is not {wanted} for this user")
    for name in ("lmdb", "lmdb/data.mdb", "journal"):
        each = os.path.join(path, name)
        if os.path.lexists(each) and not os.access(each, folder if os.path.isdir(each) else file):
            raise StorePathError(path, f"its {name} is not {wanted} for this user")


def refuse_lost(path: str) -> None:
    """See that a folder is not that of a store whose tables are gone, in which none may begin anew.

    Raises:
        StoreDamagedError: It is: owner, journal and reserve come after that file.
    """
    if os.path.lexists(os.path.join(path, "lmdb", "data.mdb")) or not os.path.exists(os.path.join(path, "owner")):
        return
    journal = os.path.join(path, "journal")
    if os.path.exists(os.path.join(path, "reserve")) or (os.path.isdir(journal) and os.listdir(journal)):
        raise StoreDamagedError(path, "its lmdb/data.mdb is missing (leave the journal, which belongs to it)")


def find_store(path: str) -> str:
    """The absolute path of a store that is there. Makes nothing.

    Raises:
        StorePathError: It is missing, something else, or cannot be read.
        StoreDamagedError: It was one.
    """
    path = os.path.abspath(path)
    try:
        os.lstat(path)
    except PermissionError as error:
        raise StorePathError(path, "a folder on the way there is not readable for this user") from error
    except OSError as error:
        raise StorePathError(path, "there is nothing at this path") from error
    if not os.path.isdir(path):
        raise StorePathError(path, "it is no folder, so it is no store")
    check_access(path, is_written=False)
    if not os.path.isfile(os.path.join(path, "lmdb", "data.mdb")):
        refuse_lost(path)
        raise StorePathError(path, "it is no store: it has no lmdb/data.mdb")
    return path


def tidy(path: str) -> None:
    """Remove what a compaction left that was broken off. Only for who has claimed the store."""
    shutil.rmtree(os.path.join(path, COMPACTING), ignore_errors=True)


def filesystem_of(path: str, mounts: str = "/proc/self/mountinfo") -> str:
    """The kind of filesystem a path is on, "" where the system does not say."""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind


def holder(fd: int, locks: str = "/proc/locks") -> int:
    """Who holds a lock on this file or folder by the system's word, 0 where it does not say.

    The owner's file names the last one who opened the store, which a reader is not.
    """
    stat = os.fstat(fd)
    file = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    try:
        with open(locks, encoding="ascii", errors="replace") as table:
            for line in table:
                fields = line.split()
                if fields[1:2] == ["FLOCK"] and fields[5:6] == [file] and int(fields[4]) > 0:
                    return int(fields[4])
    except (OSError, ValueError):
        pass
    return 0


def _pid_in(fd: int) -> int:
    raw = os.pread(fd, 32, 0).strip()
    return int(raw) if raw.isdigit() else 0
