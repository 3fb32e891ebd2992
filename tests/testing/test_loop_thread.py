"""A loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from nsqlite.testing.loop_thread import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A running one."""
    made = LoopThread(asyncio.new_event_loop(), "loop")
    yield made
    made.close()


def test_run_returns_what_came_of_it(thread: LoopThread) -> None:
    """A coroutine runs there, and its result comes back."""

    async def work() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert thread.run(work()) == "loop"


def test_call_raises_what_was_raised(thread: LoopThread) -> None:
    """What a call raises there is raised here."""
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0)


def test_settle_ends_behind_what_was_scheduled(thread: LoopThread) -> None:
    """What was scheduled, and what that schedules, is done when it returns."""
    done: list[int] = []
    loop = thread.call(asyncio.get_running_loop)
    loop.call_soon_threadsafe(lambda: loop.call_soon(done.append, 1))

    thread.settle()

    assert done == [1]


def test_close_ends_the_thread_and_the_loop(thread: LoopThread) -> None:
    """Closed, also twice, neither a thread nor an open loop is left."""
    loop = thread.call(asyncio.get_running_loop)

    thread.close()
    thread.close()

    assert loop.is_closed()
    assert "loop" not in [each.name for each in threading.enumerate()]
