"""The job that the demo kills: a program that uses nsqlite, as you might write it.

One topic, two channels, all in one process: a publisher, four threads on one channel, an asyncio
task on the other. Every message goes to both channels. Nothing here prepares for being killed,
beyond the rule of every queue that delivers at least once: keep the result first, finish the
message after, and make keeping it twice harmless. Here results and archive are keyed by path.

`benchmarks.demo` starts it, kills it, starts it again, and checks what came out. It writes the paths
to publish to this process's standard input, and reads a line of JSON per event from its output.
"""

import ast
import asyncio
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nsqlite
import nsqlite.aio
from benchmarks.demo_archive import Archive

TOPIC, COUNTING, ARCHIVING = "sources", "counting", "archiving"
COUNTING_THREADS = 4

# A topic takes what it is given. The publisher waits all the same when this many messages wait to be
# counted, so that the kill finds it in the middle of its work, and not only the consumers.
MAX_WAITING = 200
BATCH = 25


def run(store: Path, root: Path, archive: Archive, paths: Sequence[str], max_msg_size: int) -> None:
    """Publish the files named by `paths`, and count and archive whatever the store holds, to the end."""
    began = time.perf_counter()
    with ThreadPoolExecutor() as pool, nsqlite.open(store, max_msg_size=max_msg_size) as node:
        tell("opened", seconds=time.perf_counter() - began)
        sources = node.topic(TOPIC)
        counting, archiving = sources.channel(COUNTING), sources.channel(ARCHIVING)
        workers = [pool.submit(count, counting) for _ in range(COUNTING_THREADS)]
        workers.append(pool.submit(asyncio.run, archive_all(node, archive)))

        publish(sources, counting, root, paths)
        wait_until_empty([counting, archiving], workers)
    # The node is closed: the consumers' loops have ended, and the pool waits for their threads.
    for worker in workers:
        worker.result()


def publish(sources: nsqlite.Topic, counting: nsqlite.Channel, root: Path, paths: Sequence[str]) -> None:
    """Publish the files. Once `publish_many` returns, not even a power failure loses a message of it."""
    for first in range(0, len(paths), BATCH):
        batch = paths[first : first + BATCH]
        while counting.depth > MAX_WAITING:
            time.sleep(0.01)
        sources.publish_many([pack(path, (root / path).read_bytes()) for path in batch])
        for path in batch:
            tell("published", path=path)


def count(counting: nsqlite.Channel) -> None:
    """Count functions and classes. One of four threads on the channel; each message goes to one of them."""
    with counting.consume() as consumer:
        for message in consumer:
            with message:  # leaving finishes the message; an exception would give it back
                path, source = unpack(message.body)
                functions, classes = count_definitions(source)
                tell("counted", path=path, attempts=message.attempts, functions=functions, classes=classes)


async def archive_all(node: nsqlite.Node, archive: Archive) -> None:
    """Append each file to the archive: the same node, from a task."""
    archiving = nsqlite.aio.face(node).topic(TOPIC).channel(ARCHIVING)
    async with archiving.consume() as consumer:
        async for message in consumer:
            async with message:
                path, source = unpack(message.body)
                archive.append(path, source)
                tell("archived", path=path, attempts=message.attempts)


def wait_until_empty(channels: Sequence[nsqlite.Channel], workers: Sequence[Future[None]]) -> None:
    """Return when every message is finished, or raise what ended a worker before that."""
    while any(channel.depth + channel.in_flight_count + channel.deferred_count for channel in channels):
        for worker in workers:
            if worker.done():
                worker.result()
        time.sleep(0.02)


def count_definitions(source: bytes) -> tuple[int, int]:
    """Return how many functions and classes a file has; the library's broken test files have none."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return 0, 0
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
    return functions, sum(isinstance(node, ast.ClassDef) for node in nodes)


def pack(path: str, source: bytes) -> bytes:
    """Return a message's body: the path, a zero byte, the content."""
    return os.fsencode(path) + b"\0" + source


def unpack(body: bytes) -> tuple[str, bytes]:
    """Return the path and the content of a message's body."""
    path, _, source = body.partition(b"\0")
    return os.fsdecode(path), source


def tell(event: str, **details: object) -> None:
    """Tell the demo what has happened, in one write, so that it is said even if the kill comes next."""
    os.write(sys.stdout.fileno(), json.dumps({"event": event, **details}).encode() + b"\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore", SyntaxWarning)  # of the library's files, not of ours
    store_path, root_path, archive_path, message_bytes = sys.argv[1:]
    with Archive(Path(archive_path)) as archive_file:
        run(Path(store_path), Path(root_path), archive_file, json.load(sys.stdin), int(message_bytes))
