"""Which nodes are open in this process: closed at exit, refused in forked children."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import Final

from nsqlite.clock import Clock, SystemClock
from nsqlite.engine import Engine
from nsqlite.errors import InvalidOptionError, NsqliteError, StorePathError
from nsqlite.options import Options, default_node_id
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage

log: Final = logging.getLogger("nsqlite")
log.addHandler(logging.NullHandler())
_engines: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()


def open_engine(path: str | os.PathLike[str] | None, options: Options, clock: Clock | None) -> Engine:
    """Make an engine on the store that path and durability ask for.

    Raises:
        InvalidOptionError: They do not go together.
        StoreError: The store cannot be opened.
    """
    durability = options.durability or ("memory" if path is None else "fsync")
    if (path is None) != (durability == "memory"):
        wanted = "a path with fsync or commit" if path is None else '"fsync" or "commit" with a path'
        raise InvalidOptionError("durability", durability, f"give {wanted}")
    clock = SystemClock() if clock is None else clock
    is_synced = durability == "fsync"
    storage: DurableStorage | InMemoryStorage
    if path is None:
        storage = InMemoryStorage(default_node_id() if options.node_id is None else options.node_id)
    elif not isinstance(os.fspath(path), str) or not os.fspath(path):
        raise StorePathError(repr(path), "give the path of a folder, as a str or a path")
    else:
        storage = DurableStorage(os.fspath(path), options, is_synced=is_synced)
    engine = Engine(storage, options, clock, is_synced=is_synced)
    _engines.add(engine)
    if path is not None:
        log.info("opened %s", path, extra={"event": "opened", "path": os.fspath(path), "durability": durability})
    return engine


def forget_engine(engine: Engine) -> None:
    """Leave it alone at exit: it is closed."""
    _engines.discard(engine)


def _close_all() -> None:
    """Journal what open nodes have not journaled yet, within a second, and let go."""
    for engine in list(_engines):
        try:
            engine.close(is_quick=True)
        except (NsqliteError, OSError) as error:
            log.warning("closing at exit failed: %s", error, extra={"event": "close_failed"})


def _forked() -> None:
    for engine in list(_engines):
        engine.forked()
    _engines.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forked)
