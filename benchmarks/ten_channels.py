"""What does a message cost more when ten channels are owed it instead of one?"""

from collections.abc import Iterator
from functools import partial

from benchmarks.harness import BATCH, Bench, Line, median
from benchmarks.ours import by_hundred, one_by_one


def answer(bench: Bench) -> Iterator[Line]:
    """At "commit", one by one and by the hundred."""
    for work, make, grain in (("publish one", one_by_one, 1), ("publish_many of 100", by_hundred, BATCH)):
        publishing = partial(bench.publishing, grain=grain)
        values = bench.alternate({"ten": publishing(make("commit", 10)), "one": publishing(make("commit", 1))})
        ten, one = median(values["ten"]), median(values["one"])
        yield Line(f'"commit": {work}, 10 channels', "itself, 1 channel", ten, one, 0.85)
