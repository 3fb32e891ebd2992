"""The shape of the house: small files, short functions, a test file for each module."""

import ast
from pathlib import Path

import pytest

from tests.meta.project import PACKAGE, ROOT, modules, parse, relative

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60

# Modules without a test of their own name, and why.
UNMIRRORED = {
    "nsqlite/__main__.py": "one call of cli.main, which tests/test_cli.py makes both ways",
}
NOT_NOUNS = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring left out: explaining more is not a fault."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_file_is_small(path: Path) -> None:
    """No file of the package passes 600 lines, and no function 60."""
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    long = {node.name: length(node) for node in functions if length(node) > MAX_FUNCTION_LINES}

    assert long == {}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_module_says_what_it_is(path: Path) -> None:
    """Every module opens with a docstring, and is named by a noun that tells what is inside."""
    assert ast.get_docstring(parse(path))
    assert path.stem not in NOT_NOUNS


def test_modules_have_tests_of_their_name() -> None:
    """nsqlite/core/topic.py is tested by tests/core/test_topic.py, and so on for each module."""
    missing = []
    for path in modules():
        mirror = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        if path.name != "__init__.py" and relative(path) not in UNMIRRORED and not mirror.exists():
            missing.append(relative(mirror))

    assert missing == []


def test_exceptions_are_current() -> None:
    """The list of modules without a test of their own name lists only such."""
    assert [name for name in UNMIRRORED if not (ROOT / name).exists()] == []
