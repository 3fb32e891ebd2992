"""The threads of a durable node: what is waited for is over when the wait is."""

import threading
from pathlib import Path
from typing import Any

import pytest

import nsqlite


def test_a_backup_waits_for_the_end_of_its_settlement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that began when the one before had ended is not over yet, however late its waiter is woken."""
    with nsqlite.open(tmp_path / "store", durability="commit", settle_interval=1000) as node:
        node.topic("orders").channel("billing")
        background: Any = node.engine.background
        storage: Any = node.engine.storage
        settle, release = storage.settle, background._release_waiters
        begun, goes_on, is_second = threading.Event(), threading.Event(), threading.Event()

        def slowly(state: Any) -> None:
            if not begun.is_set():
                begun.set()
                goes_on.wait(30)
            else:
                is_second.set()
                goes_on.clear()
                goes_on.wait(30)
            settle(state)

        monkeypatch.setattr(storage, "settle", slowly)
        background.ask_settlement()
        assert begun.wait(30)
        node.publish("orders", b"after it began")
        copying = threading.Thread(target=node.backup, args=(tmp_path / "copy",))

        def released() -> None:  # the waiter runs only when the next settlement has begun
            waiters, background.room_waiters = background.room_waiters, []
            release()
            late = threading.Thread(target=lambda: (is_second.wait(30), [each.wake() for each in waiters]))
            late.start()

        monkeypatch.setattr(background, "_release_waiters", released)
        copying.start()
        while not background.room_waiters:
            pass
        goes_on.set()
        assert is_second.wait(30)
        copying.join(0.2)
        is_waiting = copying.is_alive()
        monkeypatch.setattr(background, "_release_waiters", release)
        monkeypatch.setattr(storage, "settle", settle)
        goes_on.set()
        copying.join(30)
        assert is_waiting

    with nsqlite.open(tmp_path / "copy") as copy:
        assert copy.topic("orders").channel("billing").depth == 1
