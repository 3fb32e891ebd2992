"""Read-only audit of a store that nobody has open: is every promise in it kept?

What LMDB holds must fit together by itself, since it is exactly the journal up to
`settled`; what the journal adds must fit onto it. Nothing is written.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import attrs

from nsqlite.errors import StorageFailedError, StoreDamagedError
from nsqlite.ids import COUNTER_BITS
from nsqlite.names import is_ephemeral, is_valid_name
from nsqlite.run import Run
from nsqlite.seqset import BLOCK_BITS, SeqSet
from nsqlite.state import ChannelState, NodeState, TopicState, unpack_exception
from nsqlite.storage import layout
from nsqlite.storage.durable import copy_state, replayed
from nsqlite.storage.journal import find_segments, whole_records_behind
from nsqlite.storage.on_lmdb import LmdbStore, Meta
from nsqlite.storage.place import COMPACTING
from nsqlite.storage.reading import reading
from nsqlite.storage.settling import Owed

META_NAMES: Final = (b"store_id", b"format", b"epoch", b"node_id", b"settled", b"last_id", b"next_number")
BEHIND: Final = " (once the journal is applied)"
_COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
_NOT_UNDERSTOOD: Final = (AssertionError, KeyError, IndexError, ValueError, ZeroDivisionError, struct.error)


@attrs.frozen
class Fault:
    """One thing that is not as it must be.

    Attributes:
        place: Where: "store", "journal", "meta", or a topic or channel by name.
        what: A sentence on one line.
    """

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@attrs.define
class Audit:
    """What an audit found.

    Attributes:
        faults: Broken promises, and what may become one.
        notes: What is unusual, and normal after a failure.
        topic_count: Topics, as of the journal's end.
        row_count: Rows of the log.
        message_count: Messages in those rows.
        record_count: Records of the journal that are not settled.
    """

    faults: list[Fault] = attrs.Factory(list)
    notes: list[str] = attrs.Factory(list)
    topic_count: int = 0
    row_count: int = 0
    message_count: int = 0
    record_count: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def fault(self, place: str, what: str, behind: str = "") -> None:
        """Note a fault, once.

        Args:
            behind: Said after it, if it does not hold without that already.
        """
        if Fault(place, what) not in self.faults:
            self.faults.append(Fault(place, what + behind))

    @contextmanager
    def watched(self, place: str, what: str) -> Iterator[None]:
        """Turn bytes that are not understood into a fault."""
        try:
            yield
        except _NOT_UNDERSTOOD as error:
            self.fault(place, f"{what} cannot be understood ({error!r})")


def audit(path: str) -> Audit:
    """Look at everything a store holds. O(store).

    Raises:
        StorePathError, StoreLockedError, StoreVersionError: It could not be looked at.
    """
    found = Audit()
    try:
        with reading(path) as lmdb:
            _audit(lmdb, found)
    except (StoreDamagedError, StorageFailedError) as error:
        found.fault("store", error.why)
    return found


def _audit(lmdb: LmdbStore, found: Audit) -> None:
    if os.path.lexists(os.path.join(lmdb.store_path, COMPACTING)):
        found.notes.append("a compaction was broken off; the next opening removes what it left")
    meta, state = _load_meta(lmdb, found)
    if meta is None:
        return
    _load_topics(lmdb, state, found)
    _load_exceptions(lmdb, state, found)
    for fault in state_faults(state):
        found.fault(fault.place, fault.what)
    covered = _audit_log(lmdb, state, found)
    _audit_owed(state, covered, found, "")
    found.topic_count = len(state.topics)
    _audit_journal(lmdb, meta, state, covered, found)


# -- LMDB ----------------------------------------------------------------------------------


def _load_meta(lmdb: LmdbStore, found: Audit) -> tuple[Meta | None, NodeState]:
    raw = dict(lmdb.table(b"meta"))
    state = NodeState()
    if not raw:
        find_segments(os.path.join(lmdb.store_path, "journal"), b"", 0, lmdb.store_path)
        if os.path.exists(os.path.join(lmdb.store_path, "reserve")):
            found.fault("meta", "the store was in use, but data.mdb holds nothing")
        return None, state
    missing = [name.decode() for name in META_NAMES if name not in raw]
    if missing:
        found.fault("meta", f"{', '.join(missing)} missing")
        return None, state
    numbers = {name: int.from_bytes(raw[name], "little") for name in META_NAMES[1:]}
    state.settled, state.last_id, state.next_number = (
        numbers[name] for name in (b"settled", b"last_id", b"next_number")
    )
    return lmdb.read_meta(), state


def _load_topics(lmdb: LmdbStore, state: NodeState, found: Audit) -> None:
    for key, value in lmdb.table(b"topics"):
        with found.watched("topics", f"row {key.hex()}"):
            (number,) = layout.TOPIC_KEY.unpack(key)
            topic = state.topics[number] = layout.unpack_topic(number, value)
            assert layout.pack_topic(topic) == value
    for key, value in lmdb.table(b"channels"):
        with found.watched("channels", f"row {key.hex()}"):
            topic_number, number = layout.CHANNEL_KEY.unpack(key)
            channel = layout.unpack_channel(number, value)
            if _is_owned(state, topic_number, None, "channels", found):
                state.topics[topic_number].channels[number] = channel
            assert layout.pack_channel(channel) == value
    for key, value in lmdb.table(b"stepped"):
        with found.watched("stepped", f"row {key.hex()}"):
            topic_number, block = layout.STEPPED_KEY.unpack(key)
            assert len(value) == layout.BLOCK_BYTES
            if _is_owned(state, topic_number, None, "stepped", found):
                state.topics[topic_number].stepped.update(layout.unpack_blocks([(block, value)]))


def _is_owned(state: NodeState, topic_number: int, channel_number: int | None, table: str, found: Audit) -> bool:
    """Whether a row's topic and channel exist; a fault for those that do not, once."""
    topic = state.topics.get(topic_number)
    if topic is None:
        found.fault(table, f"has rows of topic number {topic_number}, which does not exist")
        return False
    if channel_number and channel_number not in topic.channels:
        found.fault(table, f"has rows of channel number {channel_number} of {_name(topic)}, which does not exist")
        return False
    return True


def _load_exceptions(lmdb: LmdbStore, state: NodeState, found: Audit) -> None:
    for key, value in lmdb.table(b"exceptions"):
        with found.watched("exceptions", f"row {key.hex()}"):
            topic_number, channel_number, key_seq = layout.EXCEPTION_KEY.unpack(key)
            packed = int.from_bytes(value, "big")
            _, seq, count, _ = unpack_exception(packed)
            assert len(value) == layout.EXCEPTION_BYTES
            assert seq == key_seq
            assert count > 0
            if not _is_owned(state, topic_number, channel_number, "exceptions", found):
                continue
            topic = state.topics[topic_number]
            if channel_number == 0:
                topic.waiting[seq] = packed
                continue
            channel = topic.channels[channel_number]
            if channel.excepted.count_range(seq, seq + count):
                found.fault(_name(topic, channel), f"exceptions overlap at seq {seq}")
            channel.exceptions.append(packed)
            channel.excepted.add_range(seq, seq + count)


# -- states --------------------------------------------------------------------------------


def state_faults(state: NodeState) -> Iterator[Fault]:
    """What does not fit together in a state. Pure."""
    taken: dict[int, str] = {}
    names: set[str] = set()
    for topic in state.topics.values():
        where = _name(topic)
        if not is_valid_name(topic.name) or is_ephemeral(topic.name):
            yield Fault(where, "no name for a topic on disk")
        if topic.name in names:
            yield Fault(where, "two topics have this name")
        names.add(topic.name)
        yield from _number_faults(state, taken, topic.number, where)
        yield from _topic_faults(topic)
        channel_names: set[str] = set()
        for channel in topic.channels.values():
            where = _name(topic, channel)
            if not is_valid_name(channel.name) or is_ephemeral(channel.name):
                yield Fault(where, "no name for a channel on disk")
            if channel.name in channel_names:
                yield Fault(where, "two channels have this name")
            channel_names.add(channel.name)
            yield from _number_faults(state, taken, channel.number, where)
            yield from _channel_faults(topic, channel)


def _number_faults(state: NodeState, taken: dict[int, str], number: int, where: str) -> Iterator[Fault]:
    if number in taken:
        yield Fault(where, f"number {number} belongs to {taken[number]} too")
    if not 0 < number < state.next_number:
        yield Fault(where, f"number {number} was never given out, the next one is {state.next_number}")
    taken[number] = where


def _topic_faults(topic: TopicState) -> Iterator[Fault]:
    where = _name(topic)
    if topic.routed > topic.end:
        yield Fault(where, f"routed to seq {topic.routed}, behind the end at {topic.end}")
    if topic.stepped and _highest(topic.stepped) >= topic.end:
        yield Fault(where, f"stretches to step over reach behind the end at {topic.end}")
    covered = SeqSet()
    for packed in topic.waiting.values():
        due_ns, seq, count, _ = unpack_exception(packed)
        if covered.count_range(seq, seq + count):
            yield Fault(where, f"delayed stretches overlap at seq {seq}")
        covered.add_range(seq, seq + count)
        if not due_ns:
            yield Fault(where, f"the stretch at seq {seq} waits for no time")
        if not topic.routed <= seq <= seq + count <= topic.end:
            yield Fault(where, f"a delayed stretch, {_seqs(seq, seq + count)}, is not between routed and end")
        elif topic.stepped.count_range(seq, seq + count) != count:
            yield Fault(where, f"a delayed stretch, {_seqs(seq, seq + count)}, is not stepped over")


def _channel_faults(topic: TopicState, channel: ChannelState) -> Iterator[Fault]:
    where = _name(topic, channel)
    if channel.cursor > topic.routed:
        yield Fault(where, f"cursor at seq {channel.cursor}, behind what is routed, {topic.routed}")
    for block, bits in channel.in_flight.blocks.items():
        if both := bits & channel.excepted.blocks.get(block, 0):
            seq = block * BLOCK_BITS + (both & -both).bit_length() - 1
            yield Fault(where, f"seq {seq} is in flight and an exception at once")
    for kind, seqs in (("in flight", channel.in_flight), ("an exception", channel.excepted)):
        for start, stop in seqs.ranges():
            fresh = max(start, channel.cursor)
            if stop > topic.routed:
                yield Fault(where, f"{_seqs(start, stop)}: {kind}, but not routed yet")
            elif fresh < stop and topic.stepped.count_range(fresh, stop) != stop - fresh:
                yield Fault(where, f"{_seqs(fresh, stop)}: {kind}, but the cursor is at {channel.cursor}")
    held = SeqSet()
    for packed in channel.exceptions:
        _, seq, count, _ = unpack_exception(packed)
        held.add_range(seq, seq + count)
    if held != channel.excepted:
        yield Fault(where, "the exceptions are not those of the messages that have one")


# -- the log -------------------------------------------------------------------------------


def _audit_log(lmdb: LmdbStore, state: NodeState, found: Audit) -> dict[int, list[tuple[int, int]]]:
    """Look at every row; return by topic which stretches rows hold, damaged ones up to the next row."""
    owed = {number: Owed(topic) for number, topic in state.topics.items()}
    covered: dict[int, list[tuple[int, int]]] = {number: [] for number in state.topics}
    damaged: tuple[int, int] | None = None
    last_ids: dict[int, int] = {}
    for key, value in lmdb.table(b"log"):
        found.row_count += 1
        if len(key) != layout.LOG_KEY.size:
            found.fault("log", f"row {key.hex()} cannot be understood")
            continue
        number, first = layout.LOG_KEY.unpack(key)
        if damaged is not None:
            next_first = first if number == damaged[0] else -1
            _note_damaged(state.topics[damaged[0]], damaged[1], next_first, covered, found)
            damaged = None
        if not _is_owned(state, number, None, "log", found):
            continue
        topic = state.topics[number]
        runs = _row_of(key, value)
        if runs is None:
            damaged = (number, first)
            continue
        found.message_count += sum(run.count for run in runs)
        _audit_row(topic, owed[number], runs, covered[number], found)
        if runs[0].first_id & _COUNTER_MASK <= last_ids.get(number, -1):
            found.fault(_name(topic), f"the ids of the row at seq {first} were given out before")
        last_ids[number] = (runs[-1].first_id + runs[-1].count - 1) & _COUNTER_MASK
        if last_ids[number] > state.last_id & _COUNTER_MASK:
            found.fault(_name(topic), f"the ids of the row at seq {first} are above the last that was given out")
    if damaged is not None:
        _note_damaged(state.topics[damaged[0]], damaged[1], -1, covered, found)
    return covered


def _note_damaged(
    topic: TopicState, first: int, stop: int, covered: dict[int, list[tuple[int, int]]], found: Audit
) -> None:
    stop = max(first + 1, topic.end if stop < 0 else stop)
    covered[topic.number].append((first, stop))
    found.fault(
        _name(topic),
        f"the row at seq {first} is damaged: of {_seqs(first, stop)}, what it held is unreadable",
    )


def _row_of(key: bytes, value: bytes) -> list[Run] | None:
    try:
        return layout.unpack_row(key, value) or None
    except _NOT_UNDERSTOOD:
        return None


def _audit_row(topic: TopicState, owed: Owed, runs: list[Run], covered: list[tuple[int, int]], found: Audit) -> None:
    where, first = _name(topic), runs[0].first_seq
    with found.watched(where, f"the row at seq {first}"):
        for run in runs:
            run.check()
    stops = [run.first_seq + run.count for run in runs]
    if any(run.first_seq < stop for run, stop in zip(runs[1:], stops, strict=False)):
        found.fault(where, f"the row at seq {first} holds a message twice")
    if covered and covered[-1][1] > first:
        found.fault(where, f"the row at seq {first} overlaps the one before it, which ends at {covered[-1][1]}")
    if stops[-1] > topic.end:
        found.fault(where, f"the row at seq {first} reaches to {stops[-1]}, behind the end at {topic.end}")
    if not any(owed.bits(run.first_seq, stop) for run, stop in zip(runs, stops, strict=True)):
        found.fault(where, f"nobody is owed anything of the row at seq {first}")
    for run, stop in zip(runs, stops, strict=True):
        if covered and covered[-1][1] == run.first_seq:
            covered[-1] = (covered[-1][0], stop)
        else:
            covered.append((run.first_seq, stop))


def _audit_owed(state: NodeState, covered: dict[int, list[tuple[int, int]]], found: Audit, behind: str) -> None:
    for number, topic in state.topics.items():
        for start, stop in uncovered(Owed(topic).ranges(topic.end), covered.get(number, [])):
            found.fault(_name(topic), f"{_seqs(start, stop)}: owed, but nothing holds it", behind)


def uncovered(ranges: Iterable[tuple[int, int]], covers: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of some ranges is in none of the others, in order. O(n log n)."""
    covered = _joined(covers)
    at = 0
    for start, stop in _joined(ranges):
        seq = start
        while seq < stop:
            while at < len(covered) and covered[at][1] <= seq:
                at += 1
            following = covered[at] if at < len(covered) else (stop, stop)
            if following[0] > seq:
                yield seq, min(stop, following[0])
            seq = max(seq, following[1])


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch or overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


# -- the journal ---------------------------------------------------------------------------


def _audit_journal(
    lmdb: LmdbStore, meta: Meta, settled: NodeState, covered: dict[int, list[tuple[int, int]]], found: Audit
) -> None:
    path = lmdb.store_path
    segments, _ = find_segments(os.path.join(path, "journal"), meta.store_id, meta.epoch, path)
    for one, other in pairwise(segments):
        if one.number == other.number:
            names = " and ".join(os.path.basename(each.path) for each in (one, other))
            found.fault("journal", f"{names} have one number")
    state = replayed(copy_state(settled), path, meta)
    found.record_count = state.settled - settled.settled
    found.topic_count = len(state.topics)
    behind = whole_records_behind(segments, meta.epoch, state.settled)
    if behind:
        found.notes.append(
            f"journal: {behind} whole records do not count, since record {state.settled + 1} before them is "
            f"torn or missing: normal after a power failure, else damage"
        )
    for fault in state_faults(state):
        found.fault(fault.place, fault.what, BEHIND)
    for number, topic in state.topics.items():
        runs = [(run.first_seq, run.first_seq + run.count) for run in topic.runs]
        for run in topic.runs:
            with found.watched("journal", f"the messages of {_name(topic)} from seq {run.first_seq} on"):
                run.check()
        covered[number] = covered.get(number, []) + runs
    _audit_owed(state, covered, found, BEHIND)


# -- words ---------------------------------------------------------------------------------


def _name(topic: TopicState, channel: ChannelState | None = None) -> str:
    return f"topic {topic.name!r}" if channel is None else f"channel {channel.name!r} of topic {topic.name!r}"


def _seqs(start: int, stop: int) -> str:
    return f"the message at seq {start}" if stop == start + 1 else f"the messages at seqs {start} to {stop - 1}"


def _highest(seqs: SeqSet) -> int:
    block: Any = max(seqs.blocks)
    return int(block * BLOCK_BITS + seqs.blocks[block].bit_length() - 1)
