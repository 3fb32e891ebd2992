"""nsqd's --data-path as the home of a store: locked as nsqd locks it, with nsqd's own files imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from nsqlite.daemon.importing import import_nsqd_files, locked_data_path
from nsqlite.errors import ImportRefusedError, StoreLockedError, StorePathError
from nsqlite.node import Node
from nsqlite.node import open as open_node
from nsqlite.options import Options
from nsqlite.storage.journal import sync_folder
from nsqlite.storage.place import STORE_NAMES, check_access, refuse_lost

log: Final = logging.getLogger("nsqlite")


class LockFailedError(ImportRefusedError):
    """The data path is not there, or another process uses it."""

    def __init__(self, path: str, why: object) -> None:
        super().__init__(path, f"failed to lock data-path: {why}")


@contextmanager
def opened_node(data_path: str, options: Options) -> Iterator[Node]:
    """A node on the store in nsqd's data path, with what nsqd left there; at "memory" on none.

    Args:
        data_path: Must be there; "" is the current folder. Other files may be in it.

    Raises:
        LockFailedError: It is not there, or an nsqd or another node uses it.
        ImportRefusedError: What nsqd left there cannot be taken over.
        StoreError: The store cannot be opened.
    """
    path = os.path.abspath(data_path or ".")
    if options.durability == "memory":
        if os.path.isfile(os.path.join(path, "lmdb", "data.mdb")):
            log.warning("the store in %s is not opened: --durability=memory", path, extra={"event": "store_ignored"})
        with open_node(options=options) as node:
            import_nsqd_files(node, path)  # refuses, if there is anything
            yield node
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_data_path(path))
        except ImportRefusedError:
            raise
        except OSError as error:
            raise LockFailedError(path, f"open {path}: {(error.strerror or str(error)).lower()}") from error
        make_room(path)
        node = stack.enter_context(_opened(path, options))
        import_nsqd_files(node, path, is_locked=True)
        yield node


def _opened(path: str, options: Options) -> Node:
    try:
        return open_node(path, options=options)
    except StoreLockedError as error:
        raise LockFailedError(path, error) from error


def make_room(path: str) -> None:
    """Let a store be made in a folder where there are other files, as nsqd's are.

    `nsqlite.open` does so only in an empty folder. Here the folder of LMDB is made first,
    by which it knows a store, unless something else has a name that the store needs.

    Raises:
        StorePathError: It has, or this user may not read and write there.
        StoreDamagedError: There was a store, whose tables are gone.
    """
    check_access(path)
    refuse_lost(path)
    names = os.listdir(path)
    lmdb = os.path.join(path, "lmdb")
    if "lmdb" in names:
        if not os.path.isdir(lmdb) or (os.listdir(lmdb) and not os.path.isfile(os.path.join(lmdb, "data.mdb"))):
            raise StorePathError(path, "what is called 'lmdb' there is no store's: move it away")
        return
    taken = [name for name in names if name in STORE_NAMES]
    if not taken or len(taken) == len(names):
        if names and not taken:
            os.mkdir(lmdb, mode=0o700)
            sync_folder(path)
        return
    raise StorePathError(path, f"{taken[0]!r} is there and no store, which would need that name: move it away")
