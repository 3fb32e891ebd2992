"""A pytest run that does not use the plugin: what does it cost to have nsqlite installed?

Both runs, with the plugin and without, are processes of their own, in turn; the figure is their medians' difference.
Beside it, what a run pays that does use it, and what one pays for fakeredis.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bench, Figure, median
from benchmarks.testing.suites import OTHERS

TIMES = 5  # as many processes as other measurements have runs: a process's start differs more than what is looked for
RUN = """
import sys, time
began = time.perf_counter()
import pytest
assert pytest.main(["-q", "-c", "pytest.ini", *sys.argv[1:]]) == 0
print(time.perf_counter() - began)
"""
IMPORT = """
import sys, time
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
            "with": lambda: _told(folder, RUN, *OTHERS),
            "without": lambda: _told(folder, RUN, *OTHERS, "-pno:nsqlite"),
            "ours": lambda: _told(folder, IMPORT.format("from nsqlite.testing import Nsq; Nsq().close()")),
            "theirs": lambda: _told(folder, IMPORT.format("import fakeredis; fakeredis.FakeRedis()")),
        }
        values = Bench(None, bench.runs * TIMES, 0.0).alternate(measures)
    added = [one - other for one, other in zip(values["with"], values["without"], strict=True)]
    cost = median(values["with"]) - median(values["without"])
    yield Figure("what the plugin adds to a pytest run that does not use it", cost, "ms", 15.0, added)
    for what, name in (
        ("the whole of that run", "with"),
        ("first nsq of a run", "ours"),
        ("first FakeRedis", "theirs"),
    ):
        yield Figure(what, median(values[name]), "ms", None, values[name])


def _told(folder: Path, code: str, *arguments: str) -> float:
    """Milliseconds that a fresh interpreter tells of."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=os.environ)
    return 1000 * float(done.stdout.splitlines()[-1])
