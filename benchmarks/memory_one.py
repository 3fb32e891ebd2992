"""In memory, one message at a time: what do topics and channels cost over a plain queue?"""

from collections.abc import Iterator

from benchmarks.duel import duel
from benchmarks.harness import Bench, Line
from benchmarks.ours import one_by_one
from benchmarks.rivals import PlainQueue


def answer(bench: Bench) -> Iterator[Line]:
    """Publish against put; receive and finish against get."""
    ours = one_by_one("memory")
    yield duel(bench, "memory: publish one", bench.publishing, ours, [PlainQueue], at_least=0.25)
    yield duel(bench, "memory: receive and finish one", bench.receiving, ours, [PlainQueue], at_least=0.15)
