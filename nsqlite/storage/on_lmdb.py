"""What is still owed, in LMDB. The only file that imports lmdb.

One environment, in LMDB's safe default sync mode. Write transactions belong to the
settling thread; reads come from any thread and end before the call returns.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import attrs
import lmdb

from nsqlite.errors import StorageFailedError, StoreDamagedError, StoreFullError, StoreVersionError
from nsqlite.run import Run
from nsqlite.state import ChannelState, NodeState, TopicState
from nsqlite.storage import layout
from nsqlite.storage.interface import Damage
from nsqlite.storage.settling import settle

TABLES: Final = (b"meta", b"topics", b"channels", b"log", b"exceptions", b"stepped")
LARGEST_MAP: Final = 1 << 40
SMALLEST_MAP: Final = 1 << 24
_DAMAGE: Final = (
    lmdb.BadTxnError,  # what is read after a page that could not be
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)
_T = TypeVar("_T")


@attrs.frozen
class Meta:
    """What a store knows of itself.

    Attributes:
        store_id: Sixteen random bytes, for good.
        epoch: The journal that counts.
        node_id: For message ids.
    """

    store_id: bytes
    epoch: int
    node_id: int


class LmdbStore:
    """The environment and its six tables."""

    def __init__(self, folder: str, store_path: str, *, is_read_only: bool = False) -> None:
        """Open, or make, the environment in `folder`.

        Raises:
            StoreDamagedError, StorageFailedError: It was left as it was.
        """
        self.folder = folder
        self.store_path = store_path
        self.is_read_only = is_read_only
        self._gate = threading.Lock()
        self._env: Any = None
        self._dbs: dict[bytes, Any] = {}
        self._written: dict[bytes, bytes] = {}
        self._open()

    # -- the environment ------------------------------------------------------------------

    def _open(self) -> None:
        size = _map_size()
        data = os.path.join(self.folder, "data.mdb")
        if os.path.exists(data) and os.path.getsize(data) == 0:
            raise StoreDamagedError(self.store_path, "data.mdb is empty")
        while True:
            try:
                self._env = lmdb.open(
                    self.folder,
                    map_size=size,
                    max_dbs=len(TABLES),
                    max_readers=512,
                    readonly=self.is_read_only,
                    lock=not self.is_read_only,
                    readahead=False,
                    mode=0o600,
                )
                break
            except lmdb.MemoryError:
                size //= 2
                if size < SMALLEST_MAP:
                    raise StorageFailedError("no address space for LMDB's map", outcome_unknown=False) from None
            except lmdb.Error as error:
                raise _opening_error(self.store_path, error) from error
        try:
            self._refuse_truncated()
            if not self.is_read_only:
                self._env.reader_check()
            self._open_tables()
        except lmdb.NotFoundError as error:
            self._env.close()
            raise StoreDamagedError(self.store_path, f"a table is missing ({error})") from error
        except lmdb.Error as error:
            self._env.close()
            raise _opening_error(self.store_path, error) from error
        except StoreDamagedError:
            self._env.close()
            raise

    def _open_tables(self) -> None:
        """Open all tables, or make them, all or none: who ends half-way leaves a new store.

        A reader of a new store finds none, and nothing in it.
        """
        if self._env.stat()["entries"]:
            for name in TABLES:
                self._dbs[name] = self._env.open_db(name, create=False)
        elif not self.is_read_only:
            with self._env.begin(write=True) as txn:
                for name in TABLES:
                    self._dbs[name] = self._env.open_db(name, txn=txn)

    def _refuse_truncated(self) -> None:
        """A file shorter than LMDB thinks would end the process with SIGBUS when it is read."""
        pages = self._env.info()["last_pgno"] + 1
        needed = pages * self._env.stat()["psize"]
        held = os.stat(os.path.join(self.folder, "data.mdb")).st_size
        if held < needed:
            raise StoreDamagedError(
                self.store_path, f"data.mdb has {held} bytes, {needed} are in use: it was truncated"
            )

    def reopen(self) -> None:
        """Open the environment anew, after a failed commit."""
        with self._gate:
            self._env.close()
            self._written.clear()
            self._open()

    def close(self) -> None:
        """Let go of the files."""
        with self._gate:
            self._env.close()

    @property
    def file_bytes(self) -> int:
        """Size of data.mdb."""
        return os.stat(os.path.join(self.folder, "data.mdb")).st_size

    def used_bytes(self) -> int:
        """Bytes of pages that hold something; the rest of the file is free for reuse."""
        with self._reading() as txn:
            pages = 2
            for db in self._dbs.values():
                stat = txn.stat(db)
                pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            return int(pages * self._env.stat()["psize"])

    def copy(self, folder: str, *, is_compact: bool) -> None:
        """Write a consistent copy into an empty folder, as private as this one; the file is synced.

        Raises:
            StoreFullError, StorageFailedError: What was written of it is left for the caller to remove.
        """
        try:
            with self._gate:
                self._env.copy(folder, compact=is_compact)
        except lmdb.Error as error:
            raise _writing_error(error) from error
        fd = os.open(os.path.join(folder, "data.mdb"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o600)
            os.fsync(fd)  # LMDB's own copying does not
        finally:
            os.close(fd)

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with self._gate, self._env.begin(buffers=True) as txn:
                yield txn
        except lmdb.Error as error:
            raise _opening_error(self.store_path, error) from error

    # -- reading --------------------------------------------------------------------------

    def read_meta(self) -> Meta | None:
        """What the store knows of itself; None for a new one.

        Raises:
            StoreVersionError: It is of a later format.
        """
        raw = dict(self.table(b"meta"))
        if not raw:
            return None
        version = int.from_bytes(raw[b"format"], "little")
        if version > layout.FORMAT_VERSION:
            raise StoreVersionError(self.store_path, version, layout.FORMAT_VERSION)
        return Meta(raw[b"store_id"], _number(raw, b"epoch"), _number(raw, b"node_id"))

    def load(self) -> NodeState:
        """All but the log, as of the last settlement. O(topics, channels, exceptions).

        Raises:
            StoreDamagedError: The tables do not fit together; `nsqlite check` says where.
        """
        if not self._dbs:
            return NodeState()
        try:
            return self._load()
        except (KeyError, ValueError, struct.error) as error:
            raise StoreDamagedError(self.store_path, f"a row cannot be understood ({error!r})") from error

    def _load(self) -> NodeState:
        with self._reading() as txn:
            raw = {bytes(key): bytes(value) for key, value in txn.cursor(self._dbs[b"meta"])}
            state = NodeState(_number(raw, b"settled"), _number(raw, b"last_id"), _number(raw, b"next_number", 1))
            for key, value in txn.cursor(self._dbs[b"topics"]):
                number = layout.TOPIC_KEY.unpack(key)[0]
                state.topics[number] = layout.unpack_topic(number, bytes(value))
            for key, value in txn.cursor(self._dbs[b"channels"]):
                topic_number, number = layout.CHANNEL_KEY.unpack(key)
                channel = layout.unpack_channel(number, bytes(value))
                state.topics[topic_number].channels[number] = channel
            for topic in state.topics.values():
                prefix = layout.TOPIC_KEY.pack(topic.number)
                rows = _prefixed(txn.cursor(self._dbs[b"stepped"]), prefix)
                topic.stepped = layout.unpack_blocks(
                    (layout.STEPPED_KEY.unpack(key)[1], bytes(value)) for key, value in rows
                )
                self._load_exceptions(txn, topic)
        return state

    def _load_exceptions(self, txn: Any, topic: TopicState) -> None:
        unpack = int.from_bytes
        cursor = txn.cursor(self._dbs[b"exceptions"])
        for number in (0, *topic.channels):
            rows = _prefixed(cursor, layout.CHANNEL_KEY.pack(topic.number, number))
            packed = [unpack(value, "big") for _, value in rows]
            if number == 0:
                topic.waiting = {each >> 32 & (1 << 48) - 1: each for each in packed}
                continue
            channel = topic.channels[number]
            channel.exceptions = packed
            add = channel.excepted.add_range
            start = stop = 0
            for each in packed:  # rows are in the order of seqs: neighbours go in together
                first = each >> 32 & 0xFFFFFFFFFFFF
                if first != stop:
                    add(start, stop)
                    start = first
                stop = first + (each >> 16 & 0xFFFF)
            add(start, stop)

    def read(self, topic: int, seq: int, ahead_bytes: int = 0) -> list[Run] | Damage:
        """The row around a seq, or how far one that cannot be read reaches.

        Args:
            ahead_bytes: How much of the rows behind it to read, too. One that cannot be
                read ends that; whoever needs it will ask for it.
        """
        with self._reading() as txn:
            cursor = txn.cursor(self._dbs[b"log"])
            key = layout.LOG_KEY.pack(topic, seq)
            found = cursor.set_key(key) or (cursor.prev() if cursor.set_range(key) else cursor.last())
            prefix = layout.TOPIC_KEY.pack(topic)
            start = seq
            if found and bytes(cursor.key()[:4]) == prefix:
                row_key = bytes(cursor.key())
                runs = layout.unpack_row(row_key, cursor.value())
                if runs is None:
                    start = layout.LOG_KEY.unpack(row_key)[1]
                elif any(0 <= seq - run.first_seq < run.count for run in runs):
                    return runs + _rows_behind(cursor, prefix, ahead_bytes)
                elif later := [run.first_seq for run in runs if run.first_seq > seq]:
                    return Damage(seq, later[0])
            if cursor.set_range(layout.LOG_KEY.pack(topic, seq + 1)) and bytes(cursor.key()[:4]) == prefix:
                return Damage(start, layout.LOG_KEY.unpack(cursor.key())[1])
        return Damage(start, -1)

    def table(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows of a table, as they are, in the order of their keys. For audits: holds a transaction.

        Raises:
            StoreDamagedError: LMDB cannot read on.
        """
        if not self._dbs:
            return
        with self._reading() as txn:
            for key, value in txn.cursor(self._dbs[name]):
                yield bytes(key), bytes(value)

    # -- writing --------------------------------------------------------------------------

    def settle(self, previous: NodeState, state: NodeState, meta: Meta) -> None:
        """Write a settlement: one transaction, one commit, synced.

        Raises:
            StoreFullError, StorageFailedError: The tables are as they were.
        """

        def write(txn: Any) -> None:
            tables = _Writing(txn, self._dbs, self._written)
            settle(tables, previous, state)
            tables.put_meta(meta, state)
            written.update(tables.fresh)

        written: dict[bytes, bytes] = {}
        self._write(write)
        self._written.update(written)

    def _write(self, work: Callable[[Any], _T]) -> _T:
        """Run a write transaction; grow the map when it is full, as long as there is address space."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    return work(txn)
            except lmdb.MapFullError as error:
                if not self._grow():
                    raise StoreFullError("LMDB's map cannot grow") from error
            except lmdb.Error as error:
                raise _writing_error(error) from error

    def _grow(self) -> bool:
        size = self._env.info()["map_size"] * 2
        if size > LARGEST_MAP:
            return False
        with self._gate:
            try:
                self._env.set_mapsize(size)
            except lmdb.Error:
                return False
        return True


class _Writing:
    """Tables (see nsqlite.storage.interface) inside one write transaction."""

    def __init__(self, txn: Any, dbs: dict[bytes, Any], written: dict[bytes, bytes]) -> None:
        self._txn = txn
        self._dbs = dbs
        self._written = written
        self.fresh: dict[bytes, bytes] = {}
        self._log = txn.cursor(dbs[b"log"])

    def row_starts(self, topic: int, start: int, stop: int) -> list[int]:
        """See Tables."""
        cursor, prefix = self._log, layout.TOPIC_KEY.pack(topic)
        key = layout.LOG_KEY.pack(topic, start)
        if not (cursor.set_range(key) and cursor.key() == key):
            is_before = cursor.prev() if cursor.set_range(key) else cursor.last()
            if not (is_before and cursor.key()[:4] == prefix) and not cursor.set_range(key):
                return []
        end = layout.LOG_KEY.pack(topic, stop)
        starts = []
        for each in cursor.iternext(keys=True, values=False):
            if each >= end or each[:4] != prefix:
                break
            starts.append(layout.LOG_KEY.unpack(each)[1])
        return starts

    def read_row(self, topic: int, first_seq: int) -> list[Run] | None:
        """See Tables."""
        key = layout.LOG_KEY.pack(topic, first_seq)
        return layout.unpack_row(key, self._txn.get(key, db=self._dbs[b"log"]))

    def put_row(self, topic: int, runs: Sequence[Run]) -> None:
        """See Tables."""
        key = layout.LOG_KEY.pack(topic, runs[0].first_seq)
        self._txn.put(key, layout.pack_row(key, runs), db=self._dbs[b"log"])

    def delete_row(self, topic: int, first_seq: int) -> None:
        """See Tables."""
        self._txn.delete(layout.LOG_KEY.pack(topic, first_seq), db=self._dbs[b"log"])

    def delete_topic(self, topic: int) -> None:
        """See Tables."""
        prefix = layout.TOPIC_KEY.pack(topic)
        for name in (b"topics", b"channels", b"log", b"exceptions", b"stepped"):
            self._delete_prefix(name, prefix)

    def put_state(self, state: NodeState, previous: NodeState) -> None:
        """See Tables."""
        for topic in state.topics.values():
            before = previous.topics.get(topic.number, TopicState(topic.number, topic.name))
            self._put_changed(b"topics", layout.TOPIC_KEY.pack(topic.number), layout.pack_topic(topic))
            for number in before.channels.keys() - topic.channels.keys():
                key = layout.CHANNEL_KEY.pack(topic.number, number)
                self._txn.delete(key, db=self._dbs[b"channels"])
                self._delete_prefix(b"exceptions", key)
            for channel in topic.channels.values():
                self._put_channel(topic.number, channel)
            self._put_waiting(topic, before)
            self._put_stepped(topic, before)

    def put_meta(self, meta: Meta, state: NodeState) -> None:
        """Write the meta rows; `settled` makes the journal before it worthless."""
        numbers = {
            b"format": layout.FORMAT_VERSION,
            b"epoch": meta.epoch,
            b"node_id": meta.node_id,
            b"settled": state.settled,
            b"last_id": state.last_id,
            b"next_number": state.next_number,
        }
        self._put_changed(b"meta", b"store_id", meta.store_id)
        for name, value in numbers.items():
            self._put_changed(b"meta", name, value.to_bytes(8, "little"))

    def _put_channel(self, topic: int, channel: ChannelState) -> None:
        key = layout.CHANNEL_KEY.pack(topic, channel.number)
        self._put_changed(b"channels", key, layout.pack_channel(channel))
        if channel.is_emptied:
            self._delete_prefix(b"exceptions", key)
        db = self._dbs[b"exceptions"]
        for seq in sorted(channel.changed):
            row = layout.EXCEPTION_KEY.pack(topic, channel.number, seq)
            packed = channel.changed[seq]
            if packed is None:
                self._txn.delete(row, db=db)
            else:
                self._txn.put(row, packed.to_bytes(layout.EXCEPTION_BYTES, "big"), db=db)

    def _put_waiting(self, topic: TopicState, before: TopicState) -> None:
        db = self._dbs[b"exceptions"]
        for seq in before.waiting.keys() - topic.waiting.keys():
            self._txn.delete(layout.EXCEPTION_KEY.pack(topic.number, 0, seq), db=db)
        for seq in topic.waiting.keys() - before.waiting.keys():
            value = topic.waiting[seq].to_bytes(layout.EXCEPTION_BYTES, "big")
            self._txn.put(layout.EXCEPTION_KEY.pack(topic.number, 0, seq), value, db=db)

    def _put_stepped(self, topic: TopicState, before: TopicState) -> None:
        db = self._dbs[b"stepped"]
        old, new = before.stepped.blocks, topic.stepped.blocks
        for block in old.keys() - new.keys():
            self._txn.delete(layout.STEPPED_KEY.pack(topic.number, block), db=db)
        for block, bits in new.items():
            if old.get(block) != bits:
                self._txn.put(layout.STEPPED_KEY.pack(topic.number, block), layout.pack_block(bits), db=db)

    def _put_changed(self, table: bytes, key: bytes, value: bytes) -> None:
        """Put what differs from what the last transactions wrote."""
        name = table + b"/" + key
        if self._written.get(name) != value:
            self._txn.put(key, value, db=self._dbs[table])
            self.fresh[name] = value

    def _delete_prefix(self, table: bytes, prefix: bytes) -> None:
        cursor = self._txn.cursor(self._dbs[table])
        is_found = cursor.set_range(prefix)
        while is_found and cursor.key().startswith(prefix):
            is_found = cursor.delete()


def _prefixed(cursor: Any, prefix: bytes) -> Iterator[tuple[Any, Any]]:
    if cursor.set_range(prefix):
        length = len(prefix)
        for key, value in cursor.iternext():
            if key[:length] != prefix:
                break
            yield key, value


def _rows_behind(cursor: Any, prefix: bytes, ahead_bytes: int) -> list[Run]:
    """The runs of the rows behind a cursor, as far as their bytes go."""
    found: list[Run] = []
    while ahead_bytes > 0 and cursor.next() and cursor.key()[:4] == prefix:
        value = cursor.value()
        ahead_bytes -= len(value)
        runs = layout.unpack_row(bytes(cursor.key()), value)
        if runs is None:
            break
        found += runs
    return found


def _number(raw: dict[bytes, bytes], name: bytes, default: int = 0) -> int:
    return int.from_bytes(raw[name], "little") if name in raw else default


def _map_size() -> int:
    """As large as the address space allows: a map costs nothing until it is used."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return LARGEST_MAP if limit == resource.RLIM_INFINITY else max(SMALLEST_MAP, limit // 4)


def _opening_error(path: str, error: lmdb.Error) -> StoreDamagedError | StorageFailedError:
    if isinstance(error, _DAMAGE):
        return StoreDamagedError(path, f"LMDB cannot read data.mdb ({error})")
    return StorageFailedError(f"LMDB cannot open the store: {error}", outcome_unknown=False)


def _writing_error(error: lmdb.Error) -> StoreFullError | StorageFailedError:
    if isinstance(error, lmdb.DiskError) or os.strerror(errno.ENOSPC) in str(error):
        return StoreFullError(str(error))
    return StorageFailedError(str(error), outcome_unknown=False)
