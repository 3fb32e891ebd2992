"""What was measured and where, as one table for people and as JSON."""

import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import attrs

from benchmarks import table
from benchmarks.net.match import Match, Row
from benchmarks.net.servers import PEERS

FORMAT: Final = "{:<68} {:<26} {:>13} {:>13} {:>7} {:>16} {:>6}  {}"


def places(match: Match) -> dict[str, str]:
    """Machine, commit, Python, filesystem, and which nsqd.

    Raises:
        RuntimeError: If the peers are not built, or the stores would lie in memory.
    """
    where = table.places(match.bench)
    if where["filesystem"] in {"tmpfs", "ramfs"}:
        raise RuntimeError("the stores would lie in memory; name a folder on a disk with --dir")
    where["rivals"] = f"{_nsqd_version()}; A: mem-queue-size 1,000,000, B: 10,000,000, C: 0"
    where["loop"] = _uvloop_version()
    where["how"] = f"medians of {match.bench.runs} alternating runs of {match.bench.seconds:g} s, 200-byte bodies"
    return where


def _nsqd_version() -> str:
    program = PEERS / "nsqd"
    if not program.exists():
        raise RuntimeError("the real nsqd is not built: make peers")
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _uvloop_version() -> str:
    try:
        return f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        return "asyncio; uvloop is NOT INSTALLED: pip install -e '.[net]'"


def head() -> str:
    """The table's first line."""
    return FORMAT.format("work", "against nsqd", "ours", "theirs", "ratio", "limit", "aim", "")


def line(row: Row) -> str:
    """One line of the table, and below it the note."""
    words = "at least" if row.goal.is_more_better else "at most"
    plus = f"+{row.goal.allowance:,.0f}" if row.goal.allowance else ""
    text = FORMAT.format(
        row.work,
        row.against,
        _amount(row.ours, row.unit),
        _amount(row.theirs, row.unit),
        f"{row.ratio:.2f}x",
        f"{words} {row.goal.limit:g}x{plus}",
        f"{row.goal.aim:g}x",
        verdict(row),
    )
    return f"{text}\n    {row.note}" if row.note else text


def verdict(row: Row) -> str:
    """How the row ended."""
    if row.is_aim_reached:
        return "aim reached"
    return "reached" if row.is_reached else "FALLS SHORT"


def as_json(where: dict[str, str], answers: dict[str, Sequence[Row]]) -> dict[str, Any]:
    """The same for programs, every question under its file's name."""
    rows = {
        name: [attrs.asdict(each) | {"ratio": each.ratio, "verdict": verdict(each)} for each in measured]
        for name, measured in answers.items()
    }
    return {"where": where, "rows": rows}


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:,.1f}{unit}"
