"""How asyncio's tasks reach an engine: many at once, and never waiting in the loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from nsqlite.core.channel import Channel
from nsqlite.core.consumer import Consumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER
from nsqlite.engine import Engine
from nsqlite.errors import NsqliteError, StorageFailedError, StoreFullError, WrongLoopError
from nsqlite.ops import Op


def in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Make a call in a thread of its own, to the end, whatever becomes of the task or the loop.

    Opening and closing may not queue for the loop's pool: it may be full of threads that
    wait for this very node.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001  # raised again by whoever awaits
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="nsqlite-aio").start()
    return future


class LoopWaiter:
    """Ends one task's wait, from whatever thread."""

    __slots__ = ("_channel", "_engine", "_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, channel: Channel) -> None:
        self._loop = loop
        self._engine = engine
        self._channel = channel
        self.future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        """End the wait. May be called more than once."""
        try:
            self._loop.call_soon_threadsafe(self._set)
        except RuntimeError:  # the loop is closed: nobody waits here any more, but others may
            self._engine.end_wait(self._channel, self)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Door:
    """How a loop's tasks reach the engine: many at once, and never waiting in the loop.

    What may wait for long has threads of its own, so that nothing here queues behind it:
    not the program's other work in the loop's pool, and no receiver behind a publisher
    that waits for room.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop = asyncio.get_running_loop()
        self._asked: list[Op] = []
        self._answered: deque[Op] = deque()
        self._is_told = False
        self._callers: dict[Op, Callable[[Op], None]] = {}
        self._stuck: list[Op] = []
        self._is_waiting = False
        self._loaders = ThreadPoolExecutor(2, "nsqlite-aio-load")
        self._workers = ThreadPoolExecutor(4, "nsqlite-aio-work")

    def check_loop(self) -> None:
        """Raise WrongLoopError from any loop but its own."""
        if asyncio._get_running_loop() is not self.loop:
            raise WrongLoopError

    async def run(self, make: Callable[[], Op]) -> Any:
        """Have a promise kept. Cancelled, it may have happened, never by half."""
        self.check_loop()
        if not self.engine.is_synced:
            with suppress(StoreFullError, StorageFailedError):
                return self.engine.run_now(make())
        future: asyncio.Future[Any] = self.loop.create_future()

        def tell(op: Op) -> None:
            if future.done():
                return
            if op.error is not None:
                future.set_exception(op.error)
            else:
                future.set_result(op.outcome())

        self.ask(make(), tell)
        return await future

    def ask(self, op: Op, done: Callable[[Op], None]) -> None:
        """Have a promise kept that must be waited for: for a sync, or for room. `done` is called in the loop."""
        op.on_done = self._done
        self._callers[op] = done
        if self.engine.is_synced:
            self._submit(op)
        else:
            self._wait_for_room(op)

    async def work(self, call: Callable[[], Any]) -> Any:
        """Make a long call in a thread."""
        self.check_loop()
        return await self.loop.run_in_executor(self._workers, call)

    def _wait_for_room(self, op: Op) -> None:
        """Have a promise kept once there is room; one thread waits for all who want some."""
        self._stuck.append(op)
        if not self._is_waiting:
            self._run_stuck()

    def _run_stuck(self, _: object = None) -> None:
        ops, self._stuck = self._stuck, []
        self._is_waiting = bool(ops)
        if ops:
            in_thread(lambda: self._run_all(ops)).add_done_callback(self._run_stuck)

    def _run_all(self, ops: list[Op]) -> None:
        is_full = False
        for op in ops:
            try:
                op.result = self.engine.run_now(op) if is_full else self.engine.run(op)
            except Exception as error:  # noqa: BLE001  # raised again in the task
                op.error = error
                is_full = is_full or isinstance(error, StoreFullError)
            self._done(op)

    def _submit(self, op: Op) -> None:
        """Gather what tasks ask for in one round of the loop, so that they share a sync."""
        if not self._asked:
            self.loop.call_soon(self._send)
        self._asked.append(op)

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        try:
            self.engine.submit(asked)
        except NsqliteError as error:  # none of them is in line
            for op in asked:
                op.error = error
                self._done(op)

    def _done(self, op: Op) -> None:
        self._answered.append(op)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_told = False  # first, so that what comes while this runs is seen here or told again
        while self._answered:
            op = self._answered.popleft()
            self._callers.pop(op)(op)

    def close(self) -> None:
        """Let go of the threads, which end when what they do is done."""
        self._loaders.shutdown(wait=False)
        self._workers.shutdown(wait=False)

    def load(self, channel: Channel, seq: int) -> asyncio.Future[None]:
        """See Receiving.load; in a thread."""
        return self.loop.run_in_executor(self._loaders, self.engine.load, channel, seq)

    async def receive(
        self, channel: Channel, limit: int, deadline_ns: int, consumer: Consumer | None = None
    ) -> list[Delivery]:
        """Take messages, waiting for one. Cancelled, nothing was taken."""
        self.check_loop()
        engine = self.engine
        while True:
            deliveries = engine.take(channel, limit, consumer)
            if deliveries:
                return deliveries
            if channel.missing >= 0:
                await self.load(channel, channel.missing)
                continue
            waiter = LoopWaiter(self.loop, engine, channel)
            until_ns = engine.begin_wait(channel, waiter, deadline_ns, consumer)
            if until_ns < 0:
                return []
            if until_ns:
                await self._wait(channel, waiter, until_ns)

    async def _wait(self, channel: Channel, waiter: LoopWaiter, until_ns: int) -> None:
        alarm = None
        try:
            if until_ns < NEVER:
                alarm = self.engine.clock.call_at(self.loop, until_ns, waiter._set)
            await waiter.future
        finally:
            if alarm is not None:
                alarm.cancel()
            self.engine.end_wait(channel, waiter)
