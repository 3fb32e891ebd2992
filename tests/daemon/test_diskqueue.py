"""Disk queues are read as nsqd reads them, and where it would give messages up, further."""

import os
from pathlib import Path

import pytest

from nsqlite.daemon.diskqueue import (
    HEAD,
    Bookmark,
    Gap,
    Kind,
    Metadata,
    Place,
    Queue,
    Record,
    behind,
    find_queues,
    first_place,
    missing,
    parse_file_name,
    parse_metadata,
    read_records,
    unpack_messages,
)
from tests.fakes.nsqd_files import TIMESTAMP_NS, record, write_queue

LIMITS = (1000, 1 << 20)
START = Place(0, 0)


def found(folder: Path, name: str = "t") -> Queue:
    """A queue of a folder."""
    return find_queues(str(folder), os.listdir(folder))[name]


def read(queue: Queue, start: Place = START, limits: tuple[int, int] = LIMITS) -> list[bytes | str]:
    """Bodies, and the reasons of gaps, in order."""
    return [each.body if isinstance(each, Record) else each.why for each in read_records(queue, start, *limits)]


# -- names and metadata --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, parsed",
    [
        ("t.diskqueue.000000.dat", ("t", Kind.DATA, 0)),
        ("t:c.diskqueue.000012.dat", ("t:c", Kind.DATA, 12)),
        ("t.diskqueue.1234567.dat", ("t", Kind.DATA, 1_234_567)),
        ("a.diskqueue.000001.dat:c.diskqueue.meta.dat", ("a.diskqueue.000001.dat:c", Kind.METADATA, 0)),
        ("t.diskqueue.meta.dat", ("t", Kind.METADATA, 0)),
        ("t.diskqueue.000003.dat.bad", ("t", Kind.BAD, 3)),
        ("t.diskqueue.meta.dat.5577006791947779410.tmp", ("t", Kind.TEMPORARY, 0)),
        ("t.diskqueue.0000001.dat", None),
        ("t.diskqueue.00001.dat", None),
        ("t.diskqueue.meta.dat.bad", None),
        ("t.diskqueue.000001.dat.17.tmp", None),
        (".diskqueue.000001.dat", None),
        ("nsqd.dat", None),
    ],
)
def test_file_name_tells_queue_kind_and_number(name: str, parsed: tuple[str, Kind, int] | None) -> None:
    """A name is a disk queue's only if nsqd would have written it."""
    assert parse_file_name(name) == parsed


@pytest.mark.parametrize("name, owner", [("t", ("t", None)), ("t:c", ("t", "c")), ("t;c", ("t", "c"))])
def test_queue_belongs_to_topic_or_channel(name: str, owner: tuple[str, str | None]) -> None:
    """What stands between topic and channel is a colon, on Windows a semicolon."""
    assert Queue(name, "").owner == owner


def test_files_are_gathered_by_queue() -> None:
    """Data files are in the order of their numbers, and what nsqd put aside is known."""
    names = [
        "t.diskqueue.000002.dat",
        "t.diskqueue.1000000.dat",
        "t.diskqueue.000001.dat.bad",
        "t:c.diskqueue.meta.dat",
    ]

    queues = find_queues("/somewhere", [*names, "nsqd.dat", "t:c.diskqueue.meta.dat.1.tmp"])

    assert queues["t"] == Queue("t", "/somewhere", [2, 1_000_000], False, ["t.diskqueue.000001.dat.bad"], [])
    assert queues["t:c"] == Queue("t:c", "/somewhere", [], True, [], ["t:c.diskqueue.meta.dat.1.tmp"])
    assert [each.is_alive for each in queues.values()] == [True, True]
    assert not Queue("t", "", bad=["t.diskqueue.000001.dat.bad"]).is_alive


@pytest.mark.parametrize(
    "text, metadata",
    [
        (b"3\n1,30\n2,60\n", Metadata(3, Place(1, 30), Place(2, 60))),
        (b"-3\n0,0\n0,0\n", Metadata(-3, Place(0, 0), Place(0, 0))),
        (b"3\n1,30\n2,60\nmore", Metadata(3, Place(1, 30), Place(2, 60))),
        (b"", None),
        (b"3\n1,30\n2", None),
        (b"3\n1,30\n2,", None),
        (b"\x00" * 20, None),
        (b"3\n-1,30\n2,60\n", None),
    ],
)
def test_metadata_is_three_lines(text: bytes, metadata: Metadata | None) -> None:
    """Depth, read place and write place are found, or nothing is."""
    assert parse_metadata(text) == metadata


# -- reading -------------------------------------------------------------------------------


def test_records_are_read_file_after_file(tmp_path: Path) -> None:
    """A queue that was rolled over three files is one sequence, each message with its place."""
    files = [record(b"a") + record(b"bb", 3), record(b"ccc"), record(b"d", 65_535, TIMESTAMP_NS + 1)]
    write_queue(tmp_path, "t", files, first=7)
    queue = found(tmp_path)

    records = [each for each in read_records(queue, Place(7, 0), *LIMITS) if isinstance(each, Record)]

    assert [each.place for each in records] == [Place(7, 0), Place(7, 31), Place(8, 0), Place(9, 0)]
    assert unpack_messages(records) == [
        (TIMESTAMP_NS, 0, b"a"),
        (TIMESTAMP_NS, 3, b"bb"),
        (TIMESTAMP_NS, 0, b"ccc"),
        (TIMESTAMP_NS + 1, 65_535, b"d"),
    ]


def test_reading_begins_where_nsqd_stood(tmp_path: Path) -> None:
    """What nsqd had read by its last sync is not read again, nor a file that it failed to remove."""
    write_queue(tmp_path, "t", [record(b"gone"), record(b"gone") + record(b"a"), record(b"b")], read=(1, 34))
    queue = found(tmp_path)
    metadata = parse_metadata((tmp_path / queue.metadata_file).read_bytes())

    assert metadata is not None
    assert not list(missing(queue, metadata))
    assert read(queue, first_place(queue, metadata)) == [b"a", b"b"]


def test_reading_goes_on_behind_the_last_sync(tmp_path: Path) -> None:
    """What was written since, in this file and in later ones, is read although metadata does not know of it."""
    write_queue(tmp_path, "t", [record(b"a") + record(b"b"), record(b"c")], write=(0, 31))
    queue = found(tmp_path)

    assert read(queue) == [b"a", b"b", b"c"]
    assert not list(missing(queue, Metadata(1, Place(0, 0), Place(0, 31))))


def test_queue_without_metadata_is_read_from_its_first_file(tmp_path: Path) -> None:
    """nsqd would write over what it had not synced once; here it is kept."""
    write_queue(tmp_path, "t", [record(b"a")], first=4, metadata=False)
    queue = found(tmp_path)

    assert first_place(queue, None) == Place(4, 0)
    assert read(queue, first_place(queue, None)) == [b"a"]
    assert first_place(Queue("t", ""), None) == Place(0, 0)


@pytest.mark.parametrize(
    "tail, why",
    [
        (record(b"torn")[:29], "the last record is torn"),
        (record(b"torn")[:-1], "the last record is torn"),
        (b"\x00\x00", "the last record is torn"),
        (b"\x00" * 40, "a record cannot have 0 bytes"),
        (b"\xff" * 40, "a record cannot have -1 bytes"),
        (record(b"x" * 1001, message_id=b"not a message id"), "a record of 1027 bytes would have a message id"),
        (record(b"x" * 1001, message_id=b"0E9C1F27D5C4A000"), "a record of 1027 bytes would have a message id"),
    ],
    ids=["head", "body", "length", "zeros", "negative", "id", "capitals"],
)
def test_bad_record_ends_its_file_only(tmp_path: Path, tail: bytes, why: str) -> None:
    """What is before it and in later files is read; the gap is named with its size."""
    write_queue(tmp_path, "t", [record(b"a") + tail, record(b"b")])

    gaps = [each for each in read_records(found(tmp_path), Place(0, 0), *LIMITS) if isinstance(each, Gap)]

    assert read(found(tmp_path)) == [b"a", why, b"b"]
    assert gaps == [Gap("t.diskqueue.000000.dat", 31, len(tail), why)]


def test_record_is_one_where_nsqd_takes_it_for_one(tmp_path: Path) -> None:
    """A size that is allowed is enough; above that an id is, since the limit may have been lowered."""
    files = [record(b"a", message_id=bytes(16)) + record(b"b" * 1000, message_id=bytes(16)) + record(b"c" * 1001)]
    write_queue(tmp_path, "t", files)

    assert read(found(tmp_path)) == [b"a", b"b" * 1000, b"c" * 1001]


def test_message_above_the_limit_is_the_only_one_left_out(tmp_path: Path) -> None:
    """One that cannot be taken up is passed without being read; its neighbours stay."""
    write_queue(tmp_path, "t", [record(b"a") + record(b"x" * 11) + record(b"y" * 10)])

    assert read(found(tmp_path), limits=(5, 10)) == [b"a", "its message has more than 10 bytes", b"y" * 10]


def test_place_behind_the_end_is_a_gap(tmp_path: Path) -> None:
    """A file that lost its end to a power failure has nothing at the place to read from."""
    write_queue(tmp_path, "t", [record(b"a"), record(b"b")])

    assert read(found(tmp_path), Place(0, 100)) == ["the file ends before the place to read from", b"b"]


def test_missing_files_are_counted(tmp_path: Path) -> None:
    """What metadata promises and no file has is told: files between, and the end of the last one."""
    write_queue(tmp_path, "t", [record(b"a")], first=3)
    queue = found(tmp_path)

    told = list(missing(queue, Metadata(9, Place(1, 0), Place(3, 50))))

    assert told == [
        Gap("t", 0, 0, "2 of its files are not there"),
        Gap("t.diskqueue.000003.dat", 31, 19, "the file ends before the place that its metadata names"),
    ]
    assert not list(missing(queue, Metadata(0, Place(5, 0), Place(5, 0))))  # all was read, and removed
    assert not list(missing(queue, Metadata(1, Place(2, 0), Place(3, 0))))[1:]


# -- bookmarks -----------------------------------------------------------------------------


def test_bookmark_is_found_again(tmp_path: Path) -> None:
    """Reading goes on behind the record that it names, which a text in between does not change."""
    write_queue(tmp_path, "t", [record(b"a") + record(b"b"), record(b"c")])
    queue = found(tmp_path)
    second = list(read_records(queue, Place(0, 0), *LIMITS))[1]
    assert isinstance(second, Record)

    bookmark = Bookmark.unpack(Bookmark(second.place, second.head).pack())

    assert bookmark is not None
    place = behind(queue, bookmark)
    assert place == Place(0, 62)
    assert read(queue, place) == [b"c"]


def test_bookmark_of_another_queue_is_none(tmp_path: Path) -> None:
    """A queue that nsqd began anew under the same name does not hold the record, and is read from its start."""
    write_queue(tmp_path, "t", [record(b"a")])
    queue = found(tmp_path)
    other = HEAD.pack(27, TIMESTAMP_NS + 1, 0, b"0e9c1f27d5c4a000")

    assert behind(queue, Bookmark(Place(0, 0), other)) is None
    assert behind(queue, Bookmark(Place(0, 500), other)) is None
    assert behind(queue, Bookmark(Place(1, 0), other)) is None


@pytest.mark.parametrize("text", ["", "1,2 abc\n", "1,2 " + "0" * 59, "x,2 " + "0" * 60 + "\n"])
def test_torn_bookmark_is_none(text: str) -> None:
    """What was not written whole names no place."""
    assert Bookmark.unpack(text) is None
