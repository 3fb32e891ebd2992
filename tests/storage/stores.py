"""Stores on disk as the tests of the command need them: closed, killed, and with something wrong."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nsqlite
from nsqlite.storage.on_lmdb import LmdbStore

BODY = b"a body that is easy to find, number %04d " + b"." * 160
COUNT = 600  # three rows of about 64 KiB


def fill(node: nsqlite.Node) -> None:
    """Two topics: one with two channels, of which one has received; one with none."""
    orders = node.topic("orders")
    billing = orders.channel("billing")
    orders.channel("mail").pause()
    orders.publish_many([BODY % number for number in range(COUNT)])
    first, second, third, *rest = billing.receive_many(10, timeout=0)
    billing.finish_many(rest)
    first.requeue()
    second.requeue(delay=1000)
    third.touch()
    node.publish("lonely", b"early")
    node.publish_many("lonely", [b"late", b"later"], delay=500)


def closed_store(path: Path) -> Path:
    """A store that was closed as it should be."""
    with nsqlite.open(path, durability="commit") as node:
        fill(node)
    return path


def killed_store(path: Path) -> Path:
    """A store as SIGKILL leaves it: nothing of what was promised is settled."""
    origin = path.with_name(path.name + "-origin")
    with nsqlite.open(origin, durability="commit", settle_interval=1000.0) as node:
        fill(node)
        node.sync()
        shutil.copytree(origin, path)
    return path


def contents(path: Path) -> dict[str, tuple[int, int, str]]:
    """Every file and folder of a store: mode, time of change, and a hash of what is in it."""
    found = {}
    for folder, _, names in os.walk(path):
        for each in [Path(folder), *(Path(folder) / name for name in names)]:
            stat = each.stat()
            digest = "" if each.is_dir() else hashlib.sha256(each.read_bytes()).hexdigest()
            found[str(each.relative_to(path))] = (stat.st_mode, stat.st_mtime_ns, digest)
    return found


def flip(file: Path, at: int) -> None:
    """Flip one bit."""
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def flip_in_body(path: Path, number: int) -> None:
    """Flip one bit of a message's body, wherever LMDB has it."""
    file = path / "lmdb" / "data.mdb"
    flip(file, file.read_bytes().index(BODY[:40] % number) + 60)


@contextmanager
def tables(path: Path) -> Iterator[Any]:
    """Put and delete rows behind the store's back: yields put(table, key, value) and rows(table)."""
    store = LmdbStore(str(path / "lmdb"), str(path))
    with store._env.begin(write=True) as txn:
        yield Tables(store, txn)
    store.close()


class Tables:
    """One write transaction on a store's tables."""

    def __init__(self, store: LmdbStore, txn: Any) -> None:
        self._store = store
        self._txn = txn

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        """All rows, in order."""
        return list(self._txn.cursor(self._store._dbs[table.encode()]))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._txn.put(key, value, db=self._store._dbs[table.encode()])

    def delete(self, table: str, key: bytes) -> None:
        """Delete a row."""
        assert self._txn.delete(key, db=self._store._dbs[table.encode()])
