"""At "commit", one message at a time, one thread: how far ahead of the queues people embed today?"""

from collections.abc import Iterator

from benchmarks.duel import duel
from benchmarks.harness import Bench, Line
from benchmarks.ours import one_by_one
from benchmarks.rivals import QUEUES


def answer(bench: Bench) -> Iterator[Line]:
    """Publishing, then receiving and finishing, against the fastest of them."""
    ours = one_by_one("commit")
    yield duel(bench, '"commit": publish one, one thread', bench.publishing, ours, QUEUES, at_least=5)
    yield duel(bench, '"commit": receive and finish one', bench.receiving, ours, QUEUES, at_least=5)
