"""What others do with the same bodies, each at its own defaults.

A rival has the face of our own contenders (``ours.py``): made on an empty folder, then
``publish(bodies)``, ``receive(count)`` and ``close()``. The loops are inside, as tight on every
side, so that no row pays for a call the other does not make. Where a rival hands out and forgets
in one step (diskcache, huey), that step is its receiving and finishing.
"""

import importlib.metadata
import itertools
import queue
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import lmdb

MAP_BYTES: Final = 64 << 30  # address space only; the file grows as it is written
BATCH: Final = 100


class Rival:
    """One rival on one empty folder.

    Attributes:
        name: How the table calls it.
        distribution: What must be installed for it, None for what Python or nsqlite brings along.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish each body."""
        raise NotImplementedError

    def receive(self, count: int) -> None:
        """Receive and finish ``count`` messages, which must be there."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files."""

    @classmethod
    def missing(cls) -> str | None:
        """What has to be installed first, or None when the rival can run."""
        if cls.distribution is None:
            return None
        try:
            importlib.metadata.version(cls.distribution)
        except importlib.metadata.PackageNotFoundError:
            return cls.distribution
        return None


class PlainQueue(Rival):
    """The standard library's queue between threads, in memory."""

    name = "queue.Queue"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._queue: queue.Queue[bytes] = queue.Queue()

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Put each."""
        put = self._queue.put
        for body in bodies:
            put(body)

    def receive(self, count: int) -> None:
        """Get each."""
        get = self._queue.get
        for _ in range(count):
            get()


class Litequeue(Rival):
    """One SQLite table, WAL, synchronous=NORMAL."""

    name = "litequeue"
    distribution = "litequeue"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import litequeue

        self._queue: Any = litequeue.LiteQueue(str(path / "queue.db"))

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Put each."""
        put = self._queue.put
        for body in bodies:
            put(body)

    def receive(self, count: int) -> None:
        """Pop each and mark it done."""
        pop, done = self._queue.pop, self._queue.done
        for _ in range(count):
            done(pop().message_id)

    def close(self) -> None:
        """Close the connection."""
        self._queue.close()


class DiskcacheDeque(Rival):
    """A deque in diskcache's SQLite, synchronous=NORMAL."""

    name = "diskcache.Deque"
    distribution = "diskcache"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import diskcache

        self._deque: Any = diskcache.Deque(directory=str(path))

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Append each."""
        append = self._deque.append
        for body in bodies:
            append(body)

    def receive(self, count: int) -> None:
        """Pop each off the left; that forgets it."""
        popleft = self._deque.popleft
        for _ in range(count):
            popleft()

    def close(self) -> None:
        """Close the cache below."""
        self._deque.cache.close()


class PersistQueueFile(Rival):
    """persist-queue's file queue: chunk files, and a small info file replaced at every step."""

    name = "persist-queue (file)"
    distribution = "persist-queue"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import persistqueue

        self._queue: Any = persistqueue.Queue(str(path / "queue"))

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Put each."""
        put = self._queue.put
        for body in bodies:
            put(body)

    def receive(self, count: int) -> None:
        """Get each and call it done."""
        get, task_done = self._queue.get, self._queue.task_done
        for _ in range(count):
            get()
            task_done()


class PersistQueueSqlite(Rival):
    """persist-queue's SQLite queue with acknowledgements."""

    name = "persist-queue (SQLite)"
    distribution = "persist-queue"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import persistqueue

        self._queue: Any = persistqueue.SQLiteAckQueue(str(path / "queue"))

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Put each."""
        put = self._queue.put
        for body in bodies:
            put(body)

    def receive(self, count: int) -> None:
        """Get each and acknowledge it."""
        get, ack = self._queue.get, self._queue.ack
        for _ in range(count):
            item = get(raw=True)
            ack(id=item["pqid"])

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()


class HueyStorage(Rival):
    """huey's SQLite storage, below its tasks: bytes in, bytes out."""

    name = "huey SqliteStorage"
    distribution = "huey"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        from huey.storage import SqliteStorage

        self._storage: Any = SqliteStorage("queue", filename=str(path / "huey.db"))

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Enqueue each."""
        enqueue = self._storage.enqueue
        for body in bodies:
            enqueue(body)

    def receive(self, count: int) -> None:
        """Dequeue each; that forgets it."""
        dequeue = self._storage.dequeue
        for _ in range(count):
            dequeue()

    def close(self) -> None:
        """Close the connection."""
        self._storage.close()


class SqliteFull(Rival):
    """A bare SQLite table, WAL, synchronous=FULL, one insert a transaction."""

    name = "SQLite, WAL, FULL"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection = sqlite3.connect(path / "plain.db", isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute("create table messages (id integer primary key, body blob not null)")

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Insert each; without a BEGIN every statement is its own transaction."""
        execute = self._connection.execute
        for body in bodies:
            execute("insert into messages (body) values (?)", (body,))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class RawLmdb(Rival):
    """LMDB and nothing above it: a big-endian number as the key, the body as the value."""

    sync: ClassVar[bool]
    batch: ClassVar[int]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._env = lmdb.open(str(path), map_size=MAP_BYTES, sync=self.sync)
        self._keys = _keys()

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Put ``batch`` of them a transaction."""
        begin, batch, keys = self._env.begin, self.batch, self._keys
        for start in range(0, len(bodies), batch):
            with begin(write=True) as txn:
                put = txn.put
                for body in bodies[start : start + batch]:
                    put(next(keys), body)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class LmdbSyncedOne(RawLmdb):
    """One put a transaction, each on stable storage."""

    name, sync, batch = "LMDB, one put, sync", True, 1


class LmdbUnsyncedBatch(RawLmdb):
    """A hundred puts a transaction, left to the operating system."""

    name, sync, batch = "LMDB, 100 puts, no sync", False, BATCH


class LmdbUnsyncedOne(RawLmdb):
    """One put a transaction, left to the operating system."""

    name, sync, batch = "LMDB, one put, no sync", False, 1


QUEUES: Final[tuple[type[Rival], ...]] = (
    Litequeue,
    DiskcacheDeque,
    PersistQueueFile,
    PersistQueueSqlite,
    HueyStorage,
)


def _keys() -> Iterator[bytes]:
    """Eight bytes, big-endian, rising, as a log over LMDB would have them; made without a Python call."""
    return map(struct.Struct(">Q").pack, itertools.count())
