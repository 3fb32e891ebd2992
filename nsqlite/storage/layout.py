r"""Keys, values and journal records as bytes. Pure: no file, no lmdb.

Journal segment, little endian:

    0   8  b"nsqlite\n"
    8   4  crc32 of the rest of the header
   12   4  format version
   16  16  store id
   32   8  epoch
   40   8  segment number
   48      records, up to the end or the first that does not check

Record: one append of one turn, all or nothing:

    0   4  crc32 of the rest, seeded with the epoch
    4   4  bytes of payload
    8   8  log sequence number
   16      payload: entries, one after another

LMDB keys are big endian, so that they sort as numbers:

    meta        name                               value
    topics      topic number                       end, routed, is paused, name
    channels    topic number, channel number       cursor, is paused, name, in-flight ranges
    log         topic number, first seq            crc32 of key and rest, parts, their heads, frames
    exceptions  topic number, channel number, seq  an exception (see state.py); channel 0 is the topic
    stepped     topic number, block                bitmap (see seqset.py)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from nsqlite.run import Run, run_from_frames
from nsqlite.seqset import BLOCK_BITS, SeqSet
from nsqlite.state import ChannelState, TopicState

FORMAT_VERSION: Final = 1
MAGIC: Final = b"nsqlite\n"
CRC_PIECE_BYTES: Final = 5 * 1024
EXCEPTION_BYTES: Final = 18
BLOCK_BYTES: Final = BLOCK_BITS // 8

# -- journal -------------------------------------------------------------------------------

SEGMENT_HEAD: Final = struct.Struct("<8sII16sQQ")
_SEGMENT_BODY: Final = struct.Struct("<I16sQQ")
RECORD_HEAD: Final = struct.Struct("<IIQ")
LENGTH_LSN: Final = struct.Struct("<IQ")
CRC: Final = struct.Struct("<I")

PUBLISHED: Final = 1
ROUTED: Final = 10  # published, and routed to channels at once
TOPIC_MADE: Final = 2
TOPIC_DELETED: Final = 3
TOPIC_PAUSED: Final = 4
TOPIC_EMPTIED: Final = 5
CHANNEL_MADE: Final = 6
CHANNEL_DELETED: Final = 7
CHANNEL_PAUSED: Final = 8
CHANNEL_EMPTIED: Final = 9
ADOPTED: Final = 11  # published, and stepped over by all channels but those that are told to owe it (progress 20)
# 16 to 20 are progress: nsqlite.core.progress

PUBLISH_HEAD: Final = struct.Struct("<BIQQIqI")
PROGRESS: Final = {
    16: struct.Struct("<BIQI"),
    17: struct.Struct("<BIQIHI"),
    18: struct.Struct("<BIQI"),
    19: struct.Struct("<BIQHq"),
    20: struct.Struct("<BIQIH"),
}
_WITH_RUN: Final = (PUBLISHED, ROUTED, ADOPTED)
_NAMED: Final = struct.Struct("<BIIQB")
_NUMBERED: Final = struct.Struct("<BIIQ")


def pack_segment_head(store_id: bytes, epoch: int, number: int) -> bytes:
    """A segment's header."""
    body = _SEGMENT_BODY.pack(FORMAT_VERSION, store_id, epoch, number)
    return MAGIC + CRC.pack(zlib.crc32(body)) + body


def unpack_segment_head(head: bytes) -> tuple[bytes, int, int] | None:
    """Store id, epoch and number of a segment; None if this is no header."""
    if len(head) < SEGMENT_HEAD.size or head[:8] != MAGIC:
        return None
    _, crc, version, store_id, epoch, number = SEGMENT_HEAD.unpack_from(head)
    if zlib.crc32(head[12 : SEGMENT_HEAD.size]) != crc or version != FORMAT_VERSION:
        return None
    return store_id, epoch, number


def pack_publish(topic_number: int, run: Run, *, is_routed: bool) -> bytes:
    """The head of a run's entry; the frames follow it."""
    return pack_run_head(ROUTED if is_routed else PUBLISHED, topic_number, run)


def pack_run_head(kind: int, topic_number: int, run: Run) -> bytes:
    """As `pack_publish`, of any kind that brings a run."""
    return PUBLISH_HEAD.pack(kind, topic_number, run.first_seq, run.first_id, run.count, run.due_ns, len(run.frames))


def pack_numbered(kind: int, topic_number: int, channel_number: int = 0, value: int = 0) -> bytes:
    """An entry about a topic or channel that exists; `value` is a seq or a flag."""
    return _NUMBERED.pack(kind, topic_number, channel_number, value)


def pack_named(kind: int, topic_number: int, channel_number: int, value: int, name: str) -> bytes:
    """An entry that makes a topic or a channel; `value` is a channel's first seq."""
    raw = name.encode()
    return _NAMED.pack(kind, topic_number, channel_number, value, len(raw)) + raw


def pack_progress(progress: Sequence[tuple[int, ...]]) -> bytes:
    """Progress entries; touching hand-overs and finishes become one."""
    if len(progress) == 1:
        entry = progress[0]
        return PROGRESS[entry[0]].pack(*entry)
    merged: list[tuple[int, ...]] = []
    last: dict[int, int] = {}
    for entry in progress:
        kind = entry[0]
        if kind in (16, 18) and (at := last.get(kind)) is not None:
            _, number, first, count = merged[at]
            if number == entry[1] and first + count == entry[2] and _may_merge(merged, at, kind):
                merged[at] = (kind, number, first, count + entry[3])
                continue
        last[kind] = len(merged)
        merged.append(entry)
    return b"".join(PROGRESS[entry[0]].pack(*entry) for entry in merged)


def _may_merge(merged: list[tuple[int, ...]], at: int, kind: int) -> bool:
    """A hand-over may move ahead of finishes, a finish only over its own kind's neighbours."""
    later = merged[at + 1 :]
    if kind == 16:
        return all(entry[0] == 18 for entry in later)
    return not later


def unpack_entries(payload: bytes) -> Iterator[tuple[Any, ...]]:
    """Entries in order: a publish as (kind, topic number, run), all others as they were packed.

    Raises:
        struct.error, IndexError, KeyError: On bytes that are no entries.
    """
    at, end = 0, len(payload)
    head_size = PUBLISH_HEAD.size
    while at < end:
        kind = payload[at]
        if kind in _WITH_RUN:
            _, topic_number, first_seq, first_id, count, due_ns, length = PUBLISH_HEAD.unpack_from(payload, at)
            at += head_size
            frames = payload[at : at + length]
            at += length
            if count == 1:
                yield kind, topic_number, Run(first_seq, first_id, 1, due_ns, frames, length)
            else:
                yield kind, topic_number, run_from_frames(first_seq, first_id, count, due_ns, frames)
        elif kind in PROGRESS:
            packing = PROGRESS[kind]
            yield packing.unpack_from(payload, at)
            at += packing.size
        elif kind in (TOPIC_MADE, CHANNEL_MADE):
            _, topic_number, channel_number, value, length = _NAMED.unpack_from(payload, at)
            at += _NAMED.size
            yield kind, topic_number, channel_number, value, payload[at : at + length].decode()
            at += length
        else:
            if kind > CHANNEL_EMPTIED:
                raise KeyError(kind)
            yield _NUMBERED.unpack_from(payload, at)
            at += _NUMBERED.size


def checksum(data: bytes | memoryview, crc: int) -> int:
    """A CRC-32 that goes on from `crc`, in pieces for which zlib keeps the interpreter.

    It gives it away above 5 KiB, and getting it back beside a busy thread takes 5 ms.
    """
    if len(data) <= CRC_PIECE_BYTES:
        return zlib.crc32(data, crc)
    view = memoryview(data)
    for at in range(0, len(view), CRC_PIECE_BYTES):
        crc = zlib.crc32(view[at : at + CRC_PIECE_BYTES], crc)
    return crc


# -- LMDB ----------------------------------------------------------------------------------

TOPIC_KEY: Final = struct.Struct(">I")
CHANNEL_KEY: Final = struct.Struct(">II")
LOG_KEY: Final = struct.Struct(">IQ")
EXCEPTION_KEY: Final = struct.Struct(">IIQ")
STEPPED_KEY: Final = struct.Struct(">IQ")
_TOPIC: Final = struct.Struct("<QQB")
_CHANNEL: Final = struct.Struct("<QBB")
_RANGE: Final = struct.Struct("<QI")
_ROW_HEAD: Final = struct.Struct("<IH")
_PART: Final = struct.Struct("<QQIqI")


def pack_topic(topic: TopicState) -> bytes:
    """A topics row."""
    return _TOPIC.pack(topic.end, topic.routed, topic.is_paused) + topic.name.encode()


def unpack_topic(number: int, value: bytes) -> TopicState:
    """A topic without channels and runs."""
    end, routed, is_paused = _TOPIC.unpack_from(value)
    return TopicState(number, value[_TOPIC.size :].decode(), end, routed, bool(is_paused))


def pack_channel(channel: ChannelState) -> bytes:
    """A channels row."""
    name = channel.name.encode()
    head = _CHANNEL.pack(channel.cursor, channel.is_paused, len(name))
    ranges = [_RANGE.pack(start, stop - start) for start, stop in channel.in_flight.ranges()]
    return b"".join((head, name, *ranges))


def unpack_channel(number: int, value: bytes) -> ChannelState:
    """A channel without its exceptions."""
    cursor, is_paused, length = _CHANNEL.unpack_from(value)
    at = _CHANNEL.size + length
    channel = ChannelState(number, value[_CHANNEL.size : at].decode(), cursor, bool(is_paused))
    for start, count in _RANGE.iter_unpack(value[at:]):
        channel.in_flight.add_range(start, start + count)
    return channel


def pack_row(key: bytes, runs: Sequence[Run]) -> bytes:
    """A log row: runs in order, each with its head, under one checksum."""
    heads = [_PART.pack(run.first_seq, run.first_id, run.count, run.due_ns, len(run.frames)) for run in runs]
    head = len(runs).to_bytes(2, "little") + b"".join(heads)
    crc = zlib.crc32(head, zlib.crc32(key))
    for run in runs:
        crc = checksum(run.frames, crc)
    return b"".join((CRC.pack(crc), head, *(run.frames for run in runs)))


def unpack_row(key: bytes, value: bytes | memoryview) -> list[Run] | None:
    """The runs of a log row, or None if its checksum does not hold."""
    view = memoryview(value)
    if len(view) < _ROW_HEAD.size or checksum(view[4:], zlib.crc32(key)) != CRC.unpack_from(view)[0]:
        return None
    count = _ROW_HEAD.unpack_from(view)[1]
    at = _ROW_HEAD.size + count * _PART.size
    runs = []
    for first_seq, first_id, messages, due_ns, length in _PART.iter_unpack(view[_ROW_HEAD.size : at]):
        runs.append(run_from_frames(first_seq, first_id, messages, due_ns, bytes(view[at : at + length])))
        at += length
    return runs


def pack_block(bits: int) -> bytes:
    """A stepped row."""
    return bits.to_bytes(BLOCK_BYTES, "little")


def unpack_blocks(rows: Iterable[tuple[int, bytes]]) -> SeqSet:
    """Stepped rows as a set."""
    return SeqSet({block: int.from_bytes(value, "little") for block, value in rows})
