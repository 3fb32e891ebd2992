"""The door between a loop and an engine loses no answer and makes no thread wait."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

import nsqlite
from nsqlite.door import Door, in_thread
from nsqlite.errors import NodeClosedError, WrongLoopError
from nsqlite.ops import MakeTopic


async def test_answer_that_comes_during_a_delivery_is_delivered() -> None:
    """Told from any thread, at any moment of the loop's round, a caller gets its answer."""
    with nsqlite.open() as plain:
        door = Door(plain.engine)
        first, second = MakeTopic("one"), MakeTopic("two")
        is_told = asyncio.Event()
        door._callers = {first: lambda _: door._done(second), second: lambda _: is_told.set()}

        door._done(first)

        await asyncio.wait_for(is_told.wait(), 20)


async def test_refused_ops_are_answered_once_each(tmp_path: Path) -> None:
    """When the node closes before the loop's round ends, every task is told, and the door goes on."""
    with nsqlite.open(tmp_path / "store") as plain:
        door = Door(plain.engine)
        asked = [asyncio.ensure_future(door.run(partial(MakeTopic, name))) for name in ("one", "two")]
        await asyncio.sleep(0)
        plain.close()

        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(error, NodeClosedError)
        assert not door._callers


async def test_call_in_a_thread_of_its_own_is_answered() -> None:
    """Result and error come back; the loop's pool is not asked."""

    def fail() -> None:
        raise KeyError

    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(KeyError):
        await in_thread(fail)


def test_door_is_of_one_loop() -> None:
    """Another loop is refused."""
    with nsqlite.open() as plain:

        async def make() -> Door:
            return Door(plain.engine)

        async def misuse(door: Door) -> None:
            with pytest.raises(WrongLoopError):
                door.check_loop()

        asyncio.run(misuse(asyncio.run(make())))
