"""At "fsync": how much is won when many publish at once, or one publishes many?

The measure of all three rows is one thread that publishes one message at a time.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nsqlite
import nsqlite.aio
from benchmarks.harness import BATCH, POOL, Bench, Line, median
from benchmarks.ours import by_hundred, one_by_one

PUBLISHERS = 32


def answer(bench: Bench) -> Iterator[Line]:
    """Threads, tasks and batches in the same runs as the lone thread."""
    values = bench.alternate(
        {
            "alone": bench.publishing(one_by_one("fsync")),
            "threads": lambda: _threads(bench),
            "tasks": lambda: _tasks(bench),
            "batches": bench.publishing(by_hundred("fsync"), grain=BATCH),
        }
    )
    alone, against = median(values["alone"]), "itself, one thread publishing one"
    for name, work, at_least in (
        ("threads", f"publish one from each of {PUBLISHERS} threads", 3.5),
        ("tasks", f"publish one from each of {PUBLISHERS} asyncio tasks", 5),
        ("batches", "publish_many of 100", 40),
    ):
        yield Line(f'"fsync": {work}', against, median(values[name]), alone, at_least)


def _threads(bench: Bench) -> float:
    """Messages a second of threads that publish one after another until time is up."""
    published = [0] * PUBLISHERS
    with bench.folder() as path, nsqlite.open(path / "store", durability="fsync") as node:
        publish = _topic(node).publish
        barrier = threading.Barrier(PUBLISHERS + 1)

        def work(number: int) -> None:
            count = 0
            barrier.wait()
            while time.perf_counter() < until:
                publish(POOL[count % len(POOL)])
                count += 1
            published[number] = count

        threads = [threading.Thread(target=work, args=(number,)) for number in range(PUBLISHERS)]
        for thread in threads:
            thread.start()
        started = time.perf_counter()
        until = started + bench.seconds
        barrier.wait()
        for thread in threads:
            thread.join()
        return sum(published) / (time.perf_counter() - started)


def _tasks(bench: Bench) -> float:
    """The same of tasks in one loop."""
    with bench.folder() as path:
        return asyncio.run(_tasks_at(path, bench.seconds))


async def _tasks_at(path: Path, seconds: float) -> float:
    async with nsqlite.aio.open(path / "store", durability="fsync") as node:
        topic = node.topic("bench")
        topic.channel("channel")
        publish = topic.publish

        async def work() -> int:
            count = 0
            while time.perf_counter() < until:
                await publish(POOL[count % len(POOL)])
                count += 1
            return count

        await publish(POOL[0])
        started = time.perf_counter()
        until = started + seconds
        published = await asyncio.gather(*(work() for _ in range(PUBLISHERS)))
        return sum(published) / (time.perf_counter() - started)


def _topic(node: nsqlite.Node) -> nsqlite.Topic:
    topic = node.topic("bench")
    topic.channel("channel")
    topic.publish(POOL[0])
    return topic
