"""Asks every question about nsqlite.testing, or those named. Exits with 1 if a row falls short."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Final

from benchmarks import table
from benchmarks.harness import Bench, Figure, Line, chosen

QUESTIONS: Final = ("in_process", "on_the_wire", "importing")


def main() -> int:
    """Ask, and print each answer as it comes."""
    arguments = _arguments()
    bench = Bench(None, arguments.runs, 0.0)
    where = table.places(bench, ("fakeredis", "pytest"))
    for name, text in where.items():
        print(f"{name + ':':<12}{text}")
    print(f"\n{table.head()}", flush=True)
    answers: dict[str, list[Line | Figure]] = {}
    for name in arguments.rows or QUESTIONS:
        answers[name] = []
        for measured in importlib.import_module(f"benchmarks.testing.{name}").answer(bench):
            answers[name].append(measured)
            print(table.row(measured), flush=True)
    short = sum(not each.is_reached for measured in answers.values() for each in measured)
    print(f"\n{short} of {sum(map(len, answers.values()))} fall short")
    if arguments.json:
        text = json.dumps(table.as_json(where, answers), indent=2)
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    return 1 if short else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testing", description=__doc__)
    parser.add_argument(
        "--rows", type=chosen(QUESTIONS), default=[], metavar="A,B", help=f"some of: {', '.join(QUESTIONS)}"
    )
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
