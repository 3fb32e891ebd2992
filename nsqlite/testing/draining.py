"""Runs handlers, and waits for code that consumes by itself, until nothing is left to do."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from nsqlite import aio
from nsqlite.errors import ClosedError, InvalidOptionError, MisuseError
from nsqlite.node import Node
from nsqlite.testing.assertions import Assertions
from nsqlite.testing.clock import Clock, refuse_in_loop
from nsqlite.testing.events import LOOK_SECONDS
from nsqlite.testing.subject import Subject
from nsqlite.testing.table import table

Handler = Callable[[Any], Any]


@attrs.define
class Subscription:
    """A handler of a channel.

    Attributes:
        topic: Of the channel.
        channel: Its name.
        handler: A plain function, which gets an nsqlite.Message; or an async one, which gets an nsqlite.aio.Message.
        is_async: Which of them it is.
        is_reraised: Whether `drain` raises what it raises.
        task: That runs it, if it is async and at a message.
    """

    topic: str
    channel: str
    handler: Handler
    is_async: bool
    is_reraised: bool
    task: asyncio.Task[None] | None = None


class Draining(Assertions):
    """The handlers of one node, and who runs them.

    Attributes:
        clock: The node's time.
        failures: What handlers raised, in order.
    """

    def __init__(self, subject: Subject, clock: Clock) -> None:
        self._subject = subject
        self.history = subject.history
        self.clock = clock
        self.failures: list[BaseException] = []
        self._subscriptions: list[Subscription] = []
        self._runner: asyncio.Runner | None = None
        self._face: tuple[Any, aio.Node] | None = None
        self._is_over = False
        self._turn = threading.RLock()  # a handler may drain, too

    @property
    def node(self) -> Node:
        """The node: what the code under test is given. After a crash it is another one."""
        return self._subject.node

    def on(self, topic: str, channel: str, handler: Handler, *, reraise: bool = True) -> None:
        """Have `drain` give a channel's messages to a handler, one at a time.

        A message that the handler has not answered is finished when it returns, and requeued when it
        raises.

        Args:
            topic: Made if it is not there.
            channel: The same.
            handler: A plain or an async function of one message.
            reraise: Whether `drain` ends with what the handler raises. Without it failures are only
                collected in `failures`, and the message comes again.

        Raises:
            InvalidOptionError: The handler cannot be called.
        """
        if not callable(handler):
            raise InvalidOptionError("handler", handler, "give a function of one message")
        self.node.topic(topic).channel(channel)
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004  # whether its instances are async functions
        )
        self._subscriptions.append(Subscription(topic, channel, handler, is_async, reraise))

    def drain(self, *, jump: bool = False, timeout: float = 5.0) -> None:
        """Run handlers, and let threads that consume by themselves go on, until nothing is left to do.

        A thread or task is idle when it waits for a message, or sleeps on `clock`; so is an async handler.
        A thread that `clock` has woken is busy until it does so again, or ends.
        One that has just been started may not have come so far: see `wait_for_consumers`.

        Args:
            jump: When all is idle and something is due later, move time there and go on: an hour of
                backoff takes no time. Ends when no channel with a handler or consumer owes anything.
            timeout: Seconds of real time, for threads that do not come back to wait for messages, and for
                handlers that find more to do for ever.

        Raises:
            BaseException: What a handler raised.
            AssertionError: The timeout has come.
            MisuseError: A loop runs in this thread, or another thread drains; or a handler sleeps on `clock`.
        """
        refuse_in_loop("drain()", "await nsq.drained()")
        with self._alone():
            self._drain(jump, time.monotonic() + timeout, timeout)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._turn.acquire(blocking=False):
            raise MisuseError("drain() runs already, in another thread: call it in one, for all")
        try:
            with self.clock.moving():
                yield
        finally:
            self._turn.release()

    def _drain(self, jump: bool, deadline: float, timeout: float) -> None:
        while True:
            found = self._ready()
            if found is not None:
                self._check_time(deadline, timeout)
            if found is not None and not found.is_async:
                self._handle(found)
            elif self._has_async:
                if self._runner is None:
                    self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # leaves the thread's own alone
                if self._runner.run(self._run(jump, deadline, timeout, stops_for_plain=True)):
                    return
            else:
                self.history.wait_until(self._has_work_or_is_idle, max(0.0, deadline - time.monotonic()))
                if self._ready() is None:
                    if self._busy():
                        self._check_time(deadline, timeout)
                    elif not self._jump(jump):
                        return

    def wait_for_consumers(self, topic: str, channel: str, count: int = 1, *, timeout: float = 5.0) -> None:
        """Return once so many threads or tasks take messages of a channel; `drain` waits for those from then on.

        Raises:
            AssertionError: They have not come within the timeout, in seconds of real time.
            MisuseError: A loop runs in this thread.
        """
        refuse_in_loop("wait_for_consumers()", "await asyncio.to_thread(nsq.wait_for_consumers, topic, channel)")
        engine, callers = self._subject.engine, self._subject.witness.callers

        def here() -> int:
            found = engine.broker.topics.get(topic)
            core = None if found is None else found.channels.get(channel)
            return sum(each is core for each in callers.channels())

        if not self.history.wait_until(lambda: here() >= count, timeout):
            came = f"{here()} of {count} consumers have come to {topic}:{channel} within {timeout:g} s"
            raise AssertionError(f"{came}\n\n{table(self.history, self._subject.owed())}")

    async def drained(self, *, jump: bool = False, timeout: float = 5.0) -> None:
        """As `drain`, in a running loop: other tasks go on meanwhile, and plain handlers run in the loop."""
        await self._run(jump, time.monotonic() + timeout, timeout)

    async def _run(self, jump: bool, deadline: float, timeout: float, *, stops_for_plain: bool = False) -> bool:
        """Run handlers until nothing is left to do; False if a plain one has to be run outside the loop first."""
        with self._told() as has_changed:
            while True:
                has_changed.clear()
                await _let_others_run()
                self._collect()
                found = self._ready()
                if found is not None or self._busy():
                    self._check_time(deadline, timeout)
                if found is not None and found.is_async:
                    found.task = asyncio.create_task(self._handle_async(found))
                elif found is not None:
                    if stops_for_plain:
                        return False
                    self._handle(found)
                elif self._busy():
                    await _changed(has_changed, min(LOOK_SECONDS, deadline - time.monotonic()))
                elif not has_changed.is_set() and not self._jump(jump):
                    return True

    @contextmanager
    def _told(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set when anything happens, in whatever thread."""
        loop = asyncio.get_running_loop()
        has_changed = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(has_changed.set)

        stop = self.history.listen(tell)
        try:
            yield has_changed
        finally:
            stop()

    # -- handlers -------------------------------------------------------------------------

    @property
    def _has_async(self) -> bool:
        return any(each.is_async for each in self._subscriptions)

    def _ready(self) -> Subscription | None:
        """A handler that has a message, and is not at one."""
        owed = self._subject.owed()
        node = self.node
        for each in self._subscriptions:
            waiting = owed.get((each.topic, each.channel), (0, 0, 0))[0]
            if waiting and each.task is None and not _is_paused(node, each):
                return each
        return None

    def _handle(self, subscription: Subscription) -> None:
        message = self.node.topic(subscription.topic).channel(subscription.channel).receive(timeout=0)
        if message is None:
            return
        try:
            with message:
                _refuse_coroutine(subscription.handler(message))
        except Exception as error:  # noqa: BLE001  # raised again where the test sees it
            self._failed(subscription, error)

    async def _handle_async(self, subscription: Subscription) -> None:
        message = await self._here().topic(subscription.topic).channel(subscription.channel).receive(timeout=0)
        if message is None:
            return
        try:
            async with message:
                await subscription.handler(message)
        except Exception as error:  # noqa: BLE001  # raised again where the test sees it
            self._failed(subscription, error)

    def _here(self) -> aio.Node:
        """The node's face for the running loop."""
        key = (self.node, asyncio.get_running_loop())
        if self._face is None or self._face[0] != key:
            self._face = (key, aio.face(self.node))
        return self._face[1]

    def _failed(self, subscription: Subscription, error: Exception) -> None:
        if self._is_over:
            return  # an async handler that was cancelled at the end cannot give its message back
        self.failures.append(error)
        if subscription.is_reraised or isinstance(error, MisuseError):  # which would only be raised again and again
            error.add_note(f"raised by the handler of {subscription.topic}:{subscription.channel}")
            raise error

    def _collect(self) -> None:
        """Raise what an async handler raised that has come to its end."""
        for each in self._subscriptions:
            task = each.task
            if task is not None and (task.done() or task.get_loop().is_closed()):
                each.task = None
                if task.done() and not task.cancelled():
                    task.result()

    # -- idle or not ----------------------------------------------------------------------

    def _busy(self) -> list[Any]:
        return self._subject.witness.callers.busy()

    def _has_work_or_is_idle(self) -> bool:
        return self._ready() is not None or not self._busy()

    def _jump(self, may_jump: bool) -> bool:
        """Move time to what is due next, if there is anything that somebody will take."""
        if not may_jump:
            return False
        taken = {(each.topic, each.channel) for each in self._subscriptions}
        taken |= {(each.topic.name, each.name) for each in self._subject.witness.callers.channels()}
        owed = self._subject.owed()
        is_due = any(in_flight or deferred for names, (_, in_flight, deferred) in owed.items() if names in taken)
        return is_due and self.clock.advance_to_next()

    def _check_time(self, deadline: float, timeout: float) -> None:
        if time.monotonic() <= deadline:
            return
        busy = ", ".join(str(getattr(each, "name", None) or each) for each in self._busy())
        why = f"still busy after {timeout:g} s of real time, with a message, behind one, or woken: {busy or 'handlers'}"
        raise AssertionError(f"{why}\n\n{table(self.history, self._subject.owed())}")

    # -- the end --------------------------------------------------------------------------

    def _end(self) -> None:
        """Let handlers go that have not come to their end."""
        self._is_over = True
        for each in self._subscriptions:
            if each.task is not None and not each.task.get_loop().is_closed():
                each.task.cancel()
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def _is_paused(node: Node, subscription: Subscription) -> bool:
    try:
        return node.topic(subscription.topic).channel(subscription.channel).is_paused
    except ClosedError:
        return True


def _refuse_coroutine(returned: object) -> None:
    """A plain function around an async one would seem to have done its work."""
    if inspect.iscoroutine(returned):
        returned.close()
        raise MisuseError("this handler returns a coroutine that nobody awaits: give an async function")


async def _let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _changed(has_changed: asyncio.Event, timeout: float) -> None:
    try:
        await asyncio.wait_for(has_changed.wait(), timeout)
    except TimeoutError:
        pass
