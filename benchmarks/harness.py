"""Measures, alternates and takes medians; knows nothing of what it measures.

A contender is anything with ``publish(bodies)``, ``receive(count)`` and ``close()`` that is made on
an empty folder. Every measurement has a folder, and so a store, of its own; with it go its unwritten
pages, so that one contender's writing-back does not fall into the next one's time.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

import attrs

BODY_BYTES: Final = 200
BATCH: Final = 100
POOL: Final = [Random(number).randbytes(BODY_BYTES) for number in range(1000)]
PROJECT: Final = Path(__file__).resolve().parent.parent
CHUNK_SECONDS: Final = 0.02


class Contender(Protocol):
    """What can be measured by the message."""

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish each body."""

    def receive(self, count: int) -> None:
        """Receive and finish as many messages."""

    def close(self) -> None:
        """Let go of the files."""


def chosen(questions: Sequence[str]) -> Callable[[str], list[str]]:
    """What reads a command line's choice of some questions, with commas or spaces between them."""

    def read(text: str) -> list[str]:
        names = text.replace(",", " ").split()
        for name in names:
            if name not in questions:
                raise argparse.ArgumentTypeError(f"no question {name!r}; there are {', '.join(questions)}")
        return names

    return read


Make = Callable[[Path], Contender]
Measure = Callable[[], float]
Beside = Callable[[], contextlib.AbstractContextManager[None]]


@attrs.frozen
class Line:
    """One row of the table: a rate beside another.

    Attributes:
        work: What was done.
        against: Beside what.
        ours: Its rate, a second; the median of the runs.
        theirs: The other's, from the same runs.
        at_least: What ours divided by theirs must be.
        others: Rates of rivals that were slower, by name, and what could not run.
    """

    work: str
    against: str
    ours: float
    theirs: float
    at_least: float
    others: str = ""

    @property
    def ratio(self) -> float:
        """How many times their rate ours is."""
        return self.ours / self.theirs

    @property
    def is_reached(self) -> bool:
        """Whether it shows what it must."""
        return self.ratio >= self.at_least


@attrs.frozen
class Figure:
    """One quantity that stands alone.

    Attributes:
        what: What was measured.
        value: The median of the runs, or what `what` says instead.
        unit: Of the value and the limit.
        at_most: The limit; None where none was set.
        values: Of every run.
    """

    what: str
    value: float
    unit: str
    at_most: float | None
    values: Sequence[float] = ()

    @property
    def is_reached(self) -> bool:
        """Whether it keeps its limit; without one there is nothing to miss."""
        return self.at_most is None or self.value <= self.at_most


@attrs.frozen
class Bench:
    """What a question is given to answer with.

    Attributes:
        parent: Where stores go: the filesystem that is measured. None: the system's own place.
        runs: How often each measurement is taken, in turn with its rivals.
        seconds: How long one lasts, where the question fixes no amount.
    """

    parent: Path | None
    runs: int
    seconds: float

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield an empty folder, gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix="nsqlite-bench-", dir=self.parent))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publishing(self, make: Make, *, grain: int = 1, beside: Beside = contextlib.nullcontext) -> Measure:
        """Measure messages published a second: chunk after chunk until time is up.

        Args:
            make: Makes the contender.
            grain: Chunks are multiples of it, for contenders that publish by the hundred.
            beside: What goes on meanwhile.
        """

        def measure() -> float:
            with self.folder() as path:
                contender = make(path)
                try:
                    with beside():
                        return _publishing(contender.publish, grain, self.seconds)
                finally:
                    contender.close()

        return measure

    def receiving(self, make: Make, *, grain: int = 1) -> Measure:
        """Measure messages received and finished a second, of a stock published just before, unmeasured.

        The first time finds the stock that lasts about as long as a measurement should.
        """
        stock = 0

        def once(count: int) -> float:
            with self.folder() as path:
                contender = make(path)
                try:
                    contender.publish(bodies(count))
                    return _timed(contender.receive, count)
                finally:
                    contender.close()

        def measure() -> float:
            nonlocal stock
            if stock == 0:
                stock, took = grain * 64, 0.0
                while (took := once(stock)) < self.seconds / 2:
                    stock = grain * int(stock / grain * min(16, max(1.5, self.seconds / took)))
            return stock / once(stock)

        return measure

    def alternate(self, measures: Mapping[str, Measure]) -> dict[str, list[float]]:
        """Take each in turn, `runs` times round: what slows the machine down slows everybody."""
        values: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(self.runs):
            for name, measure in measures.items():
                values[name].append(measure())
        return values

    def repeat(self, story: Callable[[], dict[str, Any]]) -> dict[str, list[float]]:
        """Run a story that ends with several numbers `runs` times; gather each number's values."""
        told = [story() for _ in range(self.runs)]
        return {name: [each[name] for each in told] for name in told[0]}


def _publishing(publish: Callable[[Sequence[bytes]], None], grain: int, seconds: float) -> float:
    count, took = grain, 0.0
    while took < CHUNK_SECONDS:  # finds the chunk's size, and warms up
        count *= 2
        took = _timed(publish, bodies(count))
    chunk, published, elapsed = bodies(count), 0, 0.0
    while elapsed < seconds:
        elapsed += _timed(publish, chunk)
        published += count
    return published / elapsed


def _timed(call: Callable[[Any], None], argument: object) -> float:
    started = time.perf_counter()
    call(argument)
    return time.perf_counter() - started


def bodies(count: int) -> list[bytes]:
    """``count`` bodies; the same objects again and again, on every side."""
    whole, rest = divmod(count, len(POOL))
    return POOL * whole + POOL[:rest]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """A thread that never waits for anything, in this process: pure Python, bound to the CPU."""
    over = False

    def spin() -> None:
        number = 0
        while not over:
            number = (number * 1103515245 + 12345) & 0x7FFFFFFF

    thread = threading.Thread(target=spin, name="busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over = True
        thread.join()


def in_child(file: str, *arguments: object, killed: bool = False) -> dict[str, Any]:
    """Run a question's own file in a fresh interpreter and give back the JSON it printed.

    Args:
        file: The question's ``__file__``.
        arguments: Its command line.
        killed: Whether it is to end by SIGKILL.

    Raises:
        RuntimeError: If it ended in another way than it should.
    """
    command = [sys.executable, "-m", f"benchmarks.{Path(file).stem}", *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != (-9 if killed else 0):
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}")
    return {} if killed else json.loads(done.stdout.splitlines()[-1])


def rss_anon_bytes() -> int:
    """Anonymous memory of this process: what it has taken itself, without pages of mapped files."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def disk_bytes(path: Path) -> int:
    """What a store takes on disk: blocks, not lengths. A file that goes meanwhile counts as gone."""
    total = 0
    for each in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += each.stat().st_blocks * 512
    return total
