"""The version stands in one place for the code and one for the package, and both agree."""

import tomllib
from pathlib import Path

import nsqlite
from nsqlite import _version

ROOT = Path(__file__).resolve().parents[1]


def test_version_is_the_packages() -> None:
    """`nsqlite.__version__` is what pyproject.toml publishes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert nsqlite.__version__ == _version.__version__ == project["version"]
