"""With a thread in the process that computes and never waits: what is left of publishing?

Whoever lets the interpreter's lock go waits up to 5 ms to have it back, so this counts how often a
publish does.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks.duel import duel
from benchmarks.harness import Bench, Line, busy_thread
from benchmarks.ours import one_by_one
from benchmarks.rivals import QUEUES, LmdbSyncedOne, SqliteFull


def answer(bench: Bench) -> Iterator[Line]:
    """At both levels, against the rivals of the same level under the same."""
    way = partial(bench.publishing, beside=busy_thread)
    synced = (LmdbSyncedOne, SqliteFull)
    yield duel(bench, '"commit": publish one, busy thread', way, one_by_one("commit"), QUEUES, at_least=1)
    yield duel(bench, '"fsync": publish one, busy thread', way, one_by_one("fsync"), synced, at_least=1)
