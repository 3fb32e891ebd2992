"""The durable storage: a journal for the promises, LMDB for what is still owed."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final

import attrs

from nsqlite.errors import StorageFailedError, StoreDamagedError, StoreError, StoreFullError, StorePathError
from nsqlite.options import Options, default_node_id
from nsqlite.run import Run
from nsqlite.seqset import SeqSet
from nsqlite.state import ChannelState, NodeState, TopicState
from nsqlite.storage.interface import Damage
from nsqlite.storage.journal import (
    FIRST_SEGMENT_BYTES,
    Journal,
    JournalFullError,
    find_segments,
    read_records,
    sync_folder,
)
from nsqlite.storage.on_lmdb import LmdbStore, Meta
from nsqlite.storage.place import IN_PLACE_FILESYSTEMS, Claim, filesystem_of, prepare, refuse_lost, tidy
from nsqlite.storage.replay import Replay
from nsqlite.storage.segment import Segment

RESERVE_BYTES: Final = 1 << 20


class DurableStorage:
    """See nsqlite.storage.interface.Storage.

    Attributes:
        node_id: The store's own, or the one that was asked for.
        journal: Of the epoch that counts.
    """

    is_durable = True
    loads_block = True

    def __init__(self, path: str, options: Options, *, is_synced: bool) -> None:
        """Open or make the store in `path`.

        Args:
            is_synced: Whether every promise will be synced ("fsync").

        Raises:
            StoreError: One of its kinds; the store is as it was.
        """
        self.path = prepare(path, allow_network_filesystem=options.allow_network_filesystem)
        self._options = options
        self._limit_bytes = options.max_store_bytes
        self._is_synced = is_synced
        self._is_mapped = _maps(options, self.path, is_synced=is_synced)
        self._claim = Claim(self.path)
        self._journal_folder = os.path.join(self.path, "journal")
        self._reserve = os.path.join(self.path, "reserve")
        self.journal: Journal
        self._lmdb: LmdbStore | None = None
        try:
            tidy(self.path)
            os.makedirs(self._journal_folder, mode=0o700, exist_ok=True)
            folder = os.path.join(self.path, "lmdb")
            if not os.path.exists(os.path.join(folder, "data.mdb")):
                refuse_lost(self.path)
                self._make_lmdb(folder)
            self.lmdb = self._lmdb = LmdbStore(folder, self.path)
            self._meta = self._read_meta()
            if not self._meta.epoch:  # new, or never got so far: its names must last before its first promise
                sync_folder(self._lmdb.folder)
                sync_folder(self.path)
                with suppress(PermissionError):  # a folder that may be passed through but not read
                    sync_folder(os.path.dirname(self.path))
        except BaseException as error:
            self._give_up()
            if isinstance(error, OSError) and not isinstance(error, StoreError):
                raise StorageFailedError(str(error), outcome_unknown=False) from error
            raise
        self.node_id = self._meta.node_id
        self._settled = NodeState()
        self._used_bytes = 0

    def _make_lmdb(self, folder: str) -> None:
        """Make an empty environment whole or not at all: LMDB cannot open a file whose first pages are torn."""
        unfinished = folder + ".new"
        shutil.rmtree(unfinished, ignore_errors=True)
        os.mkdir(unfinished, mode=0o700)
        LmdbStore(unfinished, self.path).close()
        sync_folder(unfinished)
        os.rename(unfinished, folder)

    def _refuse_used(self, why: str) -> None:
        """Refuse to begin anew in a store that was in use: its reserve came after its first settlement."""
        if os.path.exists(self._reserve):
            raise StoreDamagedError(self.path, f"it was in use, but {why}")

    def _read_meta(self) -> Meta:
        meta = self.lmdb.read_meta()
        node_id = self._options.node_id
        if meta is None:
            self._refuse_used("lmdb/data.mdb holds nothing")
            found, _ = find_segments(self._journal_folder, b"", 0, self.path)
            assert not found
            return Meta(os.urandom(16), 0, default_node_id() if node_id is None else node_id)
        return meta if node_id is None else attrs.evolve(meta, node_id=node_id)

    def _give_up(self) -> None:
        if self._lmdb is not None:
            self._lmdb.close()
        self._claim.release()

    # -- recovery -------------------------------------------------------------------------

    def recover(self) -> NodeState:
        """What LMDB has, and behind it what the journal promised."""
        try:
            self._settled = self.lmdb.load()
            state = replayed(copy_state(self._settled), self.path, self._meta)
        except BaseException:
            self._give_up()
            raise
        return state

    def restart(self, state: NodeState) -> None:
        """Settle, and begin a new epoch with a new journal: what the old one holds is void.

        Raises:
            StoreFullError, StorageFailedError: The old epoch stands.
        """
        meta = attrs.evolve(self._meta, epoch=self._meta.epoch + 1)
        self._commit(state, meta)
        self._meta = meta
        self._drop_old_journal()
        try:
            self._ensure_reserve()
            self.journal = Journal(
                self._journal_folder,
                meta.store_id,
                meta.epoch,
                state.settled,
                is_mapped=self._is_mapped,
                is_filled=self._is_synced,
                limit_bytes=self._journal_limit(),
            )
            if self._is_synced:
                self.journal.sync()
        except OSError as error:
            raise storage_error(error) from error

    def _journal_limit(self) -> int:
        """A quarter of a limited store, so that what the journal sets aside leaves room for messages."""
        most = self._options.max_journal_bytes
        return most if self._limit_bytes is None else max(2 * FIRST_SEGMENT_BYTES, min(most, self._limit_bytes // 4))

    def _drop_old_journal(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close(is_settled=False)
        try:
            for name in os.listdir(self._journal_folder):
                os.unlink(os.path.join(self._journal_folder, name))
        except OSError:
            pass  # an old epoch's file never counts; the next opening removes it

    # -- the journal ----------------------------------------------------------------------

    def append(self, pieces: Sequence[bytes], *, is_promise: bool = True, waits_for_sync: bool = False) -> int:
        """See Storage.append."""
        if is_promise and self._limit_bytes is not None and not self._is_below_limit(sum(map(len, pieces))):
            raise StoreFullError(f"max_store_bytes={self._limit_bytes}", sum(map(len, pieces)))
        try:
            return self.journal.append(pieces, waits_for_sync=waits_for_sync)
        except JournalFullError as error:
            raise StoreFullError(str(error) or self._what_is_full(), sum(map(len, pieces))) from error
        except OSError as error:
            raise StorageFailedError(str(error), outcome_unknown=False) from error

    def _what_is_full(self) -> str:
        if self._limit_bytes is not None:
            return f"max_store_bytes={self._limit_bytes}"
        return f"no room in the journal, max_journal_bytes={self._options.max_journal_bytes}"

    def has_room(self, size_bytes: int) -> bool:
        """See Storage.has_room."""
        return self._is_below_limit(size_bytes) and self.journal.has_room(size_bytes)

    def _is_below_limit(self, size_bytes: int) -> bool:
        if self._limit_bytes is None:
            return True
        return self._used_bytes + self.journal.held_bytes + size_bytes + RESERVE_BYTES <= self._limit_bytes

    def sync(self) -> None:
        """See Storage.sync."""
        try:
            self.journal.sync()
        except OSError as error:
            raise StorageFailedError(str(error), outcome_unknown=False) from error

    # -- LMDB -----------------------------------------------------------------------------

    def read(self, topic: int, seq: int, ahead_bytes: int = 0) -> list[Run] | Damage:
        """See Storage.read."""
        return self.lmdb.read(topic, seq, ahead_bytes)

    def settle(self, state: NodeState) -> None:
        """See Storage.settle."""
        self._commit(state, self._meta)

    def _commit(self, state: NodeState, meta: Meta) -> None:
        for topic in state.topics.values():
            for channel in topic.channels.values():
                channel.gather()
        try:
            self.lmdb.settle(self._settled, state, meta)
        except (StoreFullError, StorageFailedError) as error:
            self.lmdb.reopen()
            if not (isinstance(error, StoreFullError) or self._is_disk_full()):
                raise
            self._spend_reserve()
            self._commit_again(state, meta)
        for topic in state.topics.values():
            topic.runs = ()
        self._settled = state
        self._used_bytes = self.lmdb.used_bytes()

    def _commit_again(self, state: NodeState, meta: Meta) -> None:
        try:
            self.lmdb.settle(self._settled, state, meta)
        except StoreError as error:
            self.lmdb.reopen()
            if isinstance(error, StorageFailedError) and self._is_disk_full():
                raise StoreFullError(str(error)) from error
            raise

    def _is_disk_full(self) -> bool:
        """Whether that is why a commit failed: LMDB reports a short write, which a full disk does first, as EIO."""
        free = os.statvfs(self.path)
        return free.f_bavail * free.f_frsize < RESERVE_BYTES

    def _ensure_reserve(self) -> None:
        """Make the file that is given up when the disk is full."""
        if os.path.exists(self._reserve) and os.path.getsize(self._reserve) == RESERVE_BYTES:
            return
        with open(self._reserve, "wb", buffering=0) as file:
            file.write(bytes(RESERVE_BYTES))
            os.fdatasync(file.fileno())

    def _spend_reserve(self) -> None:
        try:
            os.unlink(self._reserve)
        except OSError:
            pass  # spent already

    def renew_reserve(self) -> None:
        """Make the reserve again once there is room."""
        try:
            self._ensure_reserve()
        except OSError:
            self._spend_reserve()

    def no_sync(self) -> AbstractContextManager[object]:
        """While this is held no sync is under way, so a segment may be taken out of use."""
        return self.journal.sync_guard

    def after_settling(self, settled_lsn: int) -> list[Segment]:
        """Take settled segments out of use; return those to delete. Under the lock."""
        self.journal.release(settled_lsn)
        return self.journal.trim()

    def tidy(self, extra: list[Segment], lock: AbstractContextManager[object]) -> None:
        """Delete segments, make one ahead, renew the reserve. Without the lock, but for a moment."""
        for segment in extra:
            segment.delete()
        self.renew_reserve()
        wanted = self.journal.needs_segment()
        if wanted:
            try:
                segment = self.journal.make_ahead(wanted)
            except OSError:
                return  # publishing will say so when it comes to that
            with lock:
                self.journal.free.append(segment)

    # -- the rest -------------------------------------------------------------------------

    @property
    def store_bytes(self) -> int:
        """Bytes of LMDB, journal and reserve."""
        return self.lmdb.file_bytes + self.journal.held_bytes + RESERVE_BYTES

    def backup(self, folder: str) -> None:
        """Write a copy of what was settled, a store of its own, into a new or empty folder."""
        folder = prepare(folder, allow_network_filesystem=True)
        target = os.path.join(folder, "lmdb")
        try:
            if os.path.isdir(target):
                raise StorePathError(folder, "it holds a store already; give a new folder")
            os.makedirs(target, mode=0o700)
            self.lmdb.copy(target, is_compact=True)
            for name in (target, folder):
                sync_folder(name)
        except OSError as error:
            if not isinstance(error, StoreError):
                shutil.rmtree(target, ignore_errors=True)
                raise storage_error(error) from error
            raise

    def close(self, *, is_settled: bool = False) -> None:
        """Let go of everything; of a settled journal nothing is left."""
        try:
            self._close_journal(is_settled=is_settled)
        finally:
            self._give_up()

    def _close_journal(self, *, is_settled: bool) -> None:
        if hasattr(self, "journal"):
            self.journal.close(is_settled=is_settled)
            if is_settled:
                with suppress(OSError):  # files that come back are settled, and never count
                    sync_folder(self._journal_folder)

    def close_files(self) -> None:
        """Let go of a settled store's files, of which the journal's go, but keep the claim."""
        self._close_journal(is_settled=True)
        del self.journal
        self.lmdb.close()

    def forget(self) -> None:
        """In a forked child: close descriptors, touch nothing else."""
        self._claim.forget()
        if hasattr(self, "journal"):
            self.journal.close(is_settled=False)


def replayed(state: NodeState, path: str, meta: Meta) -> NodeState:
    """Bring a settled state forward by the journal beside it. Writes nothing."""
    segments, _ = find_segments(os.path.join(path, "journal"), meta.store_id, meta.epoch, path)
    replay = Replay(state)
    for lsn, payload in read_records(segments, meta.epoch, state.settled):
        try:
            replay.apply(lsn, payload)
        except (KeyError, IndexError, ValueError, struct.error) as error:
            raise StoreDamagedError(path, f"journal record {lsn} cannot be understood ({error!r})") from error
    return replay.finish()


def copy_state(state: NodeState) -> NodeState:
    """A state that may be changed without changing this one."""
    copied = attrs.evolve(state, topics={})
    for topic in state.topics.values():
        copied.topics[topic.number] = _copy_topic(topic)
    return copied


def _copy_topic(topic: TopicState) -> TopicState:
    return attrs.evolve(
        topic,
        stepped=topic.stepped.copy(),
        waiting=dict(topic.waiting),
        channels={number: _copy_channel(channel) for number, channel in topic.channels.items()},
    )


def _copy_channel(channel: ChannelState) -> ChannelState:
    exceptions, channel.exceptions = channel.exceptions, []
    return attrs.evolve(
        channel,
        in_flight=SeqSet(dict(channel.in_flight.blocks)),
        excepted=channel.excepted.copy(),
        exceptions=exceptions,
        changed={},
    )


def _maps(options: Options, path: str, *, is_synced: bool) -> bool:
    """Whether records are copied into mapped segments.

    A copy costs a tenth of a system call and never gives the GIL away, but makes each
    sync dearer, and on a filesystem that copies on write a full disk becomes SIGBUS.
    """
    if options.journal_writes == "auto":
        return not is_synced and filesystem_of(path) in IN_PLACE_FILESYSTEMS
    return options.journal_writes == "mapped"


def storage_error(error: OSError) -> StoreError:
    """What to raise for an error of the system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(str(error))
    return StorageFailedError(str(error), outcome_unknown=False)
