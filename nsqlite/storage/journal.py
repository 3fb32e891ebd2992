"""The journal: what turns promised since the last settlement, one record a turn.

Records go into segments one behind another; a segment whose records are all settled
is used again. Replay trusts nothing but headers, checksums and numbers that go on
without a gap, so what an old record left in a segment used again never counts.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

import attrs

from nsqlite.errors import StoreDamagedError
from nsqlite.storage.layout import (
    CRC,
    LENGTH_LSN,
    RECORD_HEAD,
    SEGMENT_HEAD,
    checksum,
    unpack_segment_head,
)
from nsqlite.storage.segment import Segment

FIRST_SEGMENT_BYTES: Final = 1 << 20
MAX_SEGMENT_BYTES: Final = 16 << 20
SUFFIX: Final = ".seg"


class JournalFullError(Exception):
    """No segment has room and none may be made; never leaves the storage."""


class Journal:
    """Segments of one epoch. `append` and `release` are called under the node's lock.

    Attributes:
        lsn: Log sequence number of the last record.
        used: Segments with records that may not be settled, oldest first; the last is current.
        free: Segments ready to be used.
    """

    def __init__(
        self,
        folder: str,
        store_id: bytes,
        epoch: int,
        lsn: int,
        *,
        is_mapped: bool,
        is_filled: bool,
        limit_bytes: int,
    ) -> None:
        """Begin an epoch in an existing folder: one fresh segment.

        Raises:
            OSError: If it cannot be made.
        """
        self.folder = folder
        self.epoch = epoch
        self.lsn = lsn
        self.limit_bytes = limit_bytes
        self.wanted_bytes = FIRST_SEGMENT_BYTES
        self._store_id = store_id
        self._is_mapped = is_mapped
        self._is_filled = is_filled
        self._number = 0
        self._files = count(1)
        self.sync_guard = threading.Lock()
        self._writes_on_sync = is_filled and not is_mapped
        self._left_out: tuple[Segment, int, tuple[bytes, ...]] | None = None
        self._is_blocked = False  # the last segment that was wanted could not be made: the limit is not all
        self.free: list[Segment] = []
        self.used: list[Segment] = []
        self._seed = epoch & 0xFFFFFFFF
        self._start(self._make(FIRST_SEGMENT_BYTES, is_filled=is_filled))
        self.mark()

    # -- appending ------------------------------------------------------------------------

    def append(self, pieces: Sequence[bytes], *, waits_for_sync: bool = False) -> int:
        """Write one record, whose payload is the pieces joined.

        Hot: about 1 µs mapped (benchmarks/commit_one.py).

        Args:
            waits_for_sync: The caller syncs at once, and nothing counts before that: the
                write is left to the sync, so that both are one system call. Whatever is
                appended meanwhile brings it into the file first.

        Raises:
            JournalFullError: Nothing was written.
            OSError: The record may be there in part.
        """
        size = sum(map(len, pieces))
        segment = self.used[-1]
        at = segment.position
        if at + size + 16 > segment.size_bytes:
            segment = self._roll(size + 16)
            at = segment.position
        lsn = self.lsn + 1
        numbers = LENGTH_LSN.pack(size, lsn)
        crc = zlib.crc32(numbers, self._seed)
        for piece in pieces:
            crc = checksum(piece, crc)
        record = (CRC.pack(crc) + numbers, *pieces)
        if not self._writes_on_sync:
            segment.write(at, b"".join(record))
        elif waits_for_sync:
            segment.unsynced += record  # in pieces: the system call gathers them, and nothing is copied here
            self._left_out = (segment, at, record)
        else:
            if self._left_out is not None:
                before, its_at, its_record = self._left_out
                before.write(its_at, b"".join(its_record))
                self._left_out = None
            data = b"".join(record)
            segment.write(at, data)
            segment.unsynced.append(data)
        segment.position = at + size + 16
        segment.last_lsn = self.lsn = lsn
        return lsn

    def has_room(self, size: int) -> bool:
        """Whether a payload of this size can be appended without breaking the limit."""
        size += 16
        current = self.used[-1]
        if current.position + size <= current.size_bytes or any(self._fits(each, size) for each in self.free):
            return True
        return not self._is_blocked and self.held_bytes + self._next_size(size) <= self.limit_bytes

    def _roll(self, size: int) -> Segment:
        for at, segment in enumerate(self.free):
            if self._fits(segment, size):
                del self.free[at]
                break
        else:
            wanted = self._next_size(size)
            if self.held_bytes + wanted > self.limit_bytes:
                raise JournalFullError
            try:
                segment = self._make(wanted, is_filled=False)
            except OSError as error:
                self._is_blocked = True
                raise JournalFullError(str(error)) from error
        self._start(segment)
        return segment

    def _start(self, segment: Segment) -> None:
        self._number += 1
        segment.begin(self._store_id, self.epoch, self._number, keeps_unsynced=self._writes_on_sync)
        self.used.append(segment)

    @staticmethod
    def _fits(segment: Segment, size: int) -> bool:
        return SEGMENT_HEAD.size + size <= segment.size_bytes

    def _next_size(self, size: int) -> int:
        largest = max((each.size_bytes for each in (*self.used, *self.free)), default=0)
        usual = min(2 * largest, MAX_SEGMENT_BYTES, self.limit_bytes // 4)
        return max(usual, FIRST_SEGMENT_BYTES, SEGMENT_HEAD.size + size + 4096)

    def _make(self, size_bytes: int, *, is_filled: bool) -> Segment:
        path = os.path.join(self.folder, f"{self.epoch:06d}-{next(self._files):06d}{SUFFIX}")
        segment = Segment(path, size_bytes, is_mapped=self._is_mapped, is_filled=is_filled)
        try:
            sync_folder(self.folder)
        except BaseException:
            segment.delete()
            raise
        self._is_blocked = False
        return segment

    # -- beside appending -----------------------------------------------------------------

    def sync(self) -> None:
        """Bring every record appended so far to stable storage. From any thread, without the lock.

        Raises:
            OSError: Nothing in this journal may be trusted any more.
        """
        with self.sync_guard:
            for segment in list(self.used):
                if segment.unsynced:
                    segment.write_synced()
                elif segment.is_dirty:
                    segment.sync()

    def mark(self) -> None:
        """Note how far a settlement that takes all records so far will reach. Under the lock."""
        self._mark = (self.lsn, self.used[-1], self.used[-1].position)

    def release(self, settled_lsn: int) -> None:
        """Take segments whose records are all settled out of use. Under `sync_guard`, too.

        A sync that was still writing one would overwrite what is appended to it next.
        """
        lsn, current, position = self._mark
        if current is self.used[-1] and lsn <= settled_lsn:
            current.settled_position = position
        while len(self.used) > 1 and self.used[0].last_lsn <= settled_lsn:
            self.free.append(self.used.pop(0))

    def trim(self) -> list[Segment]:
        """Take out free segments beyond what the load needs; the caller deletes them."""
        extra = []
        keep = max(self.wanted_bytes, sum(each.size_bytes for each in self.used))
        while self.free and sum(each.size_bytes for each in self.free) > keep and len(self.free) > 1:
            smallest = min(self.free, key=lambda each: each.size_bytes)
            self.free.remove(smallest)
            extra.append(smallest)
        return extra

    def needs_segment(self) -> int:
        """Bytes of the segment that should be made ahead; 0 if there is one ready."""
        if self.free or self.used[-1].position * 2 < self.used[-1].size_bytes:
            return 0
        wanted = self._next_size(0)
        return wanted if self.held_bytes + wanted <= self.limit_bytes else 0

    def make_ahead(self, size_bytes: int) -> Segment:
        """Make a segment, filled if this journal is to be synced often. Without the lock."""
        return self._make(size_bytes, is_filled=self._is_filled)

    @property
    def held_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(each.size_bytes for each in (*self.used, *self.free))

    @property
    def record_bytes(self) -> int:
        """Bytes of records that are not known to be settled."""
        return sum(each.position - each.settled_position for each in self.used)

    def close(self, *, is_settled: bool) -> None:
        """Let go of all files; of a settled journal none is left."""
        with self.sync_guard:
            for segment in (*self.used, *self.free):
                segment.close()
                if is_settled:
                    with suppress(OSError):  # what is settled never counts again; the next opening removes it
                        os.unlink(segment.path)

    def check(self) -> None:
        """Assert the order of segments and numbers."""
        numbers = [each.number for each in self.used]
        assert numbers == sorted(set(numbers))
        assert all(each.position <= each.size_bytes for each in self.used)
        assert all(each.last_lsn <= self.lsn for each in self.used)


# -- replay --------------------------------------------------------------------------------


@attrs.frozen
class Found:
    """A segment file as found at opening."""

    path: str
    epoch: int
    number: int
    size_bytes: int


def find_segments(folder: str, store_id: bytes, epoch: int, store_path: str) -> tuple[list[Found], list[str]]:
    """The segments of this epoch by number, and the paths of files that are of no use.

    Raises:
        StoreDamagedError: On the journal of another store, or of a later epoch.
    """
    found, useless = [], []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(SUFFIX):
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            head = unpack_segment_head(file.read(SEGMENT_HEAD.size))
        if head is None:
            useless.append(path)
            continue
        owner, its_epoch, number = head
        if owner != store_id:
            raise StoreDamagedError(store_path, f"journal file {name} belongs to another store")
        if its_epoch > epoch:
            raise StoreDamagedError(store_path, f"journal file {name} is newer than the data beside it")
        if its_epoch == epoch:
            found.append(Found(path, its_epoch, number, os.path.getsize(path)))
        else:
            useless.append(path)
    return sorted(found, key=lambda each: each.number), useless


def read_records(segments: list[Found], epoch: int, settled_lsn: int) -> Iterator[tuple[int, bytes]]:
    """Number and payload of the records behind `settled_lsn`, to the first gap or torn one.

    What is settled does not count, not even as the begin of a sequence: a segment that waits
    to be used again still holds old records, and those after them may be overwritten already.
    """
    expected = settled_lsn + 1
    for found in segments:
        with open(found.path, "rb") as file:
            data = file.read()
        for lsn, payload in _records_of(data, epoch):
            if lsn <= settled_lsn:
                continue
            if lsn != expected:
                break
            expected = lsn + 1
            yield lsn, payload


def whole_records_behind(segments: list[Found], epoch: int, last_lsn: int) -> int:
    """How many whole records there are behind the last that counts, which replay never reaches.

    For audits. After a power failure they are what was written and not synced; a record
    in the middle of a synced journal that was damaged later leaves the same picture.
    """
    found = 0
    for segment in segments:
        with open(segment.path, "rb") as file:
            data = file.read()
        at = SEGMENT_HEAD.size
        while at + RECORD_HEAD.size <= len(data):
            _, size, lsn = RECORD_HEAD.unpack_from(data, at)
            if lsn == 0:
                break
            whole = next(_records_of(data, epoch, at), None)
            if whole is not None and lsn > last_lsn + 1:
                found += 1
            at += RECORD_HEAD.size + size
    return found


def _records_of(data: bytes, epoch: int, at: int = SEGMENT_HEAD.size) -> Iterator[tuple[int, bytes]]:
    end = len(data)
    seed = epoch & 0xFFFFFFFF
    view = memoryview(data)
    while at + RECORD_HEAD.size <= end:
        crc, size, lsn = RECORD_HEAD.unpack_from(data, at)
        stop = at + RECORD_HEAD.size + size
        if lsn == 0 or stop > end or zlib.crc32(view[at + 4 : stop], seed) != crc:
            return
        yield lsn, data[at + RECORD_HEAD.size : stop]
        at = stop


def sync_folder(path: str) -> None:
    """Make the names in a folder last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
