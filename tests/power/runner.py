"""Recording a workload, cutting the power anywhere in it, and looking at what is left."""

from __future__ import annotations

import bisect
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from tests.power.disk import Disk, Tree, write_tree
from tests.power.promises import BODY_MARK, BrokenPromiseError, Found, Ledger, Moment, power_failure, verify
from tests.power.store import open_and_read
from tests.shim import environment, recording
from tests.shim.recording import Event, read_log

LEVELS: Final = ("fsync", "commit")
WRITES: Final = ("pwrite", "mapped")
_TIMEOUT_SECONDS: Final = 120


@attrs.frozen
class Outcome:
    """How many images of a story were opened."""

    images: int
    again: int  # of them, cut a second time while they were opened


class PowerFailureError(AssertionError):
    """An image that did not open, or did not hold what was promised."""


def run_seed(seed: int, level: str, writes: str, *, images: int, again: int = 0) -> Outcome:
    """Record the story of a seed and open images of it.

    Args:
        seed: Decides the story and the images. Threads make stories of one seed
            differ a little, so a failure also keeps its log.
        images: How many moments to cut at.
        again: How many of those images to cut a second time, during their opening.

    Raises:
        PowerFailureError: With the seed, and where the log and the image were kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="nsqlite-power-", dir=_fast_folder()))
    story = Story(folder, seed, level, writes)
    try:
        story.record()
        story.cut(images, again)
    except Exception as error:
        story.keep()
        raise PowerFailureError(
            f"seed {seed} at {level!r} with {writes!r}: {error!r}; kept in {folder}\n"
            f"again: python -m tests.power --seed {seed} --level {level} --writes {writes} --images {images}"
        ) from error
    shutil.rmtree(folder)
    return Outcome(images, story.again)


def _fast_folder() -> str | None:
    """Where images are written: memory if there is such a filesystem, since none of it must last."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


class Story:
    """One recorded workload and its images."""

    def __init__(self, folder: Path, seed: int, level: str, writes: str) -> None:
        self.folder, self.seed, self.level, self.writes = folder, seed, level, writes
        self.again = 0
        self.events: list[Event] = []
        self.ledger = Ledger()
        self._image: Tree = {}

    def record(self) -> None:
        """Run the workload under the recorder."""
        root, log = self.folder / "root", self.folder / "log"
        root.mkdir()
        run_child("tests.power.workload", root, log, str(root), str(self.seed), self.level, self.writes)
        self.events = read_log(log)
        marks = [(at, each.data.decode()) for at, each in enumerate(self.events) if each.kind == recording.MARK]
        self.ledger = Ledger.of(marks)
        if self.level == "commit":
            note_durable(self.ledger, self.events)
        shutil.rmtree(root)

    def cut(self, images: int, again: int) -> None:
        """Fail the power at many moments, and at some of them once more while the image is opened."""
        rng = random.Random(f"{self.seed} {self.level} {self.writes} cuts")
        cuts = sorted(self._moment(rng) for _ in range(images))
        chosen = set(rng.sample(range(images), min(again, images)))
        disk, at = Disk(self.folder / "root", seed=self.seed), 0
        for number, cut in enumerate(cuts):
            while at < cut:
                disk.step(at, self.events[at])
                at += 1
            self._image = disk.image(rng)
            found = self.check_image(cut)
            if number in chosen:
                self._cut_again(cut, found, rng)

    def _moment(self, rng: random.Random) -> int:
        """Anywhere; half of the time right behind a sync, a name or a mark, where an order matters."""
        cut = rng.randrange(len(self.events) if rng.random() < 0.85 else 80) + 1  # making a store is short
        if rng.random() < 0.5:
            while cut < len(self.events) and self.events[cut - 1].kind in (recording.WRITE, recording.FILE):
                cut += 1
        return cut

    def check_image(self, cut: int) -> Found:
        """Open the image at hand and hold it against the promises at `cut`."""
        where = self.folder / "image"
        write_tree(self._image, where)
        found = open_and_read(where / "store", self.level, journal_writes=self.writes)
        verify(self.ledger, self.moment(cut), found)
        shutil.rmtree(where)
        return found

    def moment(self, cut: int) -> Moment:
        """What had to be kept at a position."""
        return power_failure(self.ledger, cut, self.level)

    def _cut_again(self, cut: int, found: Found, rng: random.Random) -> None:
        """Record the opening of the image at hand, and fail the power during it."""
        start, log = self._image, self.folder / "log-again"
        root = self.folder / "again"
        write_tree(start, root)
        run_child("tests.power.opening", root, log, str(root / "store"), self.level, self.writes)
        events = read_log(log)
        shutil.rmtree(root)
        disk, at = Disk(root, start, seed=self.seed), 0
        for each in sorted(rng.randrange(len(events) + 1) for _ in range(4)):
            while at < each:
                disk.step(at, events[at])
                at += 1
            self._image = disk.image(rng)
            second = self.check_image(cut)
            if _numbers(second) != _numbers(found):
                raise BrokenPromiseError(f"cut at {cut}, then at {each} of the opening: not the content of the first")
            self.again += 1

    def keep(self) -> None:
        """Leave the image that failed beside the log."""
        where = self.folder / "failed"
        if not where.exists():
            write_tree(self._image, where)


def _numbers(found: Found) -> dict[Any, set[int]]:
    """What a store holds, and where. A channel that reading made holds what waited in its topic."""
    return {key: set(held) for key, held in (*found.channels.items(), *found.waiting.items())}


def run_child(module: str, root: Path, log: Path, *arguments: str) -> None:
    """Run a module with the shim, recording `root`.

    Raises:
        RuntimeError: If it fails, with what it printed.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", module, *arguments]
    done = subprocess.run(
        command,
        env=environment(root, log),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr[-3000:]}")


def note_durable(ledger: Ledger, events: list[Event]) -> None:
    """Note for each publish where the disk surely had its record and all records before it.

    That is behind a completed sync of its journal file that began after its answer.
    """
    journal: set[int] = set()
    synced: dict[int, list[tuple[int, int]]] = {}
    begun: dict[int, tuple[int, int]] = {}
    written: dict[int, dict[int, int]] = {}  # last message of a publish -> file -> where
    for at, event in enumerate(events):
        if event.kind == recording.FILE and event.data.endswith(b".seg"):
            journal.add(event.file)
        elif event.kind == recording.WRITE and event.file in journal:
            for found in BODY_MARK.finditer(event.data):
                written.setdefault(int(found[1]), {})[event.file] = at
        elif event.kind == recording.SYNC_BEGIN and event.file in journal and event.span is None:
            begun[event.a] = (event.file, at)
        elif event.kind == recording.SYNC_END and event.a in begun and not event.b:
            file, begin = begun.pop(event.a)
            synced.setdefault(file, []).append((begin, at))
    behind = -1
    for publish in sorted((each for each in ledger.publishes if each.ids), key=lambda each: each.ids[-1]):
        ends = []
        for file, index in written.get(publish.numbers[-1], {}).items():
            spans = synced.get(file, [])
            place = bisect.bisect_left(spans, (max(index, publish.call.end), -1))
            ends += [end for _, end in spans[place : place + 1]]
        if not ends:
            return  # never synced in the journal, so of those behind it nothing is known either
        behind = publish.durable = max(behind, *ends)


def stories(seed: int, images: int, *, each: int = 25) -> Iterator[tuple[int, str, str, int]]:
    """Share images out over seeds, levels and ways of writing."""
    number = 0
    while images > 0:
        level, writes = LEVELS[number % 2], WRITES[number // 2 % 2]
        yield seed + number // 4, level, writes, min(each, images)
        images -= each
        number += 1
