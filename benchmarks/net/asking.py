"""Asks the questions of a package, or those named, and prints each answer as it comes: what its `__main__` does."""

import argparse
import importlib
import json
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness import Bench, chosen
from benchmarks.net import rows
from benchmarks.net.match import Match, Row


def main(package: str, questions: Sequence[str], about: str, *, has_http: bool = False) -> int:
    """Ask what the command line wants.

    Args:
        package: Where the questions are, a module each.
        questions: In the order of the table.
        about: What `--help` says.
        has_http: Whether nodes listen for HTTP, too.

    Returns:
        The exit code: 1 if a row falls short or fails.
    """
    arguments = _arguments(package, questions, about)
    bench = Bench(arguments.dir, arguments.runs, arguments.seconds)
    match = Match(bench, arguments.without_uvloop, has_http)
    where = rows.places(match)
    for name, text in where.items():
        print(f"{name + ':':<12}{text}")
    print(f"\n{rows.head()}", flush=True)
    answers: dict[str, list[Row]] = {}
    failed = [name for name in arguments.rows or questions if not _answered(f"{package}.{name}", match, answers)]
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


def _answered(module: str, match: Match, answers: dict[str, list[Row]]) -> bool:
    """Ask one question and print its rows; one that fails leaves the others alone."""
    name = module.rpartition(".")[2]
    answers[name] = []
    started = time.monotonic()
    try:
        for row in _ask(module, match):
            answers[name].append(row)
            print(rows.line(row), flush=True)
    except Exception:  # noqa: BLE001 - one question that fails must not take the others' answers along
        traceback.print_exc()
        return False
    print(f"    {name} took {time.monotonic() - started:.0f} s", flush=True)
    return True


def _ask(module: str, match: Match) -> Iterator[Row]:
    yield from importlib.import_module(module).answer(match)


def _arguments(package: str, questions: Sequence[str], about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=about)
    parser.add_argument(
        "--rows", type=chosen(questions), default=[], metavar="A,B", help=f"some of: {', '.join(questions)}"
    )
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each measurement")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one; some questions take a multiple")
    parser.add_argument("--without-uvloop", action="store_true", help="measure each node once more, without uvloop")
    parser.add_argument("--dir", type=Path, help="where the stores go: measures that filesystem")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers there, too")
    return parser.parse_args()
