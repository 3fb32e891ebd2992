"""Both storages are storages: they have what the interface asks for, called the same way."""

import inspect

import pytest

from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from nsqlite.storage.interface import Damage, Storage, Tables
from nsqlite.storage.on_lmdb import _Writing

METHODS = ["recover", "append", "has_room", "sync", "read", "settle", "close"]
TABLE_METHODS = [name for name in vars(Tables) if not name.startswith("_")]


@pytest.mark.parametrize("storage", [InMemoryStorage, DurableStorage])
@pytest.mark.parametrize("name", METHODS)
def test_storage_has_the_interfaces_method(storage: type, name: str) -> None:
    """Each method takes at least what the interface says, by the same names."""
    wanted = inspect.signature(getattr(Storage, name)).parameters
    given = inspect.signature(getattr(storage, name)).parameters

    assert list(given)[: len(wanted)] == list(wanted)
    assert all(each.default is not each.empty for each in list(given.values())[len(wanted) :])


@pytest.mark.parametrize("tables", [InMemoryStorage, _Writing])
@pytest.mark.parametrize("name", TABLE_METHODS)
def test_tables_have_the_interfaces_method(tables: type, name: str) -> None:
    """What a settlement writes through is the same for both."""
    assert list(inspect.signature(getattr(tables, name)).parameters) == list(
        inspect.signature(getattr(Tables, name)).parameters
    )


def test_interface_is_wholly_covered() -> None:
    """No method of the interface is left out of these tests."""
    assert [name for name in vars(Storage) if not name.startswith("_")] == METHODS


def test_damage_is_a_value() -> None:
    """Two stretches with the same ends are the same damage."""
    assert Damage(3, 5) == Damage(3, 5)
    assert Damage(3, 5) != Damage(3, 6)
