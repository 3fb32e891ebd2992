"""The door between a loop and an engine loses no answer and makes no thread wait."""

import asyncio
import threading
from typing import Any

import pytest

import nsqlite
from nsqlite.door import Door, in_thread
from nsqlite.errors import NodeClosedError, WrongLoopError
from nsqlite.ops import MakeTopic, Op


async def test_answer_that_comes_during_a_delivery_is_delivered() -> None:
    """Told from any thread, at any moment of the loop's round, a task gets its answer."""
    with nsqlite.open() as plain:
        door = Door(plain.engine)
        first, second = MakeTopic("one"), MakeTopic("two")
        futures = [door._expect(op) for op in (first, second)]

        class Telling(dict[Op, Any]):
            def pop(self, op: Op) -> Any:  # type: ignore[override]
                if op is first:
                    door._done(second)
                return super().pop(op)

        door._futures = Telling(door._futures)
        door._done(first)

        assert await asyncio.wait_for(asyncio.gather(*futures), 20) == [None, None]


async def test_refused_ops_are_answered_once_each() -> None:
    """When the node closes before the loop's round ends, every task is told, and the door goes on."""
    with nsqlite.open() as plain:
        door = Door(plain.engine)
        asked = [door._submit(MakeTopic(name)) for name in ("one", "two")]
        plain.close()

        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(error, NodeClosedError)
        assert not door._futures


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
