"""The storage that keeps nothing beyond the process holds to the same contract."""

import pytest

from nsqlite.state import NodeState
from nsqlite.storage.in_memory import InMemoryStorage
from tests.fakes.cores import make_run
from tests.storage.contract import *  # noqa: F403  # the contract's tests run here
from tests.storage.contract import Opening, make_state


@pytest.fixture
def opening() -> Opening:
    """Open a storage in memory, which has nothing to recover."""

    def open_storage() -> tuple[InMemoryStorage, NodeState]:
        storage = InMemoryStorage()
        return storage, storage.recover()

    return open_storage


def test_store_bytes_follow_what_is_owed(opening: Opening) -> None:
    """Bytes are those of settled messages, and go with them."""
    storage, _ = opening()
    run = make_run(0, [b"x" * 100] * 10)

    storage.settle(make_state([run], 10))
    held = storage.store_bytes
    storage.settle(make_state([], 10, cursor=10))

    assert held == run.size_bytes
    assert storage.store_bytes == 0


def test_rows_are_told_while_somebody_is_owed_them(opening: Opening) -> None:
    """A topic has rows from the settlement that wrote them to the one that let them go."""
    storage, _ = opening()
    state = make_state([make_run(0, [b"x"] * 10)], 10)
    [topic] = state.topics

    storage.settle(state)
    assert storage.has_rows(topic)
    storage.settle(make_state([], 10, cursor=10))

    assert not storage.has_rows(topic)


def test_close_forgets_all(opening: Opening) -> None:
    """After closing nothing can be read."""
    storage, _ = opening()
    storage.settle(make_state([make_run(0, [b"x"])], 1))

    storage.close()

    assert storage.row_starts(7, 0, 10) == []
