"""MemoryError and KeyboardInterrupt out of the blue: `python -m tests.faults.interrupts FOLDER SEED COUNT`.

A trace function raises at a line, an entry or a return of the engine, the core or the
storage that chance picks, but not while something is cleaned up. The caller gets the
exception and knows nothing; whoever else calls must get an answer; and after opening
again everything that was answered is there.
"""

from __future__ import annotations

import ast
import faulthandler
import functools
import json
import random
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import nsqlite
from nsqlite.errors import NsqliteError
from tests.power.promises import BrokenPromiseError, Ledger, Moment, verify
from tests.power.store import open_and_read
from tests.power.workload import Workload

HANG_SECONDS: Final = 12
_HOME: Final = str(Path(nsqlite.__file__).parent)
_WITHIN: Final = ("gate", "journaling", "turns", "receiving", "engine", "core", "storage")
_EVENTS: Final = 3500  # about a story's events in these modules; beyond its end nothing is raised
_BESIDE: Final = 5_000_000

Tracer = Callable[[FrameType, str, Any], Any]


@functools.cache
def cleaning_lines(path: str) -> frozenset[int]:
    """The lines of a module that stand in a finally or an except, or that leave a with."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Try):
            lines.add(node.lineno)  # no call, so nothing can happen between it and the line before
            for each in (*node.finalbody, *node.handlers):
                lines.update(range(each.lineno, (each.end_lineno or each.lineno) + 1))
        elif isinstance(node, ast.With):
            lines.add(node.lineno)
    return frozenset(lines)


class Interrupter:
    """Raises at the n-th event in the modules in question. Once."""

    def __init__(self, n: int, error: type[BaseException]) -> None:
        self._left, self._error = n, error
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        """A frame begins: look at its lines if it is one of ours."""
        name = frame.f_code.co_filename
        if not name.startswith(_HOME):
            return None
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename.startswith(_HOME):
            if caller.f_lineno in cleaning_lines(caller.f_code.co_filename):
                return None  # nor in what is called to clean up
            caller = caller.f_back
        within = name[len(_HOME) + 1 :].split("/")[0].removesuffix(".py")
        return self._event(frame, event, argument) if within in _WITHIN else None

    def _event(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        name, line = frame.f_code.co_filename, frame.f_lineno
        if event != "exception" and (event != "line" or line not in cleaning_lines(name)):
            self._left -= 1
            if self._left == 0:
                self.where = f"{event} at {name}:{line} in {frame.f_code.co_name}"
                raise self._error
        return self._event


def run_case(folder: Path, rng: random.Random) -> str:
    """One story with one exception in it; where it was raised."""
    level, writes = rng.choice((("fsync", "pwrite"), ("commit", "mapped"), ("commit", "pwrite")))
    error = rng.choice((MemoryError, KeyboardInterrupt))
    interrupter = Interrupter(rng.randrange(1, _EVENTS), error)
    store, marks = folder / "store", []
    node = nsqlite.open(store, durability=level, journal_writes=writes, settle_interval=0.01)
    work = Workload(node, rng, marks.append)
    work.make("t", "a")
    work.publish("t", 3)
    beside = Workload(node, random.Random(1), marks.append, _BESIDE)
    thread = threading.Thread(target=_publish_beside, args=(beside,), daemon=True)
    thread.start()
    sys.settrace(interrupter)
    try:
        for _ in range(12):
            _one_round(work)
    except (error, NsqliteError):
        pass
    finally:
        sys.settrace(None)
    thread.join(HANG_SECONDS / 2)
    if thread.is_alive():
        raise BrokenPromiseError(f"another thread waits for ever after {error.__name__} at {interrupter.where}")
    try:
        node.close()
    except NsqliteError:
        pass  # a failed node says so; its promises are in the journal
    cut = len(marks)
    try:
        verify(Ledger.of(enumerate(marks)), Moment(cut, cut, -1, -1), open_and_read(store, level))
    except Exception as problem:
        raise BrokenPromiseError(
            f"{error.__name__} at {interrupter.where}, {level!r} with {writes!r}: {problem!r}"
        ) from problem
    return interrupter.where


def _one_round(work: Workload) -> None:
    work.publish("t", 1)
    work.publish("t", 4, 0.001)
    work.receive("t", "a", 5)
    work.finish(0.7)
    work.requeue(1, (0,))


def _publish_beside(work: Workload) -> None:
    try:
        for _ in range(15):
            work.publish("t", 1)
    except NsqliteError:
        pass


def main(folder: str, seed: str, count: str) -> None:
    """Run cases, and say what came of each."""
    for number in range(int(seed), int(seed) + int(count)):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        print(json.dumps({"begun": number}), flush=True)
        where = Path(folder) / "case"
        told: dict[str, Any] = {"seed": number}
        try:
            told["where"] = run_case(where, random.Random(number))
        except Exception as error:  # noqa: BLE001  # whatever it is, the parent shall hear of it
            told["broken"] = f"{type(error).__name__}: {error}"
        shutil.rmtree(where, ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
