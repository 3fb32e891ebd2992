"""A store as it lies on disk, journal included, for who only looks. Nothing is written.

Used by the command's `stat`, and, by way of nsqlite.storage.check, by its `check`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from nsqlite.run import timestamp_of
from nsqlite.state import ChannelState, TopicState, unpack_exception
from nsqlite.storage.durable import copy_state, replayed
from nsqlite.storage.interface import Damage
from nsqlite.storage.journal import find_segments
from nsqlite.storage.layout import FORMAT_VERSION
from nsqlite.storage.on_lmdb import LmdbStore, Meta
from nsqlite.storage.place import Claim, find_store

SECOND_NS = 1_000_000_000


@attrs.frozen
class ChannelSummary:
    """One channel, as the next opening would find it: what was in flight waits again.

    Attributes:
        channel_name: Its name.
        depth: Messages that wait.
        deferred_count: Messages that wait for their time.
        paused: Whether it hands nothing out.
        oldest_waiting_seconds: Age of the oldest message that waits, 0.0 if none does.
    """

    channel_name: str
    depth: int
    deferred_count: int
    paused: bool
    oldest_waiting_seconds: float


@attrs.frozen
class TopicSummary:
    """One topic.

    Attributes:
        topic_name: Its name.
        depth: Messages that wait in the topic itself, for a first channel or an unpause.
        paused: Whether it routes nothing to its channels.
        channels: Its channels, by name.
    """

    topic_name: str
    depth: int
    paused: bool
    channels: tuple[ChannelSummary, ...]


@attrs.frozen
class StoreSummary:
    """A whole store.

    Attributes:
        path: Its folder.
        format_version: Of what it holds.
        store_id: Hex digits, "" for a store that nothing was settled in.
        node_id: For message ids.
        epoch: Of its journal.
        lmdb_bytes: Bytes of data.mdb.
        lmdb_used_bytes: Of those, bytes of pages that hold something; `compact` gives back the rest.
        journal_bytes: Bytes of the journal's files.
        record_count: Records of the journal that are not settled.
        topics: Its topics, by name.
    """

    path: str
    format_version: int
    store_id: str
    node_id: int
    epoch: int
    lmdb_bytes: int
    lmdb_used_bytes: int
    journal_bytes: int
    record_count: int
    topics: tuple[TopicSummary, ...]


@contextmanager
def reading(path: str) -> Iterator[LmdbStore]:
    """The tables of a store, for reading; nobody else can open it meanwhile.

    Raises:
        StorePathError, StoreLockedError, StoreDamagedError, StorageFailedError: It cannot be read.
    """
    path = find_store(path)
    claim = Claim(path, is_shared=True)
    try:
        lmdb = LmdbStore(os.path.join(path, "lmdb"), path, is_read_only=True)
        try:
            yield lmdb
        finally:
            lmdb.close()
    finally:
        claim.release()


def summarise(path: str, wall_ns: int) -> StoreSummary:
    """Count what a store holds, journal included. O(topics, channels, exceptions, journal).

    Args:
        wall_ns: Now: what is due by then counts as waiting.

    Raises:
        StoreError: It cannot be read, or not by this version.
    """
    with reading(path) as lmdb:
        meta = lmdb.read_meta() or Meta(b"", 0, 0)
        settled = lmdb.load()
        state = replayed(copy_state(settled), lmdb.store_path, meta)
        topics = sorted(state.topics.values(), key=lambda each: each.name)
        return StoreSummary(
            path=lmdb.store_path,
            format_version=FORMAT_VERSION,
            store_id=meta.store_id.hex(),
            node_id=meta.node_id,
            epoch=meta.epoch,
            lmdb_bytes=lmdb.file_bytes,
            lmdb_used_bytes=lmdb.used_bytes(),
            journal_bytes=_journal_bytes(lmdb.store_path, meta),
            record_count=state.settled - settled.settled,
            topics=tuple(_summarise_topic(lmdb, topic, wall_ns) for topic in topics),
        )


def _journal_bytes(path: str, meta: Meta) -> int:
    found, useless = find_segments(os.path.join(path, "journal"), meta.store_id, meta.epoch, path)
    return sum(each.size_bytes for each in found) + sum(map(os.path.getsize, useless))


def _summarise_topic(lmdb: LmdbStore, topic: TopicState, wall_ns: int) -> TopicSummary:
    channels = sorted(topic.channels.values(), key=lambda each: each.name)
    return TopicSummary(
        topic_name=topic.name,
        depth=topic.end - topic.routed,
        paused=topic.is_paused,
        channels=tuple(_summarise_channel(lmdb, topic, each, wall_ns) for each in channels),
    )


def _summarise_channel(lmdb: LmdbStore, topic: TopicState, channel: ChannelState, wall_ns: int) -> ChannelSummary:
    stepped = topic.stepped.count_range(channel.cursor, topic.routed)
    depth = topic.routed - channel.cursor - stepped + len(channel.in_flight)
    deferred = 0
    seqs = [topic.stepped.next_absent(channel.cursor)] if depth > len(channel.in_flight) else []
    lowest = channel.in_flight.lowest()
    if lowest is not None:
        seqs.append(lowest)
    for packed in channel.exceptions:
        due_ns, seq, count, _ = unpack_exception(packed)
        if due_ns > wall_ns:
            deferred += count
        else:
            depth += count
            seqs.append(seq)
    timestamp_ns = _timestamp(lmdb, topic, min(seqs)) if seqs else None
    return ChannelSummary(
        channel_name=channel.name,
        depth=depth,
        deferred_count=deferred,
        paused=channel.is_paused,
        oldest_waiting_seconds=0.0 if timestamp_ns is None else max(0, wall_ns - timestamp_ns) / SECOND_NS,
    )


def _timestamp(lmdb: LmdbStore, topic: TopicState, seq: int) -> int | None:
    """When a message was accepted; None if it cannot be read."""
    runs: Any = topic.runs
    if not runs or seq < runs[0].first_seq:
        runs = lmdb.read(topic.number, seq)
        if isinstance(runs, Damage):
            return None
    at = bisect_right(runs, seq, key=lambda run: run.first_seq) - 1
    run = runs[at]
    return timestamp_of(run.frame(seq - run.first_seq)) if 0 <= seq - run.first_seq < run.count else None
