"""Asks every question about the listener, or those named. Exits with 1 if a row falls short or fails."""

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bench, chosen
from benchmarks.net import rows
from benchmarks.net.match import Match, Row

# In the order of the table.
QUESTIONS = (
    "writer_memory",
    "writer_commit",
    "writer_fsync",
    "reader_memory",
    "reader_settled",
    "writer_one",
    "both_ways",
    "fifty",
    "latency",
    "waiting",
    "idle",
)


def main() -> int:
    """Ask, and print each answer as it comes."""
    arguments = _arguments()
    match = Match(Bench(arguments.dir, arguments.runs, arguments.seconds), arguments.without_uvloop)
    where = rows.places(match)
    for name, text in where.items():
        print(f"{name + ':':<12}{text}")
    print(f"\n{rows.head()}", flush=True)
    answers: dict[str, list[Row]] = {}
    failed = [name for name in arguments.rows or QUESTIONS if not _answered(name, match, answers)]
    measured = [row for each in answers.values() for row in each]
    short = sum(not row.is_reached for row in measured)
    aimed = sum(row.is_aim_reached for row in measured)
    print(f"\n{short} of {len(measured)} fall short, {aimed} reach the aim")
    if failed:
        print(f"not answered, since an error ended them: {', '.join(failed)}")
    if arguments.json:
        text = json.dumps(rows.as_json(where, answers), indent=2)
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    return 1 if short or failed else 0


def _answered(name: str, match: Match, answers: dict[str, list[Row]]) -> bool:
    """Ask one question and print its rows; one that fails leaves the others alone."""
    answers[name] = []
    started = time.monotonic()
    try:
        for row in _ask(name, match):
            answers[name].append(row)
            print(rows.line(row), flush=True)
    except Exception:  # noqa: BLE001 - one question that fails must not take the others' answers along
        traceback.print_exc()
        return False
    print(f"    {name} took {time.monotonic() - started:.0f} s", flush=True)
    return True


def _ask(name: str, match: Match) -> Iterator[Row]:
    yield from importlib.import_module(f"benchmarks.net.{name}").answer(match)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net", description=__doc__)
    parser.add_argument(
        "--rows", type=chosen(QUESTIONS), default=[], metavar="A,B", help=f"some of: {', '.join(QUESTIONS)}"
    )
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each measurement")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one; some questions take a multiple")
    parser.add_argument("--without-uvloop", action="store_true", help="measure each node once more, without uvloop")
    parser.add_argument("--dir", type=Path, help="where the stores go: measures that filesystem")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
