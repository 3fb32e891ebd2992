"""The node for asyncio behaves as the node for threads does, and cancelling it loses nothing."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nsqlite
from nsqlite import aio
from nsqlite import node as threads
from nsqlite.errors import (
    ChannelDeletedError,
    InvalidBodyError,
    InvalidDelayError,
    InvalidNameError,
    InvalidOptionError,
    MessageTooBigError,
    NodeClosedError,
    NotInFlightError,
    StoreFullError,
    StoreLockedError,
    TopicDeletedError,
    WrongLoopError,
)
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS, AttendedClock

LEVELS = ["memory", "commit", "fsync"]
PLAIN = {"topic", "channel", "consume", "stats", "check"}  # the design's section 5: what is not awaited
MIB = 1 << 20


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture(params=LEVELS)
async def node(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> AsyncIterator[aio.Node]:
    """A node at each level that must end the test sound."""
    path = None if request.param == "memory" else tmp_path / "store"
    async with aio.open(path, durability=request.param, clock=clock) as made:
        yield made
        made.check()


@pytest.fixture
def channel(node: aio.Node) -> aio.Channel:
    """Channel billing of topic orders."""
    return node.topic("orders").channel("billing")


async def rounds(count: int = 5) -> None:
    """Let the loop's other tasks run until they wait for something."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(has_come: Callable[[], bool]) -> None:
    """Let the loop's other tasks run until something has come about, or fail."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not has_come():  # noqa: ASYNC110  # what is awaited happens in a thread, or deep inside
            await asyncio.sleep(0)


async def asleep(channel: aio.Channel, count: int = 1) -> None:
    """Return when so many receivers wait on a channel."""
    await until(lambda: len(channel._core.waiters) >= count)


async def drain(channel: aio.Channel) -> list[bytes]:
    """Everything that is ready, finished."""
    found = []
    while messages := await channel.receive_many(100, timeout=0):
        await channel.finish_many(messages)
        found += [message.body for message in messages]
    return found


class HeldSync:
    """A storage's sync that is counted, and that waits while it is held."""

    def __init__(self, node: aio.Node) -> None:
        self.count = 0
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        storage: Any = node._engine.storage
        self._sync = storage.sync
        storage.sync = self

    def __call__(self) -> None:
        """Sync, when it is let go."""
        self.count += 1
        self.begun.release()
        assert self.free.wait(PATIENCE_SECONDS / 4), "the sync was never let go"
        self._sync()

    async def begins(self) -> None:
        """Return when one more sync has begun."""
        await until(lambda: self.begun.acquire(blocking=False))


# -- the same names ------------------------------------------------------------------------


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class offers its users, and the context managers' and iterators' methods in one spelling."""
    for name, member in inspect.getmembers(kind):
        plain = name.replace("__a", "__") if name in {"__aenter__", "__aexit__", "__aiter__", "__anext__"} else name
        if not name.startswith("_") or plain in {"__enter__", "__exit__", "__iter__", "__next__"}:
            yield plain, member


@pytest.mark.parametrize("name", ["Node", "Topic", "Channel", "Consumer", "Message"])
def test_every_name_is_there_with_the_same_parameters(name: str) -> None:
    """A program for threads becomes one for tasks by adding awaits."""
    ours, theirs = (
        dict(public(getattr(aio, name))),
        dict(public(getattr(nsqlite, name, None) or getattr(threads, name))),
    )
    theirs.pop("engine", None)

    assert ours.keys() == theirs.keys()
    for each, member in theirs.items():
        if callable(member) and not each.startswith("__"):
            mine = inspect.signature(ours[each]).parameters
            assert [str(p) for p in mine.values()] == [str(p) for p in inspect.signature(member).parameters.values()], (
                each
            )


@pytest.mark.parametrize("name", ["Node", "Topic", "Channel", "Consumer", "Message"])
def test_what_changes_something_is_awaited(name: str) -> None:
    """Names, counters and what makes a handle are plain calls; everything else is awaited."""
    for each, member in public(getattr(aio, name)):
        if inspect.isfunction(member) and not each.startswith("__"):
            assert inspect.iscoroutinefunction(member) == (each not in PLAIN), each


def test_open_takes_what_open_takes() -> None:
    """A wrong option is named, as it is for threads."""

    async def main() -> None:
        with pytest.raises(InvalidOptionError, match="msg_timeout"):
            await aio.open(msg_timeout=0)
        with pytest.raises(InvalidOptionError, match="durability"):
            async with aio.open(durability="fsync"):
                pass

    asyncio.run(main())


def test_face_needs_a_running_loop() -> None:
    """A face belongs to a loop, so there must be one."""
    with nsqlite.open() as plain, pytest.raises(RuntimeError, match="loop"):
        aio.face(plain)


# -- publishing, receiving, answering ------------------------------------------------------


async def test_message_arrives_as_it_was_published(node: aio.Node, channel: aio.Channel) -> None:
    """Id, body and attempts are those of the node for threads."""
    message_id = await node.publish("orders", b"one")

    message = await channel.receive(timeout=0)

    assert message is not None
    assert (message.id, message.body, message.attempts) == (message_id, b"one", 1)
    await message.finish()
    assert message.is_answered
    assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (0, 0, 0)


async def test_order_holds_over_single_and_batched_publishes(node: aio.Node, channel: aio.Channel) -> None:
    """Awaited one after another, ids rise and order is kept."""
    topic = node.topic("orders")
    ids = [await topic.publish(b"0"), *await topic.publish_many([b"1", bytearray(b"2")])]
    ids += [*await node.publish_many("orders", iter([b"3"])), await node.publish("orders", memoryview(b"4"))]

    messages = await channel.receive_many(10, timeout=0)

    assert [message.body for message in messages] == [b"0", b"1", b"2", b"3", b"4"]
    assert [message.id for message in messages] == ids == sorted(set(ids))
    assert await topic.publish_many([]) == []


async def test_deferred_message_waits_for_its_time(node: aio.Node, channel: aio.Channel, clock: AttendedClock) -> None:
    """A receiver asleep when a delay is published wakes when that is over."""
    receiving = asyncio.create_task(channel.receive())
    await asleep(channel)
    await node.publish("orders", b"later", delay=30)
    await rounds()
    assert (channel.deferred_count, receiving.done()) == (1, False)

    clock.advance(30)

    message = await receiving
    assert message is not None
    assert message.body == b"later"


async def test_requeue_brings_it_again(node: aio.Node, channel: aio.Channel, clock: AttendedClock) -> None:
    """At once or after its delay, with one attempt more."""
    await node.publish("orders", b"x")
    for attempts, delay in ((1, 0), (2, 5)):
        message = await channel.receive(timeout=0)
        assert message is not None
        assert message.attempts == attempts
        await message.requeue(delay)
    assert await channel.receive(timeout=0) is None

    clock.advance(5)

    last = await channel.receive(timeout=0)
    assert last is not None
    assert last.attempts == 3


async def test_touch_keeps_a_message(node: aio.Node, channel: aio.Channel, clock: AttendedClock) -> None:
    """A touched message is in flight for another timeout; after that it comes again."""
    await node.publish("orders", b"x")
    message = await channel.receive(timeout=0)
    assert message is not None
    clock.advance(50)
    await message.touch()
    clock.advance(50)
    assert await channel.receive(timeout=0) is None

    clock.advance(10)

    assert await channel.receive(timeout=0) is not None
    for answer in (message.finish, message.requeue, message.touch):
        with pytest.raises(NotInFlightError):
            await answer()


async def test_block_finishes_or_requeues(node: aio.Node, channel: aio.Channel) -> None:
    """Leaving finishes, raising requeues and goes on, an answer inside stays the answer."""
    await node.publish_many("orders", [b"1", b"2", b"3"])
    one, two, three = await channel.receive_many(3)

    async with one:
        pass
    with pytest.raises(KeyError):
        async with two:
            raise KeyError
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012  # the block is what is tested
        async with three:
            await three.finish()
            raise asyncio.CancelledError

    assert await drain(channel) == [b"2"]


async def test_finish_many_names_those_that_were_not_in_flight(node: aio.Node, channel: aio.Channel) -> None:
    """The others are finished, also when they come from a generator."""
    await node.publish_many("orders", [b"1", b"2", b"3"])
    messages = await channel.receive_many(3)
    await messages[1].finish()

    with pytest.raises(NotInFlightError) as caught:
        await channel.finish_many(message for message in messages)

    assert caught.value.ids == [messages[1].id]
    assert channel.in_flight_count == 0


async def test_pause_empty_and_delete(node: aio.Node, channel: aio.Channel) -> None:
    """Topics and channels are paused, emptied and deleted as they are for threads."""
    topic = node.topic("orders")
    await channel.pause()
    await topic.publish(b"1")
    assert (channel.is_paused, await channel.receive(timeout=0)) == (True, None)
    await channel.unpause()
    await topic.pause()
    await topic.publish(b"2")
    assert (topic.is_paused, topic.depth, channel.depth) == (True, 1, 1)
    await topic.empty()
    await topic.unpause()
    assert (topic.depth, await drain(channel)) == (0, [b"1"])
    await topic.publish(b"3")
    await channel.empty()
    assert channel.depth == 0

    assert (node.topics, topic.channels) == (["orders"], ["billing"])
    await topic.delete_channel("billing")
    await topic.delete_channel("billing")
    with pytest.raises(ChannelDeletedError):
        await channel.receive(timeout=0)
    await node.delete_topic("orders")
    await node.delete_topic("orders")
    with pytest.raises(TopicDeletedError):
        await topic.publish(b"x")
    await node.publish("orders", b"anew")
    assert node.topic("orders").depth == 1


async def test_two_tasks_may_delete_the_same(node: aio.Node, channel: aio.Channel) -> None:
    """Who comes second finds nothing to delete, and that is no error."""
    topic = node.topic("orders")

    await asyncio.gather(*[topic.delete_channel("billing") for _ in range(3)])
    await asyncio.gather(*[node.delete_topic("orders") for _ in range(3)])

    assert node.topics == []


@pytest.mark.parametrize(
    "body, error", [("text", InvalidBodyError), (b"", InvalidBodyError), (b"x" * (MIB + 1), MessageTooBigError)]
)
async def test_bad_body_is_refused(node: aio.Node, body: Any, error: type[Exception]) -> None:
    """Alone or in a batch, nothing of it is published."""
    topic = node.topic("orders")

    with pytest.raises(error):
        await topic.publish(body)
    with pytest.raises(error):
        await topic.publish_many([b"good", body])

    assert topic.depth == 0


async def test_bad_arguments_are_refused(node: aio.Node, channel: aio.Channel) -> None:
    """Names, delays, timeouts and limits are checked as they are for threads."""
    topic = node.topic("orders")
    for call in (topic.publish(b"x", delay=-1), channel.receive(timeout=float("nan"))):
        with pytest.raises(InvalidDelayError):
            await call
    for make in (node.topic, topic.channel):
        with pytest.raises(InvalidNameError):
            make("a b")
    with pytest.raises(InvalidOptionError):
        await channel.receive_many(0)
    with pytest.raises(InvalidOptionError):
        channel.consume(0)


# -- waiting and cancelling ----------------------------------------------------------------


async def test_timeout_ends_a_receive(channel: aio.Channel, clock: AttendedClock) -> None:
    """None and [] when the time is over, and nobody is left in the queue."""
    one, many = asyncio.create_task(channel.receive(timeout=3)), asyncio.create_task(channel.receive_many(9, timeout=3))
    await asleep(channel, 2)

    clock.advance(3)

    assert (await one, await many) == (None, [])
    assert not channel._core.waiters


async def test_wait_for_leaves_nobody_behind(node: aio.Node, channel: aio.Channel) -> None:
    """A receive that asyncio's own timeout ended takes nothing afterwards."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(channel.receive(), 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await channel.receive()

    await node.publish("orders", b"x")

    assert await drain(channel) == [b"x"]


@pytest.mark.parametrize("is_published", [True, False], ids=["after the publish", "before it"])
@pytest.mark.parametrize("delay_rounds", range(5))
async def test_cancelled_receive_passes_its_wake_up_on(
    node: aio.Node, channel: aio.Channel, delay_rounds: int, is_published: bool
) -> None:
    """Two wait, one message comes, the first is cancelled at any moment: somebody has it, attempts unchanged."""
    first = asyncio.create_task(channel.receive())
    await asleep(channel)
    second = asyncio.create_task(channel.receive())
    await asleep(channel, 2)
    publishing = asyncio.create_task(node.publish("orders", b"x"))
    if is_published:
        await publishing

    await rounds(delay_rounds)
    first.cancel()

    await asyncio.wait([first])
    await publishing
    message = await asyncio.wait_for(second if first.cancelled() else first, PATIENCE_SECONDS)
    assert message is not None
    assert (message.body, message.attempts, channel.in_flight_count) == (b"x", 1, 1)
    second.cancel()
    await asyncio.wait([second])
    await message.finish()
    assert channel.depth == channel.in_flight_count == 0


@pytest.mark.parametrize("delay_rounds", range(6))
async def test_cancelled_publish_happens_whole_or_not_at_all(
    node: aio.Node, channel: aio.Channel, delay_rounds: int
) -> None:
    """A batch whose task is cancelled is there as a whole or not, and later ones are not disturbed."""
    publishing = asyncio.create_task(node.publish_many("orders", [b"1", b"2"]))
    await rounds(delay_rounds)

    publishing.cancel()
    await asyncio.wait([publishing])
    await node.publish("orders", b"3")

    assert await drain(channel) in ([b"3"], [b"1", b"2", b"3"])


async def test_publish_cancelled_during_its_sync_happens(tmp_path: Path, clock: AttendedClock) -> None:
    """What is on its way to the disk arrives, and who is cancelled does not wait for it."""
    async with aio.open(tmp_path / "store", clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        sync = HeldSync(node)
        sync.free.clear()
        publishing = asyncio.create_task(node.publish("orders", b"1"))
        await sync.begins()

        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert channel.depth == 0
        sync.free.set()
        await node.publish("orders", b"2")

        assert await drain(channel) == [b"1", b"2"]
        assert not node._door._callers


async def test_receiving_goes_on_during_a_sync(tmp_path: Path, clock: AttendedClock) -> None:
    """The loop never waits for the disk: it receives, answers, makes handles and counts meanwhile."""
    async with aio.open(tmp_path / "store", clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        await node.publish_many("orders", [b"1", b"2"])
        sync = HeldSync(node)
        sync.free.clear()
        publishing = asyncio.create_task(node.publish("orders", b"3"))
        await sync.begins()

        assert await drain(channel) == [b"1", b"2"]
        late = node.topic("orders").channel("late")
        assert node.topic("users").channels == []
        assert (late.depth, [topic.topic_name for topic in node.stats().topics]) == (0, ["orders", "users"])

        sync.free.set()
        await publishing
        assert (await drain(channel), await drain(late)) == ([b"3"], [b"3"])
        node.check()


async def test_tasks_share_syncs(tmp_path: Path, clock: AttendedClock) -> None:
    """32 tasks that publish at once need one sync, and those that come during it one more."""
    async with aio.open(tmp_path / "store", clock=clock) as node:
        channel = node.topic("orders").channel("billing")
        sync = HeldSync(node)

        await asyncio.gather(*[node.publish("orders", b"%02d" % number) for number in range(32)])
        assert sync.count == 1

        sync.free.clear()
        first = asyncio.create_task(node.publish("orders", b"first"))
        await sync.begins()
        await sync.begins()
        others = [asyncio.create_task(node.publish("orders", b"other")) for _ in range(32)]
        await rounds()
        sync.free.set()
        ids = await asyncio.gather(first, *others)

        assert sync.count == 3
        assert ids == sorted(set(ids))
        assert len(await drain(channel)) == 65


# -- consumers -----------------------------------------------------------------------------


async def test_consumer_holds_no_more_than_it_may(node: aio.Node, channel: aio.Channel) -> None:
    """With `max_in_flight` unanswered, the next message comes when one is answered."""
    await node.publish_many("orders", [b"1", b"2", b"3"])
    async with channel.consume(max_in_flight=2) as consumer:
        one, _ = await anext(consumer), await anext(consumer)
        third = asyncio.create_task(anext(consumer))
        await asleep(channel)
        assert channel.in_flight_count == 2

        await one.finish()

        assert (await third).body == b"3"


async def test_consumers_without_room_sleep(node: aio.Node, channel: aio.Channel) -> None:
    """Two that hold all they may, and a backlog: neither wakes the other for what it cannot take."""
    await node.publish_many("orders", [b"1", b"2", b"3", b"4"])
    consumers = [channel.consume(), channel.consume()]
    held = [await anext(consumer) for consumer in consumers]
    waiting = [asyncio.create_task(anext(consumer)) for consumer in consumers]
    await asleep(channel, 2)
    await rounds()

    before = list(channel._core.waiters)
    await rounds(50)
    assert list(channel._core.waiters) == before

    await held[1].finish()
    assert (await waiting[1]).body == b"3"
    await held[0].finish()
    assert (await waiting[0]).body == b"4"


async def test_receivers_do_not_wake_each_other_to_watch_the_time(node: aio.Node, channel: aio.Channel) -> None:
    """With a message in flight, one of those who wait watches its timeout, and the others sleep."""
    waiting = [asyncio.create_task(channel.receive()) for _ in range(3)]
    await asleep(channel, 3)
    await node.publish("orders", b"x")
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asleep(channel, 2)
    await rounds(20)

    before = list(channel._core.waiters)
    await rounds(50)

    assert list(channel._core.waiters) == before
    for task in waiting:
        task.cancel()


async def test_consumer_ends_when_it_is_closed(node: aio.Node, channel: aio.Channel) -> None:
    """Idle or busy, the iteration ends, and what is in somebody's hands stays there."""
    await node.publish("orders", b"1")
    consumer = channel.consume()
    found = []

    async def work() -> None:
        async for message in consumer:
            found.append(message)
            await message.finish()

    working = asyncio.create_task(work())
    await asleep(channel)
    await consumer.close()
    await consumer.close()
    await working

    assert [message.body for message in found] == [b"1"]
    with pytest.raises(StopAsyncIteration):
        await anext(consumer)


async def test_tasks_that_share_a_consumer_all_end(node: aio.Node, channel: aio.Channel) -> None:
    """Several tasks may iterate one consumer: each message goes to one, and closing ends all."""
    consumer = channel.consume(max_in_flight=3)
    found: list[bytes] = []

    async def work() -> None:
        async for message in consumer:
            async with message:
                found.append(message.body)

    working = [asyncio.create_task(work()) for _ in range(3)]
    await asleep(channel, 3)
    await node.publish_many("orders", [b"%d" % number for number in range(9)])
    await asleep(channel, 3)
    await consumer.close()
    await asyncio.gather(*working)

    assert sorted(found) == [b"%d" % number for number in range(9)]


async def test_ephemeral_channel_goes_with_its_last_consumer(node: aio.Node) -> None:
    """As in NSQ, a channel named so lives as long as somebody consumes it."""
    topic = node.topic("orders")
    one, two = topic.channel("tail#ephemeral").consume(), topic.channel("tail#ephemeral").consume()

    await one.close()
    assert topic.channels == ["tail#ephemeral"]
    await two.close()

    assert topic.channels == []


# -- threads and tasks on one node ---------------------------------------------------------


@pytest.fixture(params=LEVELS)
def shared(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node that threads have open."""
    path = None if request.param == "memory" else tmp_path / "store"
    with nsqlite.open(path, durability=request.param, clock=clock) as made:
        yield made
        if made.engine.state.value == "open":
            made.check()


async def test_task_receives_what_a_thread_publishes(shared: nsqlite.Node) -> None:
    """A thread's publish wakes a task."""
    channel = aio.face(shared).topic("orders").channel("billing")
    receiving = asyncio.create_task(channel.receive())
    await asleep(channel)

    publishing = Caller(lambda: shared.publish("orders", b"x"))

    message = await asyncio.wait_for(receiving, PATIENCE_SECONDS)
    assert message is not None
    assert (message.body, message.id) == (b"x", publishing.outcome())


async def test_thread_receives_what_a_task_publishes(shared: nsqlite.Node, clock: AttendedClock) -> None:
    """A task's publish wakes a thread."""
    face = aio.face(shared)
    channel = shared.topic("orders").channel("billing")
    receiving = Caller(channel.receive)
    clock.await_sleeper()

    await face.publish("orders", b"x")

    message = receiving.outcome()
    assert message is not None
    assert message.body == b"x"


async def test_many_threads_and_tasks_lose_nothing(shared: nsqlite.Node) -> None:
    """Threads and tasks publish and consume at once: every message comes to one of them, once."""
    face = aio.face(shared)
    channel = shared.topic("orders").channel("billing")
    found: list[bytes] = []

    def consume() -> None:
        with channel.consume(max_in_flight=5) as consumer:
            for message in consumer:
                found.append(message.body)
                message.finish()

    async def consume_too() -> None:
        async for message in face.topic("orders").channel("billing").consume(5):
            found.append(message.body)
            await message.finish()

    consuming = [Caller(consume) for _ in range(2)]
    tasks = [asyncio.create_task(consume_too()) for _ in range(3)]
    publishing = Caller(lambda: [shared.publish("orders", b"thread %d" % number) for number in range(100)])
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*[face.publish("orders", b"task %d" % number) for number in range(100)])
        await until(lambda: len(found) >= 200)
        publishing.outcome()
        await face.close()
        await asyncio.gather(*tasks)
    for each in consuming:
        each.outcome()

    assert sorted(found) == sorted(b"%s %d" % (who, n) for who in (b"thread", b"task") for n in range(100))


async def test_closing_does_not_queue_behind_threads_that_wait_for_it(clock: AttendedClock) -> None:
    """The loop's pool may be full of receivers on this node; closing ends them all the same."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        plain = nsqlite.open(clock=clock)
        channel = plain.topic("orders").channel("billing")
        waiting = [asyncio.create_task(asyncio.to_thread(channel.receive)) for _ in range(64)]
        await rounds()

        await aio.face(plain).close()

        assert all(isinstance(each, NodeClosedError) for each in await asyncio.gather(*waiting, return_exceptions=True))


def test_other_loop_is_refused() -> None:
    """A face belongs to one loop; another may have its own."""
    with nsqlite.open() as plain:
        made: list[aio.Node] = []

        async def make() -> None:
            made.append(aio.face(plain))
            made[0].topic("orders").channel("billing")

        async def misuse() -> None:
            topic = made[0].topic("orders")
            channel = topic.channel("billing")
            for call in (
                topic.publish(b"x"),
                topic.publish(b"x", delay=1),
                topic.publish_many([b"x"]),
                made[0].publish("orders", b"x"),
                made[0].delete_topic("orders"),
                made[0].sync(),
                channel.receive(timeout=0),
                channel.pause(),
                channel.finish_many([]),
            ):
                with pytest.raises(WrongLoopError):
                    await call
            assert channel.depth == 0
            await aio.face(plain).publish("orders", b"x")

        asyncio.run(make())
        asyncio.run(misuse())


# -- the end -------------------------------------------------------------------------------


async def test_deleting_a_channel_ends_those_who_wait(node: aio.Node, channel: aio.Channel) -> None:
    """A receiver and an iterator are told."""
    consumer = channel.consume()
    waiting = [asyncio.create_task(channel.receive()), asyncio.create_task(anext(consumer))]
    await asleep(channel, 2)

    await node.topic("orders").delete_channel("billing")

    for each in waiting:
        with pytest.raises(ChannelDeletedError):
            await each


async def test_closing_ends_those_who_wait(node: aio.Node, channel: aio.Channel) -> None:
    """A receiver raises, an iterator ends, and closing again is fine."""
    consumer = channel.consume()
    waiting = asyncio.create_task(channel.receive())
    iterating = asyncio.create_task(anext(consumer, None))
    await asleep(channel, 2)

    await asyncio.gather(node.close(), node.close())

    with pytest.raises(NodeClosedError):
        await waiting
    assert await iterating is None
    await consumer.close()
    for call in (node.publish("orders", b"x"), channel.receive(), node.sync(), channel.pause()):
        with pytest.raises(NodeClosedError):
            await call
    node.check = lambda: None  # type: ignore[method-assign]  # the fixture's; a closed node refuses it


async def test_closing_while_publishes_wait_for_a_sync(tmp_path: Path, clock: AttendedClock) -> None:
    """The turn in progress ends well, the others are told that they were not published, and both are true."""
    async with aio.open(tmp_path / "store", clock=clock) as node:
        node.topic("orders").channel("billing")
        sync = HeldSync(node)
        sync.free.clear()
        first = asyncio.create_task(node.publish("orders", b"first"))
        await sync.begins()
        others = [asyncio.create_task(node.publish("orders", b"other")) for _ in range(5)]
        await rounds()
        closing = asyncio.create_task(node.close())
        await until(lambda: node._engine.state.value != "open")
        sync.free.set()
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
        await closing

    assert isinstance(outcomes[0], bytes)
    assert [type(each) for each in outcomes[1:]] == [NodeClosedError] * 5
    async with aio.open(tmp_path / "store", clock=clock) as node:
        assert await drain(node.topic("orders").channel("billing")) == [b"first"]


@pytest.mark.parametrize("delay_rounds", range(4))
async def test_opening_cancelled_half_way_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_rounds: int
) -> None:
    """Whoever is told that the opening was cancelled can open the store at once."""
    path = tmp_path / "store"
    opening = asyncio.ensure_future(aio.open(path)._open())
    await rounds(delay_rounds)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    async with aio.open(path) as node:
        await node.publish("orders", b"x")


def test_opening_given_up_twice_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled again, or by the end of the loop, it does not wait; the store is let go all the same."""
    begun, free, closed = threading.Event(), threading.Event(), threading.Event()
    really = threads.open

    def slowly(*given: Any, **options: Any) -> nsqlite.Node:
        begun.set()
        assert free.wait(PATIENCE_SECONDS)
        node = really(*given, **options)
        close = node.close

        def told() -> None:
            close()
            closed.set()

        node.close = told  # type: ignore[method-assign]
        return node

    async def main() -> None:
        opening = asyncio.ensure_future(aio.open(tmp_path / "store")._open())
        await until(begun.is_set)
        for _ in range(2):
            opening.cancel()
            await rounds()
        assert opening.cancelled()

    monkeypatch.setattr(threads, "open", slowly)
    asyncio.run(main())
    free.set()

    assert closed.wait(PATIENCE_SECONDS)
    monkeypatch.undo()
    nsqlite.open(tmp_path / "store").close()


async def test_store_in_use_is_refused(tmp_path: Path) -> None:
    """The error of the node for threads comes through."""
    async with aio.open(tmp_path / "store"):
        with pytest.raises(StoreLockedError):
            await aio.open(tmp_path / "store")


def test_loop_closed_under_way_breaks_nothing(tmp_path: Path, clock: AttendedClock) -> None:
    """Tasks that were dropped with their loop take no message, and no wake-up from others."""
    with nsqlite.open(tmp_path / "store", clock=clock) as plain:
        channel = plain.topic("orders").channel("billing")
        loop = asyncio.new_event_loop()
        kept: list[Any] = []

        async def begin() -> None:
            face = aio.face(plain)
            kept.append(asyncio.create_task(face.topic("orders").channel("billing").receive()))
            await rounds()
            sync = HeldSync(face)
            kept.append(sync)
            sync.free.clear()
            kept.append(asyncio.create_task(face.publish("orders", b"dropped")))
            await sync.begins()

        loop.run_until_complete(begin())
        loop.close()
        receiving = Caller(channel.receive)
        clock.await_sleeper()
        kept[1].free.set()

        message = receiving.outcome()

        assert message is not None
        assert message.body == b"dropped"
        message.finish()
        for task in (kept[0], kept[2]):
            task._log_destroy_pending = False
            task.get_coro().close()


# -- a full store and a long backlog -------------------------------------------------------


async def test_backlog_larger_than_the_cache_drains_in_order(tmp_path: Path) -> None:
    """What left memory comes back through the loop, in order, for several tasks at once."""
    total = 3_000
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with aio.open(tmp_path / "store", durability="commit", cache_bytes=0) as node:
            channels = [node.topic("orders").channel(name) for name in ("one", "two")]
            for first in range(0, total, 500):
                await node.publish_many("orders", [b"%06d" % n + b"." * 500 for n in range(first, first + 500)])
        async with aio.open(tmp_path / "store", durability="commit", cache_bytes=0) as node:
            channels = [node.topic("orders").channel(name) for name in ("one", "two")]
            for found in await asyncio.gather(*map(drain, channels)):
                assert [int(body[:6]) for body in found] == list(range(total))
            node.check()


async def test_load_cancelled_half_way_takes_nothing(tmp_path: Path) -> None:
    """A receive that is cancelled while its message is read from disk leaves it to the next."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with aio.open(tmp_path / "store", durability="commit", cache_bytes=0) as node:
            node.topic("orders").channel("billing")
            await node.publish_many("orders", [b"1", b"2"])
        async with aio.open(tmp_path / "store", durability="commit", cache_bytes=0) as node:
            channel = node.topic("orders").channel("billing")
            for delay_rounds in range(4):
                receiving = asyncio.create_task(channel.receive())
                await rounds(delay_rounds)
                if receiving.done():
                    await (await receiving).requeue()  # type: ignore[union-attr]
                receiving.cancel()
                await asyncio.wait([receiving])

            assert sorted(await drain(channel)) == [b"1", b"2"]


@pytest.mark.parametrize("level", ["commit", "fsync"])
async def test_full_store_does_not_stop_the_loop(tmp_path: Path, level: str) -> None:
    """Publishers are refused one after another while receivers go on; then there is room again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with aio.open(tmp_path / "store", durability=level, max_store_bytes=16 * MIB, cache_bytes=0) as node:
            channel = node.topic("orders").channel("billing")
            count = 0
            with pytest.raises(StoreFullError):  # noqa: PT012  # until it is full
                while True:
                    await node.publish("orders", b"x" * MIB)
                    count += 1
            refused = [asyncio.create_task(node.publish("orders", b"y" * MIB)) for _ in range(40)]
            fresh = asyncio.create_task(node.publish("new", b"z" * MIB))
            found = await drain(channel)
            outcomes = await asyncio.gather(*refused, fresh, return_exceptions=True)

            assert all(isinstance(each, (bytes, StoreFullError)) for each in outcomes)
            answered = sum(isinstance(each, bytes) for each in outcomes[:-1])
            found += await drain(channel)
            assert (len(found), found.count(b"x" * MIB)) == (count + answered, count)
            await node.sync()
            await node.publish("orders", b"again")
            assert await drain(channel) == [b"again"]
            node.check()


async def test_sync_and_backup_run_off_the_loop(tmp_path: Path, clock: AttendedClock) -> None:
    """Both are promises of the node for threads; the copy opens."""
    async with aio.open(tmp_path / "store", durability="commit", clock=clock) as node:
        node.topic("orders").channel("billing")
        await node.publish("orders", b"x")
        await node.sync()
        await node.backup(tmp_path / "copy")
        assert (node.health, node.options.durability) == ("OK", "commit")

    async with aio.open(tmp_path / "copy", clock=clock) as node:
        assert await drain(node.topic("orders").channel("billing")) == [b"x"]
