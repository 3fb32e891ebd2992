"""Runs a suite of tests that are all the same, by pytest in a process of its own."""

import json
import subprocess
import sys
from typing import Final

from benchmarks.harness import PROJECT, Bench, Figure, Measure, median

WARMING: Final = 5  # tests at the beginning that import what the fixture needs
OTHERS: Final = tuple(f"-pno:{name}" for name in ("anyio", "asyncio", "cacheprovider", "hypothesispytest", "xdist"))


def around(bench: Bench, fixture: str, body: str, count: int) -> Measure:
    """Measure milliseconds of set-up and tear-down for a test with a fixture: the median of `count` tests."""
    source = (
        "import pytest\n"
        "from benchmarks.testing.fixtures import publish\n\n"
        f"@pytest.mark.parametrize('number', range({WARMING + count}))\n"
        f"def test_it({fixture}, number):\n    {body}\n"
    )

    def measure() -> float:
        with bench.folder() as folder:
            (folder / "test_it.py").write_text(source, encoding="utf-8")
            (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-q", "-pbenchmarks.testing.fixtures", *OTHERS]
            command += ["--durations-to", str(folder / "told.json"), "-c", str(folder / "pytest.ini"), str(folder)]
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the tests with {fixture} fail:\n{done.stdout}{done.stderr}")
            told: list[float] = json.loads((folder / "told.json").read_text(encoding="ascii"))
            return 1000 * median(told[WARMING:])

    return measure


def figures(bench: Bench, measures: dict[str, tuple[Measure, float | None]]) -> list[Figure]:
    """A row for each, of alternating runs; with its limit in milliseconds, if it has one."""
    values = bench.alternate({what: measure for what, (measure, _) in measures.items()})
    return [Figure(what, median(values[what]), "ms", limit, values[what]) for what, (_, limit) in measures.items()]
