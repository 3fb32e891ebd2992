"""At "commit", a hundred messages a call: what is left of the speed of a bare B-tree?

The rival puts the same bodies into LMDB, a hundred a transaction, and leaves them to the operating
system. It stands on the other side of both rows: receiving has no counterpart in it.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks.harness import BATCH, Bench, Line, median
from benchmarks.ours import by_hundred
from benchmarks.rivals import LmdbUnsyncedBatch


def answer(bench: Bench) -> Iterator[Line]:
    """Both in the same runs, against the same puts."""
    publishing = partial(bench.publishing, grain=BATCH)
    values = bench.alternate(
        {
            "publish": publishing(by_hundred("commit")),
            "puts": publishing(LmdbUnsyncedBatch),
            "receive": bench.receiving(by_hundred("commit"), grain=BATCH),
        }
    )
    puts, name = median(values["puts"]), LmdbUnsyncedBatch.name
    yield Line('"commit": publish_many of 100', name, median(values["publish"]), puts, 0.7)
    yield Line('"commit": receive_many of 100, finish_many', name, median(values["receive"]), puts, 0.5)
