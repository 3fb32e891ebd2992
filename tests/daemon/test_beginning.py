"""A daemon's first moments."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nsqlite.daemon.beginning import SIGNALS, Ending, end_at_signals, own_signals, stamp
from tests.daemon.daemons import ANY_PORTS, ROOT

# The command, which gets a signal when it imports something for the first time that is not there at once.
EARLY = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2]:
            os.kill(os.getpid(), int(sys.argv[1]))
sys.meta_path.insert(0, Finder())
from nsqlite.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["attrs", "lmdb", "asyncio", "uvloop"])
def test_signal_while_it_starts_ends_it_in_order(tmp_path: Path, moment: str, number: int) -> None:
    """Whatever is imported at that moment: exit code 0, and a last line that says why."""
    command = [sys.executable, "-c", EARLY, str(int(number)), moment, "nsqd", *ANY_PORTS]

    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False
    )

    line = (
        rf"\[nsqd\] [\d/]{{10}} [\d:]{{8}}\.\d{{6}} INFO: {signal.Signals(number).name} before it served anybody: bye"
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(line, done.stderr.splitlines()[-1])


def test_own_signals_are_given_back() -> None:
    """But those of a process that began with them are ignored when it ends."""
    before = [signal.getsignal(number) for number in SIGNALS]
    with own_signals("prog"):
        assert [type(signal.getsignal(number)) for number in SIGNALS] == [Ending, Ending]
    assert [signal.getsignal(number) for number in SIGNALS] == before

    end_at_signals("prog")
    with own_signals("prog"):
        pass
    after = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)

    assert after == [signal.SIG_IGN, signal.SIG_IGN]


def test_stamp_has_microseconds() -> None:
    """Cut off, never rounded up into the next second."""
    assert stamp(1_600_000_000.9999994).endswith(".999999")
    assert stamp(1_600_000_000.0).endswith(".000000")
