"""Giving disk back: a store's data written anew, without the pages that nobody needs.

LMDB's file never shrinks by itself. The copy is made in a folder beside it and takes
the file's place by one rename, so whenever this is broken off the store has either the
old file or the new one, both whole; what else is left the next opening removes.
"""

from __future__ import annotations

import os

import attrs

from nsqlite.errors import StorageFailedError, StoreError
from nsqlite.options import Options
from nsqlite.storage.durable import DurableStorage, storage_error
from nsqlite.storage.journal import sync_folder
from nsqlite.storage.on_lmdb import LmdbStore
from nsqlite.storage.place import COMPACTING, find_store, tidy


@attrs.frozen
class Compacted:
    """What a compaction did.

    Attributes:
        path: The store.
        before_bytes: Bytes of all its files before.
        after_bytes: And after.
    """

    path: str
    before_bytes: int
    after_bytes: int


def compact(path: str, options: Options | None = None) -> Compacted:
    """Settle a store that nobody has open, and give its free pages back. O(store).

    Needs room for what the store holds once more. Once this returns, the smaller store
    is on stable storage.

    Raises:
        StoreError: One of its kinds; the store holds what it held.
    """
    path = find_store(path)
    before_bytes = _size_bytes(path)
    storage = DurableStorage(path, options or Options(), is_synced=True)
    try:
        storage.restart(storage.recover())
        _copy(storage)
        storage.close_files()
        _swap(path)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise storage_error(error) from error
    finally:
        tidy(path)
        storage.close()
    return Compacted(path, before_bytes, _size_bytes(path))


def _copy(storage: DurableStorage) -> None:
    """Copy what is needed of the tables, bring the copy to stable storage, and read it back."""
    folder = os.path.join(storage.path, COMPACTING)
    os.mkdir(folder, 0o700)
    storage.lmdb.copy(folder, is_compact=True)
    sync_folder(folder)
    copied = LmdbStore(folder, storage.path, is_read_only=True)
    try:
        is_same = copied.load() == storage.lmdb.load() and copied.read_meta() == storage.lmdb.read_meta()
    finally:
        copied.close()
    if not is_same:
        raise StorageFailedError("the copy does not read back as it was written", outcome_unknown=False)


def _swap(path: str) -> None:
    """Put the copy in the place of the file. Both say the same, so there is no moment between them."""
    lmdb = os.path.join(path, "lmdb")
    lock = os.path.join(lmdb, "lock.mdb")
    if os.path.exists(lock):
        os.unlink(lock)  # it tells of readers of the old file; LMDB makes it anew
    os.rename(os.path.join(path, COMPACTING, "data.mdb"), os.path.join(lmdb, "data.mdb"))
    sync_folder(lmdb)
    os.rmdir(os.path.join(path, COMPACTING))
    sync_folder(path)


def _size_bytes(path: str) -> int:
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
