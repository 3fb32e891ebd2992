"""The documents tell the truth: their examples run, and their links lead somewhere."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from tests.meta.project import PACKAGE, ROOT, modules, must_succeed, relative, run_python

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(#[^)\s]*)?\)")


def documents() -> list[Path]:
    """Return every document of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def examples(document: Path) -> str:
    """Return a document's Python blocks as one script.

    All other lines are blank, so that the line of a traceback is the line of the document.
    """
    script = []
    indent, inside = 0, False
    for line in document.read_text(encoding="utf-8").splitlines():
        fence = FENCE.match(line)
        if fence:
            inside = not inside and fence["language"] == "python"
            indent = len(fence["indent"])
            script.append("")
        else:
            script.append(line[indent:] if inside else "")
    return "\n".join(script) + "\n"


@pytest.mark.parametrize("document", [path for path in documents() if examples(path).strip()], ids=relative)
def test_examples_run(document: Path, tmp_path: Path) -> None:
    """The Python blocks of a document run, one after another, in an empty folder, without a warning."""
    script = tmp_path / f"{document.name}.py"
    script.write_text(examples(document), encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()

    must_succeed(run_python(str(script), cwd=folder, timeout=60))


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_links_lead_to_files(document: Path) -> None:
    """A link that is not to the web is to a file that exists."""
    targets = [link["target"] for link in LINK.finditer(document.read_text(encoding="utf-8"))]

    local = [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]

    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("path", [path for path in modules() if ">>> " in path.read_text("utf-8")], ids=relative)
def test_docstring_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples in a module's docstrings give what they show."""
    name = ".".join(["nsqlite", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    monkeypatch.chdir(tmp_path)

    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert result.attempted > 0
    assert result.failed == 0
