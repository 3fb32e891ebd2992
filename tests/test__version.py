"""The version stands in one place, for the code and for the package."""

import tomllib
from pathlib import Path

import nsqlite
from nsqlite import _version

ROOT = Path(__file__).resolve().parents[1]


def test_version_is_the_packages() -> None:
    """`nsqlite.__version__` is what the package is published under."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    source = ROOT / settings["tool"]["hatch"]["version"]["path"]

    assert source == Path(_version.__file__)
    assert "version" in settings["project"]["dynamic"]
    assert nsqlite.__version__ == _version.__version__
