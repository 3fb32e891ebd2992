"""At "fsync", one message at a time, one thread: what does a promise on stable storage cost?"""

from collections.abc import Iterator

from benchmarks.harness import Bench, Line, median
from benchmarks.ours import one_by_one
from benchmarks.rivals import LmdbSyncedOne, SqliteFull


def answer(bench: Bench) -> Iterator[Line]:
    """Against a B-tree and a write-ahead log that promise the same."""
    makes = {"ours": one_by_one("fsync"), "lmdb": LmdbSyncedOne, "sqlite": SqliteFull}
    values = bench.alternate({name: bench.publishing(make) for name, make in makes.items()})
    ours, work = median(values["ours"]), '"fsync": publish one, one thread'
    yield Line(work, LmdbSyncedOne.name, ours, median(values["lmdb"]), 2)
    yield Line(work, SqliteFull.name, ours, median(values["sqlite"]), 1.1)
