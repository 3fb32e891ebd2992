"""What was measured and where, as one table for people and as JSON."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.harness import BODY_BYTES, PROJECT, Bench, Figure, Line

RIVALS: Final = ("litequeue", "diskcache", "persist-queue", "huey", "lmdb")
HEADS: Final = ("work", "against", "ours", "theirs", "ratio", "at least", "")
FORMAT: Final = "{:<58} {:<34} {:>11} {:>11} {:>8} {:>9}  {}"


def places(bench: Bench, rivals: Sequence[str] = RIVALS) -> dict[str, str]:
    """Machine, commit, Python and filesystem, and who else took part in which version."""
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory()}, Linux {platform.release()}",
        "filesystem": _filesystem(bench),
        "commit": _commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "rivals": ", ".join(_version(name) for name in rivals),
        "taken": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "how": f"medians of {bench.runs} alternating runs, {BODY_BYTES}-byte bodies",
    }


def head() -> str:
    """The table's first line."""
    return FORMAT.format(*HEADS)


def row(measured: Line | Figure) -> str:
    """One line of the table, and below it what else was measured in it."""
    verdict = "reached" if measured.is_reached else "FALLS SHORT"
    if isinstance(measured, Line):
        text = FORMAT.format(
            measured.work,
            measured.against,
            f"{measured.ours:,.0f}/s",
            f"{measured.theirs:,.0f}/s",
            f"{measured.ratio:.2f}x",
            f"{measured.at_least:g}x",
            verdict,
        )
        return f"{text}\n    also: {measured.others}" if measured.others else text
    limit = "" if measured.at_most is None else f"at most {_amount(measured.at_most, measured.unit)}"
    return f"{measured.what:<93} {_amount(measured.value, measured.unit):>11} {limit:>30}  " + (
        verdict if limit else "measured"
    )


def as_json(where: dict[str, str], answers: dict[str, Sequence[Line | Figure]]) -> dict[str, Any]:
    """The same for programs, every question under its file's name."""
    rows = {
        name: [attrs.asdict(each) | {"is_reached": each.is_reached} for each in measured]
        for name, measured in answers.items()
    }
    return {"where": where, "rows": rows}


def _amount(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / (1 << 30):.0f} GiB"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = " and changes" if git("status", "--porcelain", "--", "nsqlite") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed


def _filesystem(bench: Bench) -> str:
    """The type of the mount that holds the stores: the longest mount point that is above them."""
    with bench.folder() as path:
        device = path.stat().st_dev
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for point, kind in reversed(mounts):
            if Path(point).exists() and Path(point).stat().st_dev == device:
                return kind
    return "unknown"


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} NOT INSTALLED"
