"""The node for threads: Node, Topic, Channel and Consumer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Final, Literal

from nsqlite.bodies import BytesLike, Seconds, check_bodies, check_body, delay_to_ns, timeout_to_ns
from nsqlite.clock import Clock
from nsqlite.core.channel import Channel as CoreChannel
from nsqlite.core.consumer import Consumer as CoreConsumer
from nsqlite.core.delivery import Delivery
from nsqlite.core.timers import NEVER
from nsqlite.core.topic import Topic as CoreTopic
from nsqlite.engine import Engine
from nsqlite.errors import (
    ChannelDeletedError,
    ClosedError,
    InvalidOptionError,
    NodeClosedError,
    NotInFlightError,
    TopicDeletedError,
)
from nsqlite.lifetime import forget_engine, open_engine
from nsqlite.message import HeldMessage, Message
from nsqlite.names import check_channel_name, check_topic_name
from nsqlite.ops import ChangeChannel, ChangeTopic, MakeTopic, Op, Publish
from nsqlite.options import SECOND_NS, Options, merged
from nsqlite.reporting import backup, channel_counts, node_stats
from nsqlite.stats import NodeStats
from nsqlite.storage import layout

_client_numbers: Final = count(1)


def next_client_id() -> str:
    """A consumer's number in this process."""
    return str(next(_client_numbers))


def open(  # noqa: A001  # the name a user expects: nsqlite.open
    path: str | os.PathLike[str] | None = None,
    *,
    durability: Literal["fsync", "commit", "memory"] | None = None,
    options: Options | None = None,
    clock: Clock | None = None,
    **fields: Any,
) -> Node:
    """Open a node: on a store, or in memory when there is no path.

    Args:
        path: Folder of the store, made if it is not there.
        durability: "fsync" (the default with a path), "commit", or "memory" (without one).
        options: All options at once.
        clock: Where time comes from; the machine's own unless given.
        fields: Single options, over those in `options`; see nsqlite.Options.

    Raises:
        InvalidOptionError: An option is unknown or out of its range.
        StoreError: One of its kinds says what is wrong with the store.

    Example:
        >>> import nsqlite
        >>> with nsqlite.open() as node:
        ...     billing = node.topic("orders").channel("billing")
        ...     _ = node.publish("orders", b"one")
        ...     with billing.receive(timeout=1.0) as message:
        ...         print(message.body)
        b'one'
    """
    if durability is not None:
        fields["durability"] = durability
    return Node(open_engine(path, merged(Options, options, fields, name="nsqlite.Options"), clock))


class Node:
    """An open node. Thread-safe; close it, or use it as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Node {self.engine.state.value}, {len(self.engine.broker.topics)} topics>"

    @property
    def options(self) -> Options:
        """What it was opened with."""
        return self.engine.options

    @property
    def topics(self) -> list[str]:
        """Names of the topics, in order."""
        names: list[str] = self.engine.locked(lambda broker: sorted(broker.topics))
        return names

    def topic(self, name: str) -> Topic:
        """Get a topic, or make it. Once this returns a new one is as durable as a message.

        Raises:
            InvalidNameError, NodeClosedError, StoreFullError, StorageFailedError: No topic was made.
        """
        return Topic(self, self._topic(check_topic_name(name)))

    def _topic(self, name: str) -> CoreTopic:
        found: CoreTopic | None = self.engine.locked(lambda broker: broker.topics.get(name))
        return found if found is not None else self.engine.run(MakeTopic(name))

    def publish(self, topic: str, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """Publish to a topic by name; makes it if need be. See Topic.publish."""
        while True:
            handle = self.topic(topic)
            try:
                return handle.publish(body, delay)
            except ClosedError:
                if not handle._core.is_deleted:
                    raise

    def publish_many(self, topic: str, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """Publish a batch to a topic by name; makes it if need be. See Topic.publish_many."""
        batch = check_bodies(bodies, self.engine.options)
        while True:
            handle = self.topic(topic)
            try:
                return handle.publish_many(batch, delay)
            except ClosedError:
                if not handle._core.is_deleted:
                    raise

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its channels and messages; nothing happens if there is none."""
        core: CoreTopic | None = self.engine.locked(lambda broker: broker.topics.get(check_topic_name(name)))
        if core is not None:
            self._change(ChangeTopic(core, layout.TOPIC_DELETED))

    def _change(self, op: Op) -> None:
        with suppress(TopicDeletedError, ChannelDeletedError):  # somebody else was first
            self.engine.run(op)

    def stats(self) -> NodeStats:
        """All counters, frozen."""
        return node_stats(self.engine)

    def sync(self) -> None:
        """Return when all that was answered so far is on stable storage, finishes too.

        Raises:
            StorageFailedError: It is not; `outcome_unknown` says what may be lost.
        """
        self.engine.sync()

    @property
    def health(self) -> str:
        """The word OK, or "NOK - " and the error of the last write to the store."""
        return self.engine.health.text

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the store, as of now, to a new folder, while it is in use.

        Raises:
            StoreError: There is no complete copy.
        """
        backup(self.engine, os.fspath(path))

    def check(self) -> None:
        """Check every invariant of the node's memory, for tests.

        Raises:
            AssertionError: Naming the first that is broken.
        """
        self.engine.check()

    def close(self) -> None:
        """End it: all that was promised is in the store, and its lock is free. Twice is fine.

        Raises:
            StoreError: The store could not be written; its journal keeps what was promised.
        """
        try:
            self.engine.close()
        finally:
            forget_engine(self.engine)


class Topic:
    """A handle of one topic. It raises TopicDeletedError once that topic is deleted."""

    __slots__ = ("_core", "_engine", "_max_msg_size", "_node", "name")

    def __init__(self, node: Node, core: CoreTopic) -> None:
        self._node = node
        self._engine = node.engine
        self._core = core
        self._max_msg_size = node.engine.options.max_msg_size
        self.name = core.name

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def publish(self, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """Publish one message. Once this returns it is as durable as the node promises.

        Args:
            body: At least one byte, at most `max_msg_size`.
            delay: Seconds, or a timedelta, until it may be delivered; survives a restart.

        Returns:
            Its id: sixteen hex digits.

        Raises:
            InvalidBodyError, MessageTooBigError, InvalidDelayError: Nothing happened.
            TopicDeletedError, NodeClosedError, StoreFullError: It was not published.
            StorageFailedError: It was not published, unless `outcome_unknown`.
        """
        if type(body) is not bytes or not 0 < len(body) <= self._max_msg_size:
            body = check_body(body, self._max_msg_size)
        if delay is None:
            return self._engine.publish_one(self._core, body)
        ids: list[bytes] = self._engine.run(Publish(self._core, [body], delay_to_ns(delay)))
        return ids[0]

    def publish_many(self, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """Publish a batch, all or nothing; return the ids in order.

        Raises:
            As `publish`; MessageTooBigError also if the batch is above `max_batch_bytes`.
        """
        batch = check_bodies(bodies, self._engine.options)
        delay_ns = delay_to_ns(delay)
        if not batch:
            return []
        ids: list[bytes] = self._engine.run(Publish(self._core, batch, delay_ns))
        return ids

    @property
    def channels(self) -> list[str]:
        """Names of its channels, in order."""
        core = self._core
        names: list[str] = self._engine.look_into(core, lambda: sorted(core.channels))
        return names

    def channel(self, name: str) -> Channel:
        """Get a channel, or make one that begins with what is published from now on.

        The first channel of a topic gets all that waits in the topic.

        Raises:
            InvalidNameError, TopicDeletedError, NodeClosedError, StoreFullError,
            StorageFailedError: No channel was made.
        """
        check_channel_name(name)
        topic = self._core
        core: CoreChannel | None = self._engine.look_into(topic, lambda: topic.channels.get(name))
        if core is None:
            core = self._engine.run(self._engine.make_channel(topic, name))
        return Channel(self._node, core)

    def delete_channel(self, name: str) -> None:
        """Delete a channel with what it owes; nothing happens if there is none."""
        check_channel_name(name)
        topic = self._core
        core: CoreChannel | None = self._engine.look_into(topic, lambda: topic.channels.get(name))
        if core is not None:
            self._node._change(ChangeChannel(core, layout.CHANNEL_DELETED))

    def pause(self) -> None:
        """Hold messages back from the channels until `unpause`."""
        self._engine.run(ChangeTopic(self._core, layout.TOPIC_PAUSED, is_paused=True))

    def unpause(self) -> None:
        """Let messages go to the channels again."""
        self._engine.run(ChangeTopic(self._core, layout.TOPIC_PAUSED, is_paused=False))

    def empty(self) -> None:
        """Drop the messages that wait in the topic itself; channels keep theirs."""
        self._engine.run(ChangeTopic(self._core, layout.TOPIC_EMPTIED))

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._core.is_paused

    @property
    def depth(self) -> int:
        """Messages that wait in the topic itself, for a first channel or an unpause."""
        core = self._core
        depth: int = self._engine.look_into(core, lambda: core.depth)
        return depth


class Channel:
    """A handle of one channel. It raises ChannelDeletedError once that channel is deleted."""

    __slots__ = ("_core", "_engine", "_node", "name")

    def __init__(self, node: Node, core: CoreChannel) -> None:
        self._node = node
        self._engine = node.engine
        self._core = core
        self.name = core.name

    def __repr__(self) -> str:
        return f"<Channel {self.name} of {self._core.topic.name}>"

    def receive(self, timeout: Seconds | None = None) -> Message | None:
        """Take the next message, waiting for one.

        Args:
            timeout: Seconds to wait at most; 0 looks once, None waits for ever.

        Returns:
            A message, in flight until it is answered or `msg_timeout` is over; None at the timeout.

        Raises:
            ChannelDeletedError, NodeClosedError: Also while it waits.
            DamagedRecordError: Once for a stretch that cannot be read; the next call goes on behind it.
        """
        core = self._core
        engine = self._engine
        delivery = engine.take_one(core)
        if delivery is None:
            deliveries = engine.receive(core, 1, engine.until_ns(timeout_to_ns(timeout)))
            if not deliveries:
                return None
            delivery = deliveries[0]
        return Message(engine, core, delivery, delivery.first_seq)

    def receive_many(self, limit: int, timeout: Seconds | None = None) -> list[Message]:
        """Take 1 to `limit` messages as soon as there is one; [] at the timeout. See `receive`."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidOptionError("limit", limit, "give an int from 1")
        deadline_ns = self._engine.until_ns(timeout_to_ns(timeout))
        return self._messages(self._engine.receive(self._core, limit, deadline_ns))

    def _messages(self, deliveries: Sequence[Delivery]) -> list[Message]:
        engine, core = self._engine, self._core
        return [
            Message(engine, core, delivery, seq)
            for delivery in deliveries
            for seq in range(delivery.first_seq, delivery.first_seq + delivery.count)
        ]

    def finish_many(self, messages: Iterable[Message]) -> None:
        """Finish all of them that are in flight, whatever the others are.

        Raises:
            NotInFlightError: Naming those that were not, once all others are finished.
        """
        finish_many(self._engine, self._core, list(messages))

    def consume(self, max_in_flight: int = 1) -> Consumer:
        """A consumer to iterate over, which holds at most `max_in_flight` messages unanswered."""
        return Consumer(self, max_in_flight)

    def pause(self) -> None:
        """Hand nothing out until `unpause`."""
        self._engine.run(ChangeChannel(self._core, layout.CHANNEL_PAUSED, is_paused=True))

    def unpause(self) -> None:
        """Hand messages out again."""
        self._engine.run(ChangeChannel(self._core, layout.CHANNEL_PAUSED, is_paused=False))

    def empty(self) -> None:
        """Drop all its messages, those in flight and deferred too."""
        self._engine.run(ChangeChannel(self._core, layout.CHANNEL_EMPTIED))

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._core.is_paused

    @property
    def depth(self) -> int:
        """Messages that wait: neither in flight nor deferred."""
        return channel_counts(self._engine, self._core)[0]

    @property
    def in_flight_count(self) -> int:
        """Messages handed out and not answered."""
        return channel_counts(self._engine, self._core)[1]

    @property
    def deferred_count(self) -> int:
        """Messages that wait for their time."""
        return channel_counts(self._engine, self._core)[2]


class Consumer:
    """An iterator over a channel's messages; ends when it, or the node, is closed.

    Holds nothing ahead of its caller: a message's timeout starts when it is handed over.
    """

    def __init__(self, channel: Channel, max_in_flight: int) -> None:
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise InvalidOptionError("max_in_flight", max_in_flight, "give an int from 1")
        self._channel = channel
        self._engine = channel._engine
        since = self._engine.clock.wall_ns() // SECOND_NS
        self._core = CoreConsumer(next_client_id(), max_in_flight, self._engine.options.msg_timeout_ns, since)
        self._engine.add_consumer(channel._core, self._core)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        """The next message, when there is one and fewer than `max_in_flight` are unanswered.

        Raises:
            ChannelDeletedError: The channel is gone.
        """
        if self._core.is_closed:
            raise StopIteration
        core = self._channel._core
        try:
            delivery = self._engine.receive(core, 1, NEVER, self._core)[0]
        except ClosedError as error:
            if self._core.is_closed or isinstance(error, NodeClosedError):
                raise StopIteration from None
            raise
        return Message(self._engine, core, delivery, delivery.first_seq)

    def close(self) -> None:
        """End the iteration; messages in somebody's hands stay in flight. Twice is fine."""
        self._engine.remove_consumer(self._channel._core, self._core)


def finish_many(engine: Engine, core: CoreChannel, messages: Sequence[HeldMessage]) -> None:
    """Finish messages of one channel; see Channel.finish_many."""
    held: list[tuple[Delivery, list[int]]] = []
    last: Delivery | None = None
    seqs: list[int] = []
    add = seqs.append
    has_foreign = False
    for message in messages:
        delivery = message._delivery
        if delivery is not last:
            if message._channel is not core:
                has_foreign = True
                continue
            seqs = []
            held.append((delivery, seqs))
            last, add = delivery, seqs.append
        add(message._seq)
        message._is_answered = True
    missed = set(engine.finish_many(core, held))
    if missed or has_foreign:
        raise NotInFlightError([each.id for each in messages if each._seq in missed or each._channel is not core])
