"""Types: strict for the package, and shipped to those who import it."""

from tests.meta.project import PACKAGE, must_succeed, run, tool


def test_types_are_strict() -> None:
    """The type checker has no complaint in strict mode."""
    must_succeed(run(tool("mypy")))


def test_types_are_shipped() -> None:
    """The marker file that lets a user's type checker read ours is there."""
    assert (PACKAGE / "py.typed").exists()
