"""nsqd's disk queues as it leaves them in its data path.

A queue has the name of its topic, or `topic:channel`, and these files:

    <name>.diskqueue.000000.dat        records, one after another; numbers count on from file to file
    <name>.diskqueue.000000.dat.bad    put aside by nsqd, behind a record that it could not read
    <name>.diskqueue.meta.dat          text: depth, where to read, where to write

A record, big endian:

    0   4  size of the rest, 26 + len(body), signed
    4   8  timestamp, ns since the epoch, signed
   12   2  attempts
   14  16  id, hex digits
   30      body

All is pure but `read_records` and what it calls; importing them changes nothing on disk.
"""

from __future__ import annotations

import enum
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import attrs

HEAD: Final = struct.Struct(">iqH16s")
LENGTH_BYTES: Final = 4
MIN_RECORD_BYTES: Final = HEAD.size - LENGTH_BYTES
READ_AHEAD_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"(.+)\.diskqueue\.(?:(meta)|([0-9]{6,18}))\.dat(\.bad|\.[0-9]+\.tmp)?", re.DOTALL)
_METADATA: Final = re.compile(rb"\s*(-?[0-9]{1,19})\n([0-9]{1,18}),([0-9]{1,18})\n([0-9]{1,18}),([0-9]{1,18})(?:\n|$)")
_IDS: Final = re.compile(rb"[0-9a-f]{16}")
_BOOKMARK: Final = re.compile(r"([0-9]{1,18}),([0-9]{1,18}) ([0-9a-f]{60})\n")


class Kind(enum.Enum):
    """What a file of a queue is for."""

    DATA = "data"
    METADATA = "metadata"
    BAD = "bad"
    TEMPORARY = "temporary"  # metadata that was never put in its place


class Place(NamedTuple):
    """A file of a queue by its number, and an offset in it."""

    number: int
    offset: int


class Record(NamedTuple):
    """One message as it was read: where, its first 30 bytes, and its body."""

    place: Place
    head: bytes
    body: bytes


class Gap(NamedTuple):
    """A stretch that could not be read, or was not there; 0 bytes where nobody knows how many."""

    file: str
    offset: int
    size_bytes: int
    why: str


@attrs.frozen
class Metadata:
    """What a queue's metadata says, as of the last time nsqd synced it."""

    depth: int
    read: Place
    write: Place


@attrs.frozen
class Bookmark:
    """The last record of a queue that was taken over, with its first 30 bytes, by which it is told again."""

    place: Place
    head: bytes

    def pack(self) -> str:
        """As text."""
        return f"{self.place.number},{self.place.offset} {self.head.hex()}\n"

    @staticmethod
    def unpack(text: str) -> Bookmark | None:
        """From text; None if it is none."""
        found = _BOOKMARK.fullmatch(text)
        return Bookmark(Place(int(found[1]), int(found[2])), bytes.fromhex(found[3])) if found else None


@attrs.define
class Queue:
    """One queue's files.

    Attributes:
        name: The topic, or topic:channel.
        folder: Where its files are.
        numbers: Of its data files, in order.
        has_metadata: Whether nsqd ever synced it.
        bad: Names of files that nsqd put aside.
        temporary: Names of files that are none any more.
    """

    name: str
    folder: str
    numbers: list[int] = attrs.Factory(list)
    has_metadata: bool = False
    bad: list[str] = attrs.Factory(list)
    temporary: list[str] = attrs.Factory(list)

    @property
    def is_alive(self) -> bool:
        """Whether nsqd would find a queue here, and not only what one left."""
        return bool(self.numbers) or self.has_metadata

    @property
    def owner(self) -> tuple[str, str | None]:
        """Topic and channel by their names; None is no channel. A nsqd on Windows has ; between them."""
        topic, colon, channel = self.name.replace(";", ":").partition(":")
        return topic, channel if colon else None

    @property
    def metadata_file(self) -> str:
        """The metadata's name."""
        return f"{self.name}.diskqueue.meta.dat"

    def data_file(self, number: int) -> str:
        """A data file's name."""
        return f"{self.name}.diskqueue.{number:06d}.dat"

    def size_of(self, number: int) -> int:
        """Bytes of a data file, 0 if it is not there."""
        return os.stat(os.path.join(self.folder, self.data_file(number))).st_size if number in self.numbers else 0


# -- names and metadata --------------------------------------------------------------------


def parse_file_name(name: str) -> tuple[str, Kind, int] | None:
    """The queue, kind and number (0 for metadata) of a file; None if it is not of a disk queue."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    queue, meta, digits, suffix = found.groups()
    if meta:
        return None if suffix == ".bad" else (queue, Kind.TEMPORARY if suffix else Kind.METADATA, 0)
    if suffix not in (None, ".bad") or digits != f"{int(digits):06d}":
        return None
    return queue, Kind.BAD if suffix else Kind.DATA, int(digits)


def find_queues(folder: str, names: Iterable[str]) -> dict[str, Queue]:
    """The queues that the files of a folder make up, by name."""
    queues: dict[str, Queue] = {}
    for name in sorted(names):
        found = parse_file_name(name)
        if found is None:
            continue
        queue = queues.setdefault(found[0], Queue(found[0], folder))
        if found[1] is Kind.DATA:
            queue.numbers.append(found[2])
        elif found[1] is Kind.METADATA:
            queue.has_metadata = True
        else:
            (queue.bad if found[1] is Kind.BAD else queue.temporary).append(name)
    for queue in queues.values():
        queue.numbers.sort()
    return queues


def parse_metadata(text: bytes) -> Metadata | None:
    """What metadata says; None if it is none. What stands behind it does not count, as for nsqd."""
    found = _METADATA.match(text)
    if found is None:
        return None
    depth, read_number, read_offset, write_number, write_offset = map(int, found.groups())
    return Metadata(depth, Place(read_number, read_offset), Place(write_number, write_offset))


def missing(queue: Queue, metadata: Metadata) -> Iterator[Gap]:
    """What the metadata promises and no file holds."""
    read, write = metadata.read, metadata.write
    if read >= write:
        return
    between = sum(1 for number in queue.numbers if read.number <= number < write.number)
    if (gone := write.number - read.number - between) > 0:
        yield Gap(queue.name, 0, 0, f"{gone} of its files are not there")
    size = queue.size_of(write.number)
    if size < write.offset:
        why = "the file ends before the place that its metadata names"
        yield Gap(queue.data_file(write.number), size, write.offset - size, why)


# -- records -------------------------------------------------------------------------------


def first_place(queue: Queue, metadata: Metadata | None) -> Place:
    """Where reading begins: where nsqd would have gone on, or with the first file that there is."""
    numbers = queue.numbers
    if metadata is None:
        return Place(numbers[0] if numbers else 0, 0)
    return metadata.read


def behind(queue: Queue, bookmark: Bookmark) -> Place | None:
    """The place behind a bookmark; None if the queue does not hold that record, so is another one by now."""
    if bookmark.place.number not in queue.numbers:
        return None
    with open(os.path.join(queue.folder, queue.data_file(bookmark.place.number)), "rb") as file:
        file.seek(bookmark.place.offset)
        if file.read(HEAD.size) != bookmark.head:
            return None
    size = int(HEAD.unpack(bookmark.head)[0])
    return Place(bookmark.place.number, bookmark.place.offset + LENGTH_BYTES + size)


def read_records(queue: Queue, start: Place, max_msg_size: int, max_body_bytes: int) -> Iterator[Record | Gap]:
    """All records from a place on to the end of the last file, whatever metadata says about the end.

    As nsqd does, give the rest of a file up at a record that cannot be one, and go on with
    the next file. One file is open at a time.

    Args:
        max_msg_size: Where nsqd says that it cannot be one. Here it can, if there is an id in
            its place: the limit may have been lowered since.
        max_body_bytes: What is larger is passed over alone.
    """
    for number in queue.numbers:
        if number >= start.number:
            place = Place(number, start.offset if number == start.number else 0)
            yield from _read_file(queue, place, max_msg_size, max_body_bytes)


def _read_file(queue: Queue, start: Place, max_msg_size: int, max_body_bytes: int) -> Iterator[Record | Gap]:
    number, offset = start
    name = queue.data_file(number)
    with open(os.path.join(queue.folder, name), "rb", buffering=READ_AHEAD_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        if offset > size:
            yield Gap(name, size, offset - size, "the file ends before the place to read from")
            return
        file.seek(offset)
        while offset < size:
            head = file.read(HEAD.size)
            why = _fault(head, size - offset, max_msg_size)
            if why:
                yield Gap(name, offset, size - offset, why)
                return
            body_bytes = int.from_bytes(head[:LENGTH_BYTES], "big") - MIN_RECORD_BYTES
            if body_bytes > max_body_bytes:
                yield Gap(name, offset, HEAD.size + body_bytes, f"its message has more than {max_body_bytes} bytes")
                file.seek(body_bytes, os.SEEK_CUR)
            else:
                yield Record(Place(number, offset), head, file.read(body_bytes))
            offset += HEAD.size + body_bytes


def _fault(head: bytes, rest_bytes: int, max_msg_size: int) -> str:
    """Why these bytes, with so many from them to the file's end, begin no record; "" if they do."""
    if len(head) < HEAD.size:
        return "the last record is torn"
    size = int.from_bytes(head[:LENGTH_BYTES], "big", signed=True)
    if size < MIN_RECORD_BYTES:
        return f"a record cannot have {size} bytes"
    if size - MIN_RECORD_BYTES > max_msg_size and not _IDS.match(head, HEAD.size - 16):
        return f"a record of {size} bytes would have a message id"
    if LENGTH_BYTES + size > rest_bytes:
        return "the last record is torn"
    return ""


def unpack_messages(records: Sequence[Record]) -> list[tuple[int, int, bytes]]:
    """Timestamp, attempts and body of each."""
    messages = []
    for record in records:
        _, timestamp_ns, attempts, _ = HEAD.unpack(record.head)
        messages.append((timestamp_ns, attempts, record.body))
    return messages
