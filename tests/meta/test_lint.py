"""Lint and format, for the package, the tests and the benchmarks alike."""

import re
import tomllib

from tests.meta.project import ROOT, must_succeed, run, tool


def test_lint_finds_nothing() -> None:
    """Every file keeps the rules that pyproject.toml selects."""
    must_succeed(run(tool("ruff"), "check", "--output-format=concise", "."))


def test_format_changes_nothing() -> None:
    """Every file is as the formatter would write it; `make format` does."""
    must_succeed(run(tool("ruff"), "format", "--check", "."))


def test_choices_give_their_reasons() -> None:
    """Each dependency and each ignored rule stands on a line of its own, with its reason behind it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    lint = settings["tool"]["ruff"]["lint"]
    choices = [
        *settings["build-system"]["requires"],
        *settings["project"]["dependencies"],
        *(name for extra in settings["project"]["optional-dependencies"].values() for name in extra),
        *lint["ignore"],
        *(rule for rules in lint["per-file-ignores"].values() for rule in rules),
    ]

    unexplained = [choice for choice in choices if not re.search(f'"{re.escape(choice)}".*# .{{8,}}', text)]

    assert unexplained == []


def test_suppressions_name_their_rule() -> None:
    """A comment that silences a tool says which rule; the reason stands beside it."""
    nameless = re.compile(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)|#\s*ruff:\s*noqa(?!:)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("nsqlite", "benchmarks", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if nameless.search(line) and "re.compile" not in line
    ]

    assert found == []
