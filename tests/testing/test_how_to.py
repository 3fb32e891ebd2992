"""The how-to in docs/testing.md shows what is really printed; its examples are run by tests/meta/test_documents.py."""

import re

import pytest

from nsqlite.testing import Nsq
from tests.meta.project import ROOT
from tests.meta.test_documents import examples

PAGE = ROOT / "docs" / "testing.md"


def test_the_table_is_what_is_printed(nsq: Nsq) -> None:
    """The failure that the page shows is, letter by letter, that of the test above it."""
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(.*?)\n```", text, flags=re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(examples(PAGE), str(PAGE), "exec"), names)  # the page is ours

    with pytest.raises(AssertionError) as failure:
        names["bill"](nsq)

    assert str(failure.value) == shown


def test_the_reference_names_what_is_public() -> None:
    """Every public name of the package, and of its classes, is on the page."""
    import nsqlite.testing as package

    text = PAGE.read_text(encoding="utf-8")
    classes = [package.Clock, package.Nsq, package.Nsqd, package.Cluster]
    names = {*package.__all__, *(name for each in classes for name in dir(each) if not name.startswith("_"))}
    inside = {  # what the product's clock and the plugin use
        "after", "before", "call_at", "close", "is_asleep", "monotonic_ns", "moving", "next_ns", "reopen", "rests",
        "settle", "sources", "step_wall", "told", "wait", "wall_ns", "woken",
    }  # fmt: skip

    assert sorted(name for name in names - inside if not re.search(rf"\b{name}\b", text)) == []
