"""A daemon in a process of its own, and what it says. For the tests in this folder."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nsqlite.daemon.settings import Setting

ANY_PORTS = ("-tcp-address=127.0.0.1:0", "-http-address=127.0.0.1:0")
ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-W", "error", "-m", "nsqlite")


class Daemon:
    """One that runs.

    Attributes:
        lines: What it has said so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def says(self, pattern: str) -> re.Match[str]:
        """Read its lines until one fits."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, self.lines[-1]):
                return found
        raise AssertionError(f"it ended without a line like {pattern!r}: {self.lines}")

    def port(self, kind: str) -> int:
        """The port that it says it listens on."""
        return int(self.says(rf"{kind}: listening on 127\.0\.0\.1:(\d+)")[1])

    def end(self, number: int) -> int:
        """Send it a signal, read all that it says to its end, and return its exit code."""
        assert self.process.stderr is not None
        self.process.send_signal(number)
        self.lines += self.process.stderr.read().splitlines()
        return self.process.wait()


@contextmanager
def daemon(verb: str, *flags: str, cwd: Path) -> Iterator[Daemon]:
    """Run one in a folder, on free ports."""
    command = [*COMMAND, verb, *ANY_PORTS, *flags]
    environment = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()


def table(settings: Sequence[Setting]) -> list[str]:
    """The rows that docs/commands.md has for these options."""
    rows = []
    for setting in settings:
        default = "" if setting.default in (None, setting.kind.zero) else f"`{setting.kind.show(setting.default)}`"
        told = [setting.usage]
        if setting.has_key and setting.key != setting.name.replace("-", "_"):
            told.append(f"in the file `{setting.key}`")
        if setting.note:
            told.append(setting.note)
        rows.append(f"| `--{setting.name}` | {default} | {'; '.join(told)} |")
    return rows
