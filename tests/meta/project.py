"""Where the project's files are, and how its tools are run. For the tests in this folder."""

import ast
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nsqlite"


def modules() -> list[Path]:
    """Return every Python file of the package, in order."""
    return sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    """Name a file as a reader of the project would: from its root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """Parse one Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def tool(name: str) -> str:
    """Return the path of a command that was installed beside this Python."""
    path = Path(sysconfig.get_path("scripts")) / name
    assert path.exists(), f"{name} is not installed; `make test` installs it, or: pip install -e '.[dev]'"
    return str(path)


def run(*command: str, cwd: Path = ROOT, timeout: float = 140) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without colours, and return what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    environment |= {"NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def run_python(*arguments: str, cwd: Path = ROOT, timeout: float = 140) -> subprocess.CompletedProcess[str]:
    """Run this Python with warnings as errors."""
    return run(sys.executable, "-W", "error", *arguments, cwd=cwd, timeout=timeout)


def must_succeed(result: subprocess.CompletedProcess[str]) -> str:
    """Return a command's output, or fail with all of it."""
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout
