"""One tree of errors, drawn at the top of its file; each says what happened and what to do."""

import builtins
import re

import pytest

import nsqlite
from nsqlite import errors
from nsqlite.errors import (
    ClosedError,
    InvalidInputError,
    NotInFlightError,
    NsqliteError,
    StorageFailedError,
    StoreError,
)

TREE = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, NsqliteError)]


def drawn() -> dict[str, str]:
    """The tree in the module's docstring: each class and the one it hangs from."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│ ]*(?:[├└]── )?)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            del path[depth:]
            parents[found[2]] = path[-1] if path else ""
            path.append(found[2])
    return parents


def test_tree_is_as_it_is_drawn() -> None:
    """The drawing names every class, each below its own parent."""
    real = {each.__name__: next((b.__name__ for b in each.__bases__ if b in TREE), "") for each in TREE}

    assert drawn() == real


def test_tree_names_its_builtins() -> None:
    """A builtin that the drawing gives in brackets is one the class inherits."""
    for name, builtin in re.findall(r"(\w+Error) \((\w+Error)\)", errors.__doc__ or ""):
        assert issubclass(getattr(errors, name), getattr(builtins, builtin))


@pytest.mark.parametrize("error", TREE, ids=lambda each: each.__name__)
def test_error_can_be_caught_as_a_builtin(error: type[NsqliteError]) -> None:
    """Every error but the root is also a builtin that callers know, and none bears a builtin's name."""
    assert not hasattr(builtins, error.__name__)
    assert error.__doc__
    if error is not NsqliteError:
        assert any(base.__module__ == "builtins" and base is not Exception for base in error.__mro__[:-3])


@pytest.mark.parametrize("error", TREE, ids=lambda each: each.__name__)
def test_error_is_a_public_name(error: type[NsqliteError]) -> None:
    """Every error is found in the package itself."""
    assert getattr(nsqlite, error.__name__) is error


def test_branches_are_told_apart() -> None:
    """Wrong calls, gone things and the store are three branches to catch."""
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(ClosedError, RuntimeError)
    assert issubclass(StoreError, OSError)
    assert not issubclass(NotInFlightError, ClosedError)


def test_not_in_flight_lists_every_id_and_shows_a_few() -> None:
    """All ids are in the attribute; the sentence stays readable."""
    ids = [b"%016x" % number for number in range(5)]

    error = NotInFlightError(ids)

    assert error.ids == ids
    assert "5 message(s)" in str(error)
    assert str(error).count("000000000") == 3


@pytest.mark.parametrize("outcome_unknown, told", [(True, "takes no more publishes"), (False, "may be tried again")])
def test_storage_failure_says_whether_it_may_have_happened(outcome_unknown: bool, told: str) -> None:
    """The sentence of a failed write follows from its attribute."""
    error = StorageFailedError("disk on fire", outcome_unknown=outcome_unknown)

    assert error.outcome_unknown is outcome_unknown
    assert "disk on fire" in str(error)
    assert told in str(error)


def test_locked_store_names_its_owner() -> None:
    """Who has the store open is in the attribute and in the sentence."""
    error = errors.StoreLockedError("/var/queue", 4711)

    assert error.pid == 4711
    assert "process 4711" in str(error)
    assert "/var/queue" in str(error)


def test_unknown_public_name_is_an_attribute_error() -> None:
    """The lazy package root answers for names it does not have as any module would."""
    with pytest.raises(AttributeError, match="nope"):
        _ = nsqlite.nope
    with pytest.raises(AttributeError):
        _ = nsqlite.NopeError
