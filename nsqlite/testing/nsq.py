"""NSQ inside a test: publish, let handlers run until nothing is left to do, and look at what happened."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from nsqlite import aio
from nsqlite.bodies import BytesLike, Seconds
from nsqlite.errors import ClosedError, MisuseError
from nsqlite.node import Node
from nsqlite.testing.assertions import Assertions
from nsqlite.testing.clock import Clock
from nsqlite.testing.events import LOOK_SECONDS, History
from nsqlite.testing.subject import Durability, Subject
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


class Nsq(Assertions):
    """A node in this process whose time the test moves.

    Attributes:
        clock: Its time.
        history: What happened to its messages.
        failures: What handlers raised, in order.

    Example:
        >>> from nsqlite.testing import nsq
        >>> with nsq() as queue:
        ...     queue.on("orders", "billing", lambda message: queue.publish("mail", message.body))
        ...     _ = queue.publish("orders", b"7")
        ...     queue.drain()
        ...     queue.assert_published("mail", body=b"7", count=1)
        ...     queue.assert_empty()
    """

    def __init__(
        self,
        durability: Durability = "fsync",
        clock: Clock | None = None,
        *,
        topics: Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Open it.

        Args:
            durability: What a crash leaves; see Subject.
            clock: Its time; one of its own unless given.
            topics: Names of topics that are there, or "topic:channel" for a channel, too.
            options: Of the node; see nsqlite.Options.
        """
        self.clock = Clock() if clock is None else clock
        self._subject = Subject(durability, self.clock, **options)
        self.history: History = self._subject.history
        self.failures: list[BaseException] = []
        self._subscriptions: list[Subscription] = []
        self._runner: asyncio.Runner | None = None
        self._face: tuple[Any, aio.Node] | None = None
        self._is_closed = False
        for name in topics:
            make_topic(self.node, name)

    @property
    def node(self) -> Node:
        """The node: what the code under test is given. After a crash it is another one."""
        return self._subject.node

    # -- what the test does ---------------------------------------------------------------

    def publish(self, topic: str, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """Publish one message; return its id. See nsqlite.Node.publish."""
        return self.node.publish(topic, body, delay)

    def publish_many(self, topic: str, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """Publish a batch; return the ids. See nsqlite.Node.publish_many."""
        return self.node.publish_many(topic, bodies, delay)

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
        """
        self.node.topic(topic).channel(channel)
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004  # whether its instances are async functions
        )
        self._subscriptions.append(Subscription(topic, channel, handler, is_async, reraise))

    def drain(self, *, jump: bool = False, timeout: float = 5.0) -> None:
        """Run handlers, and let threads that consume by themselves go on, until nothing is left to do.

        A thread or task is idle when it waits for a message, or sleeps on `clock`; so is an async handler.
        One that has just been started may not have come so far: see `wait_for_consumers`.

        Args:
            jump: When all is idle and something is due later, move time there and go on: an hour of
                backoff takes no time. Ends when no channel with a handler or consumer owes anything.
            timeout: Seconds of real time, for threads that do not come back to wait for messages, and for
                handlers that find more to do for ever.

        Raises:
            BaseException: What a handler raised.
            AssertionError: The timeout has come.
            MisuseError: A loop runs in this thread.
        """
        if _is_in_loop():
            raise MisuseError("drain() would block the running loop: use `await nsq.drained()`")
        deadline = time.monotonic() + timeout
        while True:
            found = self._ready()
            if found is not None:
                self._check_time(deadline, timeout)
            if found is not None and not found.is_async:
                self._handle(found)
            elif self._has_async:
                if self._runner is None:
                    self._runner = asyncio.Runner()
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
        """
        callers = self._subject.witness.callers
        if not self.history.wait_until(lambda: callers.channels().count((topic, channel)) >= count, timeout):
            here = callers.channels().count((topic, channel))
            raise AssertionError(f"{here} consumers, not {count}, have come to {topic}:{channel} within {timeout:g} s")

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
        if self._is_closed:
            return  # an async handler that was cancelled at the end cannot give its message back
        self.failures.append(error)
        if subscription.is_reraised:
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
        taken = {(each.topic, each.channel) for each in self._subscriptions}.union(
            self._subject.witness.callers.channels()
        )
        owed = self._subject.owed()
        is_due = any(in_flight or deferred for names, (_, in_flight, deferred) in owed.items() if names in taken)
        return is_due and self.clock.advance_to_next()

    def _check_time(self, deadline: float, timeout: float) -> None:
        if time.monotonic() <= deadline:
            return
        busy = ", ".join(str(getattr(each, "name", None) or each) for each in self._busy())
        why = f"still busy after {timeout:g} s of real time, with a message or behind one: {busy or 'handlers'}"
        raise AssertionError(f"{why}\n\n{table(self.history, self._subject.owed())}")

    # -- faults ---------------------------------------------------------------------------

    def crash(self) -> None:
        """End the node as if its process were killed, and open it again on what is left. See Subject.crash.

        Handlers go on: their channels are made again if nothing is left of them.
        """
        self._subject.crash()
        for each in self._subscriptions:
            self.node.topic(each.topic).channel(each.channel)

    def fill_disk(self) -> None:
        """Have every publish refused with StoreFullError from now on."""
        self._subject.fill_disk()

    def free_disk(self) -> None:
        """Take publishes again."""
        self._subject.fill_disk(is_full=False)

    def fail_next_publish(self, times: int = 1) -> None:
        """Let the next publishes fail with StorageFailedError, as on a disk that is broken for a moment."""
        self._subject.fail_promises(times)

    def time_out(self, topic: str, channel: str) -> None:
        """Let all that is in flight in a channel time out now, whatever its deadline."""
        self._subject.time_out(topic, channel)

    # -- the end --------------------------------------------------------------------------

    def check(self) -> None:
        """Check every invariant of the node; a test ends with it."""
        self._subject.check()

    def close(self) -> None:
        """End it. Twice is fine."""
        self._is_closed = True
        for each in self._subscriptions:
            if each.task is not None and not each.task.get_loop().is_closed():
                each.task.cancel()
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        self._subject.close()


@contextmanager
def nsq(durability: Durability = "fsync", clock: Clock | None = None, **options: Any) -> Iterator[Nsq]:
    """An Nsq for a block: for unittest, or any other runner. See Nsq for the arguments.

    Raises:
        AssertionError: At the end of the block, if the node is not sound.
    """
    queue = Nsq(durability, clock, **options)
    try:
        yield queue
        queue.check()
    finally:
        queue.close()


def make_topic(node: Node, name: str) -> None:
    """Make a topic, or with "topic:channel" a channel, too."""
    topic, _, channel = name.partition(":")
    handle = node.topic(topic)
    if channel:
        handle.channel(channel)


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


def _is_in_loop() -> bool:
    return asyncio._get_running_loop() is not None


async def _let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _changed(has_changed: asyncio.Event, timeout: float) -> None:
    try:
        await asyncio.wait_for(has_changed.wait(), timeout)
    except TimeoutError:
        pass
