"""Asks every question, or those named, and prints one table. Exits with 1 if a row falls short or fails."""

import argparse
import importlib
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmarks import table
from benchmarks.harness import Bench, Figure, Line, chosen

# In the order of the table; the last five take minutes each.
QUESTIONS = (
    "memory_one",
    "commit_one",
    "commit_batches",
    "fsync_one",
    "fsync_together",
    "busy_thread",
    "ten_channels",
    "in_flight",
    "killed",
    "deferred",
    "waiting",
    "steady",
)


def main() -> int:
    """Ask, and print each answer as it comes."""
    arguments = _arguments()
    bench = Bench(arguments.dir, arguments.runs, arguments.seconds)
    where = table.places(bench)
    for name, text in where.items():
        print(f"{name + ':':<12}{text}")
    print(f"\n{table.head()}", flush=True)
    answers: dict[str, list[Line | Figure]] = {}
    failed: list[str] = []
    for name in arguments.rows or QUESTIONS:
        answers[name] = []
        try:
            for measured in _ask(name, bench):
                answers[name].append(measured)
                print(table.row(measured), flush=True)
        except Exception:  # noqa: BLE001 - one question that fails must not take the others' answers along
            failed.append(name)
            traceback.print_exc()
    short = sum(not each.is_reached for measured in answers.values() for each in measured)
    print(f"\n{short} of {sum(map(len, answers.values()))} fall short")
    if failed:
        print(f"not answered, since an error ended them: {', '.join(failed)}")
    if arguments.json:
        text = json.dumps(table.as_json(where, answers), indent=2)
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    return 1 if short or failed else 0


def _ask(name: str, bench: Bench) -> Iterator[Line | Figure]:
    """Import the question only now: one that cannot be asked leaves the others alone."""
    yield from importlib.import_module(f"benchmarks.{name}").answer(bench)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("more_rows", nargs="*", type=chosen(QUESTIONS), metavar="ROW", help="the same as --rows")
    parser.add_argument(
        "--rows", type=chosen(QUESTIONS), default=[], metavar="A,B", help=f"some of: {', '.join(QUESTIONS)}; empty: all"
    )
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each measurement")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--dir", type=Path, help="where the stores go: measures that filesystem")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers there, too")
    arguments = parser.parse_args()
    arguments.rows += [name for names in arguments.more_rows for name in names]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
