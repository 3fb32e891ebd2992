"""The example project in tests/example, run as its owner would run it."""

import shutil
from pathlib import Path

from tests.meta.project import ROOT, must_succeed, run_python

EXAMPLE = ROOT / "tests" / "example"


def test_example_passes(tmp_path: Path) -> None:
    """The tests of a project that only has nsqlite installed pass, in a folder that knows nothing of this one."""
    project = shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__", ".*"))

    said = must_succeed(run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, timeout=120))

    assert " passed" in said
    assert "skipped" not in said


def test_example_sleeps_nowhere() -> None:
    """Its tests wait for what happens, and move time; none sleeps."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((EXAMPLE / "tests").glob("*.py"))]

    assert len(sources) == 3
    assert not any("sleep(" in source for source in sources)
