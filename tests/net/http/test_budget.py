"""Tests of a number of bytes that many share."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.http.budget import Budget


async def waiting(budget: Budget, size_bytes: int) -> asyncio.Task[None]:
    """Somebody who stands in line for so many."""
    task = asyncio.create_task(budget.take(size_bytes))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_budget_is_shared() -> None:
    """As much as there is can be taken at once, and no more."""
    budget = Budget(10)

    assert [budget.try_take(6), budget.try_take(5), budget.try_take(4)] == [True, False, True]
    assert budget.held_bytes == 10


async def test_one_alone_may_have_more() -> None:
    """Else what is larger than the budget could never be done."""
    budget = Budget(10)

    assert budget.try_take(25)
    assert not budget.try_take(0)

    budget.give_back(25)

    assert budget.held_bytes == 0


async def test_who_needs_some_waits_in_line() -> None:
    """Whoever came first has them first, though another needs less."""
    budget = Budget(10)
    await budget.take(8)
    first, second = await waiting(budget, 9), await waiting(budget, 2)

    assert not budget.try_take(1)

    budget.give_back(8)
    await first

    assert not second.done()

    budget.give_back(9)
    await second

    assert budget.held_bytes == 2


async def test_several_are_served_at_once() -> None:
    """As many as there is room for."""
    budget = Budget(10)
    await budget.take(10)
    tasks = [await waiting(budget, 3) for _ in range(4)]

    budget.give_back(10)
    await asyncio.sleep(0)

    assert [each.done() for each in tasks] == [True, True, True, False]
    budget.give_back(3)
    await tasks[3]


async def test_who_gives_up_leaves_the_line() -> None:
    """Whoever stands behind comes up, and nothing is lost."""
    budget = Budget(10)
    await budget.take(5)
    large, small = await waiting(budget, 6), await waiting(budget, 5)

    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await small

    assert budget.held_bytes == 10


async def test_who_gives_up_when_served_gives_it_back() -> None:
    """A turn that comes in the same moment as the end is nobody's."""
    budget = Budget(10)
    await budget.take(10)
    task = await waiting(budget, 7)

    budget.give_back(10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert budget.held_bytes == 0


@given(steps=st.lists(st.tuples(st.integers(0, 12), st.booleans())))
def test_budget_is_never_overdrawn(steps: list[tuple[int, bool]]) -> None:
    """However many take, wait, give up and give back: it holds, and in the end all of it is there."""

    async def run() -> None:
        budget = Budget(10)
        tasks: dict[asyncio.Task[None], int] = {}
        for size_bytes, is_giving_up in steps:
            tasks[asyncio.create_task(budget.take(size_bytes))] = size_bytes
            if is_giving_up:
                next(iter(tasks)).cancel()
            await asyncio.sleep(0)
            held = [size for task, size in tasks.items() if task.done() and not task.cancelled()]
            assert budget.held_bytes <= max(10, *held, 0)
        while tasks:
            task, size_bytes = next(iter(tasks.items()))
            await asyncio.wait([task])
            del tasks[task]
            if not task.cancelled():
                budget.give_back(size_bytes)
        assert budget.held_bytes == 0

    asyncio.run(run())
