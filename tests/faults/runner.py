"""Giving every call of a story its turn to fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.shim import environment

CLASSES: Final = ("write", "sync", "rename", "truncate", "create", "fallocate", "unlink", "map")
ERRORS: Final = ("ENOSPC", "EIO")
_SPARE: Final = 3  # threads make one run longer than another
_TIMEOUT_SECONDS: Final = 500
_REPOSITORY: Final = Path(__file__).parents[2]


class FaultError(AssertionError):
    """A fault after which a promise was broken, or that hung the node."""


def count_calls(level: str, writes: str) -> dict[str, int]:
    """How many calls of each class the story makes without a fault."""
    return dict(next(run_cases([None], level, writes))["counts"])


def cases(counts: dict[str, int], classes: Iterable[str], error: str, mode: str) -> list[dict[str, Any] | None]:
    """A case for every call of these classes."""
    return [
        {"class": each, "n": n, "error": error, "mode": mode}
        for each in classes
        for n in range(1, counts[each] + _SPARE if counts[each] else 1)
    ]


def run_cases(wanted: list[dict[str, Any] | None], level: str, writes: str) -> Iterator[dict[str, Any]]:
    """Run cases in a child and yield what came of each.

    Raises:
        FaultError: If a case broke a promise, or hung; it names the case.
    """
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="nsqlite-faults-", dir=shared if shared.is_dir() else None))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.scenario", str(folder), level, writes],
            input="".join(json.dumps(case) + "\n" for case in wanted),
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    broken = [each for each in told if "broken" in each]
    if broken:
        lines = "\n".join(f"{each['case']}: {each['broken']}" for each in broken)
        lines += f"\nthe first:\n{broken[0]['where'][-4000:]}"
        raise FaultError(f"{len(broken)} of {len(wanted)} cases at {level!r} with {writes!r}:\n{lines}")
    if done.returncode or len(told) != len(wanted):
        case = wanted[len(told)] if len(told) < len(wanted) else None
        raise FaultError(f"at {level!r} with {writes!r}, {case} hung or died:\n{done.stderr[-6000:]}")
    yield from told


def run_interrupts(seed: int, count: int) -> list[dict[str, Any]]:
    """Run stories that an exception breaks off, one for each seed from `seed`.

    Raises:
        FaultError: With the seed of the story that broke a promise, or hung.
    """
    with tempfile.TemporaryDirectory(prefix="nsqlite-faults-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.interrupts", folder, str(seed), str(count)],
            cwd=_REPOSITORY,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    ended = [each for each in told if "seed" in each]
    if broken := [each for each in ended if "broken" in each]:
        raise FaultError("\n".join(f"seed {each['seed']}: {each['broken']}" for each in broken))
    if len(ended) != count:
        raise FaultError(f"seed {told[-1].get('begun')} hung or died:\n{done.stderr[-6000:]}")
    return ended
