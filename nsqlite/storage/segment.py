"""One file of the journal: made ahead, overwritten in place, used again."""

from __future__ import annotations

import mmap
import os
from typing import Final

from nsqlite.storage.layout import SEGMENT_HEAD, pack_segment_head

_ZEROS: Final = bytes(1 << 20)
_PAGE: Final = 4096
MAX_PIECES: Final = 1000  # of one system call; the system allows 1,024
MAPPED_WRITE_BYTES: Final = 4096  # above, one system call costs less than a fault a page


class Segment:
    """A file of fixed size that records are written into at explicit offsets.

    Attributes:
        position: Where the next record goes.
        last_lsn: Of the last record in it; 0 if there is none.
        settled_position: Up to where its records are known to be settled.
        is_dirty: Whether something was written since the last sync began.
        unsynced: What was appended since the last sync, in order, if that is to write it.
    """

    def __init__(self, path: str, size_bytes: int, *, is_mapped: bool, is_filled: bool) -> None:
        """Make the file. Its name counts once the folder is synced.

        Args:
            path: Of a file that does not exist.
            size_bytes: Its size for good, rounded up to whole pages.
            is_mapped: Write by copying into a mapping instead of by a system call.
            is_filled: Fill it with zeros and sync it, which makes later syncs twice
                as fast; otherwise its blocks are only allocated.

        Raises:
            OSError: No file is left behind.
        """
        self.path = path
        self.size_bytes = -(-size_bytes // _PAGE) * _PAGE
        self.position = self.settled_position = SEGMENT_HEAD.size
        self.last_lsn = 0
        self.number = 0
        self.is_dirty = False
        self.unsynced: list[bytes] = []
        self._unsynced_at = 0
        self.map: mmap.mmap | None = None
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if is_filled:
                self._fill()
            else:
                os.posix_fallocate(self.fd, 0, self.size_bytes)
            if is_mapped:
                self.map = mmap.mmap(self.fd, self.size_bytes)
        except BaseException:
            self.delete()
            raise

    def _fill(self) -> None:
        at = 0
        while at < self.size_bytes:
            at += os.pwrite(self.fd, _ZEROS[: self.size_bytes - at], at)
        os.fdatasync(self.fd)

    def begin(self, store_id: bytes, epoch: int, number: int, *, keeps_unsynced: bool = False) -> None:
        """Start it afresh under a new header. What it held before can no longer be replayed.

        Args:
            keeps_unsynced: Whether what is appended goes to `unsynced` too.
        """
        self.number = number
        self.position = self.settled_position = SEGMENT_HEAD.size
        self.last_lsn = 0
        head = pack_segment_head(store_id, epoch, number)
        self.write(0, head)
        self.unsynced = [head] if keeps_unsynced else []
        self._unsynced_at = 0

    def write(self, at: int, data: bytes) -> None:
        """Write at an offset, all of it.

        Raises:
            OSError: On a failed or short write.
        """
        if self.map is not None and len(data) <= MAPPED_WRITE_BYTES:
            self.map[at : at + len(data)] = data
        elif (written := os.pwrite(self.fd, data, at)) != len(data):
            raise OSError(f"short write: {written} of {len(data)} bytes")
        self.is_dirty = True

    def sync(self) -> None:
        """Bring all that was written to stable storage. A second try after a failure would lie."""
        self.is_dirty = False
        os.fdatasync(self.fd)

    def write_synced(self) -> None:
        """Write all that is unsynced, from where the last sync ended, and sync it: one system call.

        Giving the interpreter away twice, for a write and for a sync, would halve the rate
        beside a busy thread (benchmarks/busy_thread.py).

        Raises:
            OSError: Nothing in the journal may be trusted any more.
        """
        pieces = self.unsynced.copy()
        count, size = len(pieces), sum(map(len, pieces))
        if count > MAX_PIECES:
            pieces = [b"".join(pieces)]
        self.is_dirty = False
        written = os.pwritev(self.fd, pieces, self._unsynced_at, os.RWF_DSYNC)
        if written != size:
            raise OSError(f"short write: {written} of {size} bytes")
        del self.unsynced[:count]
        self._unsynced_at += size

    def close(self) -> None:
        """Let go of the file."""
        if self.map is not None:
            self.map.close()
            self.map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def delete(self) -> None:
        """Let go of the file and remove it."""
        self.close()
        os.unlink(self.path)
