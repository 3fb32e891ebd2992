"""What `pip install nsqlite` gives."""

import os
import re
import tomllib
from importlib.metadata import distribution, entry_points

from tests.meta.project import ROOT


def test_three_libraries_are_needed() -> None:
    """Nothing is installed with the package but attrs, lmdb and sortedcontainers."""
    plain = [line for line in distribution("nsqlite").requires or [] if "extra ==" not in line]

    assert {re.match(r"[\w-]+", line)[0] for line in plain} == {"attrs", "lmdb", "sortedcontainers"}


def test_lmdb_is_new_enough() -> None:
    """Versions of lmdb from before the security fixes are refused."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert "lmdb>=2.1.1" in settings["project"]["dependencies"]


def test_command_is_installed() -> None:
    """The command of the package's name calls the command line's main."""
    (command,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "nsqlite")

    assert command.value == "nsqlite.cli:main"
    assert callable(command.load())


def test_build_runs_both_suites() -> None:
    """The build's script can be executed, and does `make test`, then `make test-interop`."""
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")

    assert os.access(script, os.X_OK)
    assert 'make --no-print-directory "$1"' in text
    assert "\nrun test && run test-interop\n" in text


def test_suite_needs_no_toolchain() -> None:
    """What needs Go or Node is in tests/interop, which pytest enters only when it is named."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert "interop" in settings["tool"]["pytest"]["ini_options"]["norecursedirs"]
