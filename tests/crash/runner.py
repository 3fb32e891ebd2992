"""Killing a process at random moments, and looking at what it leaves."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.power.promises import Ledger, killed, verify
from tests.power.store import open_and_read

KILLS_A_STORE: Final = 5
_REPOSITORY: Final = Path(__file__).parents[2]
_BESIDE: Final = 5_000_000  # numbers of the child's second thread
_PATIENCE_SECONDS: Final = 30
_IGNORED: Final = frozenset({"ready"})


class CrashError(AssertionError):
    """A killed process left a store that does not hold what was promised."""


def run_seed(seed: int, level: str, *, kills: int = KILLS_A_STORE) -> int:
    """Kill a process on one store again and again; after each kill, read a copy of the store.

    The seed decides what the child does and when it is killed, as far as the machine lets it.

    Raises:
        CrashError: With the seed, and where the store and the marks were kept.
    """
    rng = random.Random(f"{seed} {level}")
    folder = Path(tempfile.mkdtemp(prefix="nsqlite-crash-"))
    marks: list[str] = []
    try:
        for _ in range(kills):
            marks += _kill_one(folder / "store", level, rng, marks, seed)
            _look(folder, level, marks)
    except Exception as error:
        (folder / "marks").write_text("\n".join(marks))
        raise CrashError(
            f"seed {seed} at {level!r}: {error!r}; kept in {folder}\n"
            f"again: python -m tests.crash --seed {seed} --level {level} --cycles {kills}"
        ) from error
    shutil.rmtree(folder)
    return kills


def _kill_one(store: Path, level: str, rng: random.Random, before: list[str], seed: int) -> list[str]:
    """Start a child, kill it after some of its marks, and return them."""
    numbers = [json.loads(line) for line in before if '"publish"' in line]
    used = [each["first"] + each["count"] for each in numbers]
    first = max((each for each in used if each <= _BESIDE), default=1)
    beside = max((each for each in used if each > _BESIDE), default=_BESIDE + 1)
    writes = rng.choice(("pwrite", "mapped"))
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.crash.child",
            str(store),
            level,
            writes,
            str(seed),
            str(first),
            str(beside),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_REPOSITORY,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        told = _read(child.stdout.fileno(), rng.choice((1, 2, rng.randrange(300), rng.randrange(300))))
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.004)  # not always right behind a mark
        if child.poll() is not None:
            raise RuntimeError(f"the child ended by itself: {child.stderr.read().decode()[-3000:]}")
    finally:
        child.kill()
    told += child.stdout.read()
    child.wait()
    child.stdout.close()
    child.stderr.close()
    lines = told.decode().split("\n")[:-1]  # a line that is cut off was not told
    return [line for line in lines if json.loads(line)["do"] not in _IGNORED]


def _read(pipe: int, wanted: int) -> bytes:
    """Read until so many lines have come, or the other end is gone."""
    told = b""
    while told.count(b"\n") < max(1, wanted):
        if not select.select([pipe], [], [], _PATIENCE_SECONDS)[0]:
            raise TimeoutError(f"the child did nothing for {_PATIENCE_SECONDS} s; its last words: {told[-300:]!r}")
        got = os.read(pipe, 512)  # little at once, or marks that nobody read yet would be counted late
        if not got:
            break
        told += got
    return told


def _look(folder: Path, level: str, marks: list[str]) -> None:
    """Open a copy of the store, so that the next child finds it as the kill left it."""
    if not (folder / "store").exists():
        return
    copy = folder / "copy"
    shutil.copytree(folder / "store", copy)
    ledger = Ledger.of(enumerate(marks))
    verify(ledger, killed(ledger, len(marks)), open_and_read(copy, level))
    shutil.rmtree(copy)
