"""What was measured and where, as one table for people and as JSON."""

import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import attrs

from benchmarks import table
from benchmarks.net.match import Goal, Match, Row
from benchmarks.net.servers import NSQDS, PEERS

FORMAT: Final = "{:<68} {:<26} {:>13} {:>13} {:>7} {:>16} {:>6}  {}"


def places(match: Match) -> dict[str, str]:
    """Machine, commit, Python, filesystem, and which nsqd.

    Raises:
        RuntimeError: If the peers are not built, or the stores would lie in memory.
    """
    where = table.places(match.bench)
    if where["filesystem"] in {"tmpfs", "ramfs"}:
        raise RuntimeError("the stores would lie in memory; name a folder on a disk with --dir")
    where["rivals"] = f"{_nsqd_version()}; {_queue_sizes()}"
    where["loop"] = _uvloop_version()
    where["how"] = f"medians of {match.bench.runs} alternating runs of {match.bench.seconds:g} s, 200-byte bodies"
    return where


def _nsqd_version() -> str:
    program = PEERS / "nsqd"
    if not program.exists():
        raise RuntimeError("the real nsqd is not built: make peers")
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _queue_sizes() -> str:
    return "mem-queue-size of " + ", ".join(f"{kind}: {size:,}" for kind, size in NSQDS.items())


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
    text = FORMAT.format(
        row.work,
        row.against,
        _amount(row.ours, row.unit),
        _amount(row.theirs, row.unit),
        f"{row.ratio:.2f}x",
        _limit(row.goal),
        "" if row.goal.aim is None else f"{row.goal.aim:g}x",
        verdict(row),
    )
    return f"{text}\n    {row.note}" if row.note else text


def verdict(row: Row) -> str:
    """How the row ended."""
    if row.goal.limit is None:
        return "measured"
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


def _limit(goal: Goal) -> str:
    """As a factor of theirs, with what is allowed on top; or that alone."""
    if goal.limit is None:
        return ""
    parts = [f"{goal.limit:g}x"] if goal.limit else []
    parts += [f"{goal.allowance:,.0f}"] if goal.allowance else []
    return f"{'at least' if goal.is_more_better else 'at most'} {'+'.join(parts)}"


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:,.1f}{unit}"
