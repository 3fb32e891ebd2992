"""What `make peers` has built: the programs that the tests of this folder and the benchmarks run."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers"

# nsq_tail and its like print a version; the two benchmark programs know only their own flags.
VERSIONED = ("nsqd", "nsqlookupd", "nsqadmin", "nsq_tail", "nsq_to_file", "nsq_to_http", "nsq_to_nsq", "nsq_stat")
OTHERS = ("to_nsq", "bench_writer", "bench_reader")


def run(program: str, argument: str) -> str:
    """Return all that a peer says."""
    path = PEERS / program
    assert path.exists(), f"{path} is not built; `make test-interop` does it, or: make peers"
    done = subprocess.run([path, argument], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", VERSIONED)
def test_program_is_of_the_release(program: str) -> None:
    """A program of NSQ says that it is of the release that the reference describes."""
    assert re.search(r"\bv1\.3\.0\b", run(program, "--version"))


@pytest.mark.parametrize("program", OTHERS)
def test_program_runs(program: str) -> None:
    """A program without a version can be started, and lists its flags."""
    assert "-nsqd-tcp-address" in run(program, "--help")


def test_build_needs_nothing_new() -> None:
    """Once built, make has nothing to do for the peers."""
    done = subprocess.run(["make", "--question", "peers"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
