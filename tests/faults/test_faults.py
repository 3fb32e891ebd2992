"""Calls fail, exceptions come out of the blue, the disk is full: promises hold, and nothing hangs.

Longer runs: ``python -m tests.faults --seed S``.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.runner import CLASSES, cases, count_calls, run_cases, run_interrupts
from tests.shim import environment


@pytest.mark.parametrize("level, writes", [("fsync", "pwrite"), ("commit", "mapped")])
@pytest.mark.parametrize("error, mode", [("EIO", "once"), ("ENOSPC", "for good")])
def test_any_call_may_fail(level: str, writes: str, error: str, mode: str) -> None:
    """Whichever call fails, a publish is kept, or it raised and is nowhere, now and after opening again."""
    counts = count_calls(level, writes)

    told = list(run_cases(cases(counts, CLASSES, error, mode), level, writes))

    assert sum(each["fired"] > 0 for each in told) > len(told) // 2


@pytest.mark.parametrize("error, mode", [("EIO", "short"), ("ENOSPC", "torn")])
def test_any_write_may_be_done_by_half(error: str, mode: str) -> None:
    """A short write, and one that did half its work before it failed, are failures like others."""
    counts = count_calls("fsync", "pwrite")

    told = list(run_cases(cases(counts, ["write"], error, mode), "fsync", "pwrite"))

    assert any(each["fired"] for each in told)


def test_exceptions_out_of_the_blue() -> None:
    """After a MemoryError or KeyboardInterrupt anywhere in a turn, promises hold and nobody waits for ever."""
    seed = random.SystemRandom().randrange(1 << 31)

    told = run_interrupts(seed, 60)

    assert sum(bool(each["where"]) for each in told) > 20


def test_full_disk_refuses_publishing_alone(tmp_path: Path) -> None:
    """On a full disk receiving and finishing go on, and publishing works again after some messages were finished."""
    where = tempfile.mkdtemp(dir=tmp_path)

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.faults.full_disk", where],
        env=environment(Path(where)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["refused"] >= 1
    assert told["after"] >= 1
