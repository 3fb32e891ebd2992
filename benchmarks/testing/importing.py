"""A pytest run that does not use the plugin: what does it cost to have nsqlite installed?

Timed is what pytest does for the plugin alone: loading and registering it. Two whole runs, with it and without,
differ by more than that from chance. Beside it, what a run pays that does use it, and what one pays for fakeredis.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bench, Figure, median
from benchmarks.testing.suites import OTHERS

TIMES = 3  # as many processes as other measurements have runs: each is short
RUN = """
import importlib.metadata, sys, time
import pytest

spent = 0.0

def timed(kind, method, is_ours):
    real = getattr(kind, method)

    def call(self, *arguments, **names):
        global spent
        began = time.perf_counter()
        try:
            return real(self, *arguments, **names)
        finally:
            spent += (time.perf_counter() - began) * is_ours(self, arguments, names)

    setattr(kind, method, call)

timed(importlib.metadata.EntryPoint, "load", lambda entry, *_: entry.value == "nsqlite.testing.plugin")
timed(pytest.PytestPluginManager, "register", lambda _, arguments, names: "nsqlite" in (*arguments, *names.values()))
began = time.perf_counter()
assert pytest.main(["-q", "-c", "pytest.ini", *sys.argv[1:]]) == 0
assert spent
print({})
"""
IMPORT = """
import time
import asyncio, concurrent.futures, json, logging, socket, ssl
began = time.perf_counter()
{}
print(time.perf_counter() - began)
"""


def answer(bench: Bench) -> Iterator[Figure]:
    """One test that does nothing."""
    with bench.folder() as folder:
        (folder / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        measures = {
            "loading": lambda: _told(folder, RUN.format("spent"), *OTHERS),
            "whole": lambda: _told(folder, RUN.format("time.perf_counter() - began"), *OTHERS),
            "ours": lambda: _told(folder, IMPORT.format("from nsqlite.testing import Nsq; Nsq().close()")),
            "theirs": lambda: _told(folder, IMPORT.format("import fakeredis; fakeredis.FakeRedis()")),
        }
        for measure in measures.values():
            measure()  # bytecode is written
        values = Bench(None, bench.runs * TIMES, 0.0).alternate(measures)
    rows = (
        ("what the plugin adds to a pytest run that does not use it", "loading", 15.0),
        ("the whole of that run", "whole", None),
        ("first nsq of a run: imports, and a node", "ours", None),
        ("first fakeredis.FakeRedis of a run", "theirs", None),
    )
    for what, name, limit in rows:
        yield Figure(what, median(values[name]), "ms", limit, values[name])


def _told(folder: Path, code: str, *arguments: str) -> float:
    """Milliseconds that a fresh interpreter tells of. Its bytecode is kept, as it is where people run tests."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment)
    return 1000 * float(done.stdout.splitlines()[-1])
