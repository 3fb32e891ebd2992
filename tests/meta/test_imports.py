"""Which module may import which, and what importing the root costs."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.meta.project import modules, must_succeed, parse, relative, run, run_python, tool


def test_contracts_are_kept() -> None:
    """The layers, the purity and the single knower of lmdb hold, as pyproject.toml draws them."""
    must_succeed(run(tool("lint-imports"), "--no-cache"))


def test_root_loads_nothing() -> None:
    """Importing the root loads its version, and no other module, no dependency and no event loop."""
    code = "import sys; before = set(sys.modules); import nsqlite; print(*sorted(set(sys.modules) - before))"

    loaded = must_succeed(run_python("-c", code)).split()

    assert [name for name in loaded if name.startswith("nsqlite")] == ["nsqlite", "nsqlite._version"]
    assert not {"lmdb", "attr", "attrs", "sortedcontainers", "asyncio", "threading"} & set(loaded)


def test_threads_pay_for_no_loop(tmp_path: Path) -> None:
    """A program of threads, with a store on disk, never imports asyncio."""
    code = "import sys, nsqlite; nsqlite.open('store').close(); print('asyncio' in sys.modules)"

    assert must_succeed(run_python("-c", code, cwd=tmp_path)).strip() == "False"


def test_root_gives_every_name() -> None:
    """Whatever the root promises it has, and an error that can be raised can be named from it."""
    import nsqlite

    errors = importlib.import_module("nsqlite.errors")
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.NsqliteError)
    }

    assert classes <= set(nsqlite.__all__)
    assert set(nsqlite.__all__) <= set(dir(nsqlite))
    for name in nsqlite.__all__:
        assert getattr(nsqlite, name) is not None


def test_root_refuses_other_names() -> None:
    """A name that the root does not have is an AttributeError, as of any module."""
    import nsqlite

    with pytest.raises(AttributeError, match="nonesuch"):
        nsqlite.nonesuch  # noqa: B018 - looking it up is the test


def test_root_has_no_logic() -> None:
    """The root holds tables and the loader of names; classes live in modules."""
    root = next(path for path in modules() if relative(path) == "nsqlite/__init__.py")
    definitions = {node.name for node in parse(root).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}

    assert definitions <= {"__getattr__", "__dir__"}
