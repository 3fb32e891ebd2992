"""The node for asyncio: the same names as for threads.

Plain calls: names, counters, `stats`, `topic`, `channel`, `consume` (what they make is
there at once, and journaled ahead of the next promise). Everything else that changes
something is awaited. Nothing here waits for a disk in the loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

from nsqlite import node as threads
from nsqlite.bodies import BytesLike, Seconds, check_bodies, check_body, delay_to_ns, timeout_to_ns
from nsqlite.core.channel import Channel as CoreChannel
from nsqlite.core.consumer import Consumer as CoreConsumer
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic as CoreTopic
from nsqlite.door import Door, in_thread
from nsqlite.errors import (
    ChannelDeletedError,
    ClosedError,
    InvalidOptionError,
    NodeClosedError,
    NotInFlightError,
    StorageFailedError,
    StoreFullError,
    TopicDeletedError,
)
from nsqlite.message import HeldMessage
from nsqlite.names import check_channel_name, check_topic_name
from nsqlite.ops import ChangeChannel, ChangeTopic, MakeTopic, Publish
from nsqlite.options import SECOND_NS, Options
from nsqlite.reporting import channel_counts, node_stats
from nsqlite.stats import NodeStats
from nsqlite.storage import layout


def open(  # noqa: A001  # the name a user expects: nsqlite.aio.open
    path: str | os.PathLike[str] | None = None, **given: Any
) -> Opening:
    """Open a node, off the loop: ``async with nsqlite.aio.open(path) as node``.

    Takes what nsqlite.open takes and raises what it raises.

    Example:
        >>> import asyncio, nsqlite.aio
        >>> async def main():
        ...     async with nsqlite.aio.open() as node:
        ...         billing = node.topic("orders").channel("billing")
        ...         await node.publish("orders", b"one")
        ...         async with await billing.receive(timeout=1.0) as message:
        ...             print(message.body)
        >>> asyncio.run(main())
        b'one'
    """
    return Opening(path, given)


def face(node: threads.Node) -> Node:
    """The asyncio face of an open node, for the running loop; threads go on using the node itself."""
    return Node(node)


class Opening:
    """A node that is being opened; await it, or enter it."""

    def __init__(self, path: str | os.PathLike[str] | None, given: dict[str, Any]) -> None:
        self._path = path
        self._given = given
        self._node: Node | None = None

    def __await__(self) -> Generator[Any, None, Node]:
        return self._open().__await__()

    async def _open(self) -> Node:
        attempt = _Attempt(self._path, self._given)
        opening = in_thread(attempt.open)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            attempt.give_up()
            with suppress(Exception):
                await asyncio.shield(opening)
            raise
        self._node = Node(opened)
        return self._node

    async def __aenter__(self) -> Node:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._node is not None:
            await self._node.close()


class _Attempt:
    """An opening in a thread, which closes by itself what nobody waits for any more."""

    def __init__(self, path: str | os.PathLike[str] | None, given: dict[str, Any]) -> None:
        self._path = path
        self._given = given
        self._guard = threading.Lock()
        self._is_given_up = False
        self._opened: threads.Node | None = None

    def open(self) -> threads.Node:
        """Open; in a thread."""
        opened = threads.open(self._path, **self._given)
        with self._guard:
            self._opened = opened
            is_given_up = self._is_given_up
        if is_given_up:
            opened.close()
        return opened

    def give_up(self) -> None:
        """Have the node closed as soon as it is open. In the loop."""
        with self._guard:
            self._is_given_up = True
            opened = self._opened
        if opened is not None:
            in_thread(opened.close)


class Node:
    """See nsqlite.Node."""

    def __init__(self, node: threads.Node) -> None:
        self._node = node
        self._engine = node.engine
        self._door = Door(node.engine)

    def __repr__(self) -> str:
        return repr(self._node)

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def options(self) -> Options:
        """What it was opened with."""
        return self._node.options

    @property
    def topics(self) -> list[str]:
        """Names of the topics, in order."""
        return self._node.topics

    @property
    def health(self) -> str:
        """See nsqlite.Node.health."""
        return self._node.health

    def topic(self, name: str) -> Topic:
        """Get a topic, or make it: it is there at once, and durable with the next promise."""
        core: CoreTopic | None = self._engine.locked(lambda broker: broker.topics.get(check_topic_name(name)))
        return Topic(self, core if core is not None else self._engine.run_now(MakeTopic(name)))

    async def _topic(self, name: str) -> Topic:
        """As `topic`, but waits for room."""
        try:
            return self.topic(name)
        except (StoreFullError, StorageFailedError):
            return Topic(self, await self._door.run(lambda: MakeTopic(name)))

    async def publish(self, topic: str, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """See nsqlite.Node.publish."""
        while True:
            handle = await self._topic(topic)
            try:
                return await handle.publish(body, delay)
            except ClosedError:
                if not handle._core.is_deleted:
                    raise

    async def publish_many(self, topic: str, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """See nsqlite.Node.publish_many."""
        batch = check_bodies(bodies, self._engine.options)
        while True:
            handle = await self._topic(topic)
            try:
                return await handle.publish_many(batch, delay)
            except ClosedError:
                if not handle._core.is_deleted:
                    raise

    async def delete_topic(self, name: str) -> None:
        """See nsqlite.Node.delete_topic."""
        core: CoreTopic | None = self._engine.locked(lambda broker: broker.topics.get(check_topic_name(name)))
        if core is not None:
            with suppress(TopicDeletedError):  # somebody else was first
                await self._door.run(lambda: ChangeTopic(core, layout.TOPIC_DELETED))

    def stats(self) -> NodeStats:
        """See nsqlite.Node.stats."""
        return node_stats(self._engine)

    async def sync(self) -> None:
        """See nsqlite.Node.sync."""
        await self._door.work(self._node.sync)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """See nsqlite.Node.backup."""
        await self._door.work(lambda: self._node.backup(path))

    def check(self) -> None:
        """See nsqlite.Node.check."""
        self._node.check()

    async def close(self) -> None:
        """See nsqlite.Node.close. Off the loop, and finished even if this is cancelled."""
        await asyncio.shield(in_thread(self._node.close))


class Topic:
    """See nsqlite.Topic."""

    __slots__ = ("_core", "_door", "_engine", "_max_msg_size", "_node", "name")

    def __init__(self, node: Node, core: CoreTopic) -> None:
        self._node = node
        self._door = node._door
        self._engine = node._engine
        self._core = core
        self._max_msg_size = node.options.max_msg_size
        self.name = core.name

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    async def publish(self, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """See nsqlite.Topic.publish. Tasks that publish at once share a sync."""
        checked = check_body(body, self._max_msg_size)
        delay_ns = delay_to_ns(delay)
        if not delay_ns and not self._engine.is_synced:
            self._door.check_loop()
            with suppress(StoreFullError, StorageFailedError):
                return self._engine.publish_one_now(self._core, checked)
        ids: list[bytes] = await self._door.run(lambda: Publish(self._core, [checked], delay_ns))
        return ids[0]

    async def publish_many(self, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """See nsqlite.Topic.publish_many."""
        batch = check_bodies(bodies, self._engine.options)
        delay_ns = delay_to_ns(delay)
        if not batch:
            return []
        ids: list[bytes] = await self._door.run(lambda: Publish(self._core, batch, delay_ns))
        return ids

    @property
    def channels(self) -> list[str]:
        """Names of its channels, in order."""
        core = self._core
        names: list[str] = self._engine.look_into(core, lambda: sorted(core.channels))
        return names

    def channel(self, name: str) -> Channel:
        """Get a channel, or make it: it is there at once, and durable with the next promise."""
        check_channel_name(name)
        topic = self._core
        core: CoreChannel | None = self._engine.look_into(topic, lambda: topic.channels.get(name))
        if core is None:
            core = self._engine.run_now(self._engine.make_channel(self._core, name))
        return Channel(self._node, core)

    async def delete_channel(self, name: str) -> None:
        """See nsqlite.Topic.delete_channel."""
        check_channel_name(name)
        topic = self._core
        core: CoreChannel | None = self._engine.look_into(topic, lambda: topic.channels.get(name))
        if core is not None:
            with suppress(ChannelDeletedError):  # somebody else was first
                await self._door.run(lambda: ChangeChannel(core, layout.CHANNEL_DELETED))

    async def pause(self) -> None:
        """See nsqlite.Topic.pause."""
        await self._door.run(lambda: ChangeTopic(self._core, layout.TOPIC_PAUSED, is_paused=True))

    async def unpause(self) -> None:
        """See nsqlite.Topic.unpause."""
        await self._door.run(lambda: ChangeTopic(self._core, layout.TOPIC_PAUSED, is_paused=False))

    async def empty(self) -> None:
        """See nsqlite.Topic.empty."""
        await self._door.run(lambda: ChangeTopic(self._core, layout.TOPIC_EMPTIED))

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._core.is_paused

    @property
    def depth(self) -> int:
        """See nsqlite.Topic.depth."""
        core = self._core
        depth: int = self._engine.look_into(core, lambda: core.depth)
        return depth


class Channel:
    """See nsqlite.Channel."""

    __slots__ = ("_core", "_door", "_engine", "_node", "name")

    def __init__(self, node: Node, core: CoreChannel) -> None:
        self._node = node
        self._door = node._door
        self._engine = node._engine
        self._core = core
        self.name = core.name

    def __repr__(self) -> str:
        return f"<Channel {self.name} of {self._core.topic.name}>"

    async def receive(self, timeout: Seconds | None = None) -> Message | None:
        """See nsqlite.Channel.receive. Cancelled, it has taken nothing."""
        deadline_ns = self._engine.until_ns(timeout_to_ns(timeout))
        deliveries = await self._door.receive(self._core, 1, deadline_ns)
        if not deliveries:
            return None
        return Message(self._engine, self._core, deliveries[0], deliveries[0].first_seq)

    async def receive_many(self, limit: int, timeout: Seconds | None = None) -> list[Message]:
        """See nsqlite.Channel.receive_many. Cancelled, it has taken nothing."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidOptionError("limit", limit, "give an int from 1")
        deadline_ns = self._engine.until_ns(timeout_to_ns(timeout))
        return [
            Message(self._engine, self._core, delivery, seq)
            for delivery in await self._door.receive(self._core, limit, deadline_ns)
            for seq in range(delivery.first_seq, delivery.first_seq + delivery.count)
        ]

    async def finish_many(self, messages: Iterable[Message]) -> None:
        """See nsqlite.Channel.finish_many."""
        self._door.check_loop()
        threads.finish_many(self._engine, self._core, list(messages))

    def consume(self, max_in_flight: int = 1) -> Consumer:
        """See nsqlite.Channel.consume: ``async for message in channel.consume()``."""
        return Consumer(self, max_in_flight)

    async def pause(self) -> None:
        """See nsqlite.Channel.pause."""
        await self._door.run(lambda: ChangeChannel(self._core, layout.CHANNEL_PAUSED, is_paused=True))

    async def unpause(self) -> None:
        """See nsqlite.Channel.unpause."""
        await self._door.run(lambda: ChangeChannel(self._core, layout.CHANNEL_PAUSED, is_paused=False))

    async def empty(self) -> None:
        """See nsqlite.Channel.empty."""
        await self._door.run(lambda: ChangeChannel(self._core, layout.CHANNEL_EMPTIED))

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._core.is_paused

    @property
    def depth(self) -> int:
        """See nsqlite.Channel.depth."""
        return channel_counts(self._engine, self._core)[0]

    @property
    def in_flight_count(self) -> int:
        """See nsqlite.Channel.in_flight_count."""
        return channel_counts(self._engine, self._core)[1]

    @property
    def deferred_count(self) -> int:
        """See nsqlite.Channel.deferred_count."""
        return channel_counts(self._engine, self._core)[2]


class Consumer:
    """See nsqlite.Consumer; an asynchronous iterator and context manager."""

    def __init__(self, channel: Channel, max_in_flight: int) -> None:
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise InvalidOptionError("max_in_flight", max_in_flight, "give an int from 1")
        self._channel = channel
        self._engine = channel._engine
        since = self._engine.clock.wall_ns() // SECOND_NS
        self._core = CoreConsumer(threads.next_client_id(), max_in_flight, self._engine.options.msg_timeout_ns, since)
        self._engine.add_consumer(channel._core, self._core)

    async def __aenter__(self) -> Consumer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Message:
        """The next message; see nsqlite.Consumer."""
        if self._core.is_closed:
            raise StopAsyncIteration
        core = self._channel._core
        try:
            deliveries = await self._channel._door.receive(core, 1, NEVER, self._core)
        except ClosedError as error:
            if self._core.is_closed or isinstance(error, NodeClosedError):
                raise StopAsyncIteration from None
            raise
        return Message(self._engine, core, deliveries[0], deliveries[0].first_seq)

    async def close(self) -> None:
        """End the iteration. Twice is fine."""
        core = self._channel._core
        if self._engine.detach_consumer(core, self._core):
            with suppress(ClosedError):
                await self._channel._door.run(lambda: ChangeChannel(core, layout.CHANNEL_DELETED))


class Message(HeldMessage):
    """See nsqlite.Message; its answers are awaited, and it is an asynchronous context manager."""

    __slots__ = ()

    async def finish(self) -> None:
        """See nsqlite.Message.finish."""
        self._finish()

    async def requeue(self, delay: Seconds = 0.0) -> None:
        """See nsqlite.Message.requeue."""
        self._requeue(delay)

    async def touch(self) -> None:
        """See nsqlite.Message.touch."""
        self._touch()

    async def __aenter__(self) -> Message:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_answered:
            return
        if kind is None:
            self._finish()
            return
        with suppress(NotInFlightError):
            self._requeue(0.0)
