"""Runs: stretches of consecutive messages of one topic, already as NSQ writes them.

A run is the unit of the log, of delivery and of a socket's write. Its messages are
NSQ message frames with attempts = 1, one after another:

    offset  size  field
         0     4  size: of all that follows, 30 + len(body)
         4     4  frame type, 2
         8     8  timestamp, ns since the epoch, signed
        16     2  attempts
        18    16  id, hex digits
        34        body

all big endian. The ids of a run are consecutive, so its first one stands for all.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from nsqlite.ids import format_ids, halved_ids

HEAD: Final = struct.Struct(">IIqH")
FRAME_TYPE_MESSAGE: Final = 2
BODY_AT: Final = 34
ID_AT: Final = 18
TIMESTAMP_AT: Final = 8
SIZE_OVERHEAD: Final = 30
SPLIT_BYTES: Final = 64 * 1024
RUN_OVERHEAD_BYTES: Final = 400
PART_OVERHEAD_BYTES: Final = 48
WORTH_JOINING_BYTES: Final = 8 * 1024
OPEN_RUN_LIMIT: Final = 256
_SIZE: Final = struct.Struct(">I")
_TIMESTAMP: Final = struct.Struct(">q")


class Run:
    """Consecutive messages that were published together. Immutable.

    Attributes:
        first_seq: Seq of its first message in the topic's log.
        first_id: Id of its first message; the others count on from it.
        count: Messages.
        due_ns: Wall time it is delayed until, 0 if it is not delayed.
        frames: The messages' frames, joined.
        stride: Bytes of a frame if all are alike, else 0.
    """

    __slots__ = ("_offsets", "count", "due_ns", "first_id", "first_seq", "frames", "stride")

    def __init__(
        self,
        first_seq: int,
        first_id: int,
        count: int,
        due_ns: int,
        frames: bytes,
        stride: int,
        offsets: array[int] | None = None,
    ) -> None:
        self.first_seq = first_seq
        self.first_id = first_id
        self.count = count
        self.due_ns = due_ns
        self.frames = frames
        self.stride = stride
        self._offsets = offsets

    @property
    def size_bytes(self) -> int:
        """Bytes of its frames."""
        return len(self.frames)

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory, with its places in the log and the cache."""
        return len(self.frames) + RUN_OVERHEAD_BYTES

    def offset(self, index: int) -> int:
        """Where frame `index` begins; with `count`, where the last one ends."""
        if self.stride:
            return self.stride * index
        if self._offsets is None:
            self._offsets = array("I", [0, *frame_ends(self.frames)])
        return self._offsets[index]

    def frame(self, index: int) -> bytes:
        """One message's frame."""
        return self.frames[self.offset(index) : self.offset(index + 1)]

    def timestamp(self, index: int) -> int:
        """When one message was accepted, in ns since the epoch; its body is not copied."""
        timestamp_ns: int = _TIMESTAMP.unpack_from(self.frames, self.offset(index) + TIMESTAMP_AT)[0]
        return timestamp_ns

    def span(self, start: int, stop: int) -> bytes:
        """The frames start..stop, joined: what a first delivery writes."""
        return self.frames[self.offset(start) : self.offset(stop)]

    def part(self, start: int, stop: int) -> Run:
        """The messages start..stop as a run of their own."""
        if start == 0 and stop == self.count:
            return self
        return Run(
            self.first_seq + start,
            self.first_id + start,
            stop - start,
            self.due_ns,
            self.span(start, stop),
            self.stride,
        )

    def sealed(self) -> Run:
        """Itself: only an open run has to be closed first."""
        return self

    def check(self) -> None:
        """Assert that header and frames agree."""
        ends = list(frame_ends(self.frames))
        assert len(ends) == self.count > 0
        assert not self.stride or all(end == self.stride * (i + 1) for i, end in enumerate(ends))
        ids = [self.frame(i)[ID_AT:BODY_AT] for i in range(self.count)]
        assert ids == format_ids(self.first_id, self.count)


class OpenRun:
    """The run at a topic's end while single publishes add to it, frame by frame.

    It keeps frames apart, so that a publish costs one append and nothing is copied
    until the run is settled or written to a socket.
    """

    __slots__ = ("count", "first_id", "first_seq", "parts", "size_bytes")
    due_ns = 0

    def __init__(self, first_seq: int, first_id: int, frame: bytes) -> None:
        self.first_seq = first_seq
        self.first_id = first_id
        self.count = 1
        self.parts = [frame]
        self.size_bytes = len(frame)

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory, with its places in the log and the cache."""
        return self.size_bytes + RUN_OVERHEAD_BYTES + PART_OVERHEAD_BYTES * self.count

    def frame(self, index: int) -> bytes:
        """One message's frame."""
        return self.parts[index]

    def timestamp(self, index: int) -> int:
        """When one message was accepted, in ns since the epoch."""
        timestamp_ns: int = _TIMESTAMP.unpack_from(self.parts[index], TIMESTAMP_AT)[0]
        return timestamp_ns

    def span(self, start: int, stop: int) -> bytes:
        """The frames start..stop, joined."""
        return b"".join(self.parts[start:stop])

    def sealed(self) -> Run:
        """An immutable run of what is in it now. O(bytes)."""
        parts = self.parts[: self.count]
        sizes = set(map(len, parts))
        stride = sizes.pop() if len(sizes) == 1 else 0
        return Run(self.first_seq, self.first_id, len(parts), 0, b"".join(parts), stride)

    def part(self, start: int, stop: int) -> Run:
        """The messages start..stop as a run of their own."""
        return self.sealed().part(start, stop)

    def check(self) -> None:
        """Assert that its counters agree with its frames."""
        assert self.count == len(self.parts)
        assert self.size_bytes == sum(map(len, self.parts))
        self.sealed().check()


AnyRun = Run | OpenRun


def build_run(
    first_seq: int,
    first_id: int,
    bodies: Sequence[bytes],
    timestamp_ns: int,
    due_ns: int,
    sizes: Sequence[int] | None = None,
) -> Run:
    """Encode bodies, at least one, as a run.

    The only work per message between a publish and a consumer's socket: 70 ns each when all
    are alike (benchmarks/commit_batches.py), because no id is formatted and no head is packed
    for a single one. What messages of one size and with ids that differ in the last three
    digits have in common is made once.
    """
    count = len(bodies)
    if sizes is None:
        sizes = list(map(len, bodies))
    is_alike = sizes.count(sizes[0]) == count
    heads = {size: HEAD.pack(size + SIZE_OVERHEAD, FRAME_TYPE_MESSAGE, timestamp_ns, 1) for size in set(sizes)}
    pieces: list[bytes] = [b""] * (3 * count)
    pieces[2::3] = bodies
    at = 0
    for high, lows in halved_ids(first_id, count):
        end = at + len(lows)
        pieces[3 * at + 1 : 3 * end : 3] = lows
        if is_alike:
            pieces[3 * at : 3 * end : 3] = [heads[sizes[0]] + high] * len(lows)
        else:
            whole = {size: head + high for size, head in heads.items()}
            pieces[3 * at : 3 * end : 3] = [whole[size] for size in sizes[at:end]]
        at = end
    if is_alike:
        stride, offsets = sizes[0] + BODY_AT, None
    else:
        stride, offsets = 0, array("I", accumulate((size + BODY_AT for size in sizes), initial=0))
    return Run(first_seq, first_id, count, due_ns, b"".join(pieces), stride, offsets)


def build_dated_run(first_seq: int, first_id: int, bodies: Sequence[bytes], timestamps_ns: Sequence[int]) -> Run:
    """As `build_run`, of messages that were not accepted at one time; O(messages) in Python."""
    pieces: list[bytes] = []
    for text, timestamp_ns, body in zip(format_ids(first_id, len(bodies)), timestamps_ns, bodies, strict=True):
        pieces += (HEAD.pack(len(body) + SIZE_OVERHEAD, FRAME_TYPE_MESSAGE, timestamp_ns, 1), text, body)
    return run_from_frames(first_seq, first_id, len(bodies), 0, b"".join(pieces))


def split_bodies(bodies: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], Sequence[int]]]:
    """Cut a batch into stretches of about SPLIT_BYTES of frames each, in order, with their sizes."""
    sizes = list(map(len, bodies))
    if sum(sizes) + BODY_AT * len(sizes) <= SPLIT_BYTES:
        yield bodies, sizes
        return
    start, held = 0, 0
    for index, size in enumerate(sizes):
        if held and held + size + BODY_AT > SPLIT_BYTES:
            yield bodies[start:index], sizes[start:index]
            start, held = index, 0
        held += size + BODY_AT
    yield bodies[start:], sizes[start:]


def run_from_frames(first_seq: int, first_id: int, count: int, due_ns: int, frames: bytes) -> Run:
    """A run from what was stored. Whether all frames are alike is found by strided slices."""
    stride = len(frames) // count
    if stride * count == len(frames) and has_stride(frames, stride, count):
        return Run(first_seq, first_id, count, due_ns, frames, stride)
    return Run(first_seq, first_id, count, due_ns, frames, 0)


def has_stride(frames: bytes | bytearray, stride: int, count: int, start: int = 0) -> bool:
    """Whether each of `count` frames from `start` on is `stride` bytes long: four slices, whatever the count."""
    size = _SIZE.pack(stride - 4)
    stop = start + stride * count
    return all(frames[start + i : stop : stride] == size[i : i + 1] * count for i in range(4))


def frame_ends(frames: bytes) -> Iterator[int]:
    """Where each frame ends."""
    at, length = 0, len(frames)
    while at < length:
        at += _SIZE.unpack_from(frames, at)[0] + 4
        yield at


def with_attempts(frame: bytes, attempts: int) -> bytes:
    """A frame encoded again for a redelivery."""
    return frame[:16] + attempts.to_bytes(2, "big") + frame[18:]


def timestamp_of(frame: bytes) -> int:
    """The ns since the epoch at which the message was accepted."""
    return int(_TIMESTAMP.unpack_from(frame, TIMESTAMP_AT)[0])


def join_runs(runs: Sequence[AnyRun]) -> list[Run]:
    """Small neighbours whose seqs and ids go on and that are not delayed, joined to one run each."""
    joined: list[Run] = []
    group: list[Run] = []
    for each in runs:
        run = each.sealed()
        last = group[-1] if group else None
        if last is not None and not (
            last.first_seq + last.count == run.first_seq
            and last.first_id + last.count == run.first_id
            and not run.due_ns
            and not last.due_ns
            and len(run.frames) < WORTH_JOINING_BYTES
        ):
            joined.append(_joined(group))
            group = []
        group.append(run)
    if group:
        joined.append(_joined(group))
    return joined


def _joined(group: list[Run]) -> Run:
    if len(group) == 1:
        return group[0]
    first = group[0]
    count = sum(run.count for run in group)
    strides = {run.stride for run in group}
    stride = strides.pop() if len(strides) == 1 else 0
    return Run(first.first_seq, first.first_id, count, 0, b"".join(run.frames for run in group), stride)
