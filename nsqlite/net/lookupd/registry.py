"""Who produces which topics: what an nsqlookupd knows.

Three kinds of registration, named as in /debug:

    client::            every nsqd that has identified
    topic:<t>:          the producers of a topic
    channel:<t>:<c>     the producers that have this channel

A topic or channel stays when its last producer leaves, so that consumers find it again; an
ephemeral one goes when it is unregistered by its last. Pure: time arrives as `now_ns`, which
never steps, and as `wall_ns`, which is only shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from nsqlite.errors import NsqliteError
from nsqlite.names import is_ephemeral

# What nsqlookupd shows as the time of a tombstone that there never was: the year 1, wrapped into 64 bits.
NEVER_NS: Final = -6795364578871345152


class TooManyRegistrationsError(NsqliteError, RuntimeError):
    """A registration beyond what may be kept. Nothing was changed."""

    def __init__(self, option: str, limit: int) -> None:
        self.option = option
        self.limit = limit
        super().__init__(f"{option}={limit} is reached; delete topics that nobody has any more, or raise it")


@attrs.define(eq=False)
class Producer:
    """An nsqd as it identified itself.

    Attributes:
        remote_address: Of its connection, which is its name here: host:port.
        hostname: What it calls itself.
        broadcast_address: Where others reach it.
        tcp_port: The same.
        http_port: The same.
        version: Its own.
        last_update_ns: When it was last heard of.
        last_update_wall_ns: The same, to be shown.
        topics: What it has registered, in that order.
        channels: The same, as pairs of topic and channel.
    """

    remote_address: str
    hostname: str
    broadcast_address: str
    tcp_port: int
    http_port: int
    version: str
    last_update_ns: int = 0
    last_update_wall_ns: int = 0
    topics: dict[str, None] = attrs.field(factory=dict, init=False, repr=False)
    channels: dict[tuple[str, str], None] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def node(self) -> str:
        """How a request for a tombstone names it."""
        return f"{self.broadcast_address}:{self.http_port}"


@attrs.frozen
class Tombstone:
    """A mark that hides one producer of one topic for a while.

    Attributes:
        at_ns: Since when.
        at_wall_ns: The same, to be shown.
    """

    at_ns: int
    at_wall_ns: int


Tombstones = dict[Producer, Tombstone | None]


class Registry:
    """All registrations of one nsqlookupd. Not thread-safe."""

    def __init__(
        self,
        *,
        inactive_producer_timeout_ns: int,
        tombstone_lifetime_ns: int,
        max_registrations: int,
        max_producer_registrations: int,
    ) -> None:
        self._inactive_producer_timeout_ns = inactive_producer_timeout_ns
        self._tombstone_lifetime_ns = tombstone_lifetime_ns
        self._max_registrations = max_registrations
        self._max_producer_registrations = max_producer_registrations
        self._producers: dict[Producer, None] = {}
        self._topics: dict[str, Tombstones] = {}
        self._channels: dict[str, dict[str, Tombstones]] = {}
        self._count = 0  # topics, channels, and producers at each of them

    # -- what nsqds say -------------------------------------------------------------------

    def identify(self, producer: Producer, now_ns: int, wall_ns: int) -> None:
        """Take a producer in; it has no topics yet."""
        assert producer not in self._producers
        self._producers[producer] = None
        self.ping(producer, now_ns, wall_ns)

    def ping(self, producer: Producer, now_ns: int, wall_ns: int) -> None:
        """Hear that a producer is there. Nothing else counts as hearing of it."""
        producer.last_update_ns = now_ns
        producer.last_update_wall_ns = wall_ns

    def register(self, producer: Producer, topic: str, channel: str = "") -> None:
        """Note that a producer has a topic, and a channel of it if one is named.

        What it has already keeps its tombstone.

        Raises:
            TooManyRegistrationsError: The registry is full, or the producer has as many as it may.
        """
        is_new_topic = topic not in producer.topics
        is_new_channel = bool(channel) and (topic, channel) not in producer.channels
        self._check_producer_room(producer, is_new_topic + is_new_channel)
        self._make(topic, channel, is_new_topic + is_new_channel)
        if is_new_channel:
            self._channels[topic][channel][producer] = None
            producer.channels[topic, channel] = None
        if is_new_topic:
            self._topics[topic][producer] = None
            producer.topics[topic] = None

    def unregister(self, producer: Producer, topic: str, channel: str = "") -> None:
        """Note that a producer has no longer this channel, or this topic with all its channels."""
        if channel:
            self._leave_channel(producer, topic, channel)
            if is_ephemeral(channel) and self._channels.get(topic, {}).get(channel) == {}:
                self.delete_channel(topic, channel)
            return
        for each in list(self._channels.get(topic, ())):
            self._leave_channel(producer, topic, each)
        self._leave_topic(producer, topic)
        if is_ephemeral(topic) and self._topics.get(topic) == {}:
            del self._topics[topic]
            self._count -= 1

    def forget(self, producer: Producer) -> None:
        """Let a producer go whose connection is lost. Its topics and channels stay. O(its registrations)."""
        for topic, channel in list(producer.channels):
            self._leave_channel(producer, topic, channel)
        for topic in list(producer.topics):
            self._leave_topic(producer, topic)
        self._producers.pop(producer, None)

    # -- what people and tools say --------------------------------------------------------

    def create(self, topic: str, channel: str = "") -> None:
        """Make a topic, and a channel of it if one is named, that no producer has.

        Raises:
            TooManyRegistrationsError: The registry is full.
        """
        self._make(topic, channel, 0)

    def delete_topic(self, topic: str) -> None:
        """Forget a topic and all its channels; producers that register it again bring it back."""
        for channel in list(self._channels.get(topic, ())):
            self.delete_channel(topic, channel)
        for producer in self._topics.get(topic, {}):
            del producer.topics[topic]
            self._count -= 1
        if self._topics.pop(topic, None) is not None:
            self._count -= 1

    def delete_channel(self, topic: str, channel: str) -> bool:
        """Forget a channel; whether there was one."""
        channels = self._channels.get(topic, {})
        producers = channels.pop(channel, None)
        if producers is None:
            return False
        if not channels:
            del self._channels[topic]
        for producer in producers:
            del producer.channels[topic, channel]
        self._count -= 1 + len(producers)
        return True

    def tombstone(self, topic: str, node: str, now_ns: int, wall_ns: int) -> None:
        """Hide the producers of a topic that go by this broadcast_address:http_port."""
        producers = self._topics.get(topic, {})
        for producer in producers:
            if producer.node == node:
                producers[producer] = Tombstone(now_ns, wall_ns)

    # -- what is asked --------------------------------------------------------------------

    def topic_names(self) -> list[str]:
        """All topics, with producers or without."""
        return list(self._topics)

    def channel_names(self, topic: str) -> list[str]:
        """All channels of a topic; none if there is no such topic."""
        return list(self._channels.get(topic, ()))

    def lookup(self, topic: str, now_ns: int) -> list[Producer] | None:
        """The producers of a topic that consumers should connect to; None if there is no such topic."""
        producers = self._topics.get(topic)
        if producers is None:
            return None
        return [
            producer
            for producer, tombstone in producers.items()
            if self._is_active(producer, now_ns) and not self._is_dead(tombstone, now_ns)
        ]

    def nodes(self, now_ns: int) -> list[tuple[Producer, dict[str, bool]]]:
        """The active producers, each with its topics and whether it is tombstoned there."""
        return [
            (producer, {topic: self._is_dead(self._topics[topic][producer], now_ns) for topic in producer.topics})
            for producer in self._producers
            if self._is_active(producer, now_ns)
        ]

    def registrations(self) -> Iterator[tuple[str, Tombstones]]:
        """Everything there is: keys as /debug shows them, with their producers."""
        yield "client::", dict.fromkeys(self._producers)
        for topic, producers in self._topics.items():
            yield f"topic:{topic}:", producers
        for topic, channels in self._channels.items():
            for channel, producers in channels.items():
                yield f"channel:{topic}:{channel}", producers

    def check(self) -> None:
        """Assert that producers and registrations say the same of each other. O(registrations)."""
        assert self._count <= self._max_registrations
        counts = [1 + len(producers) for key, producers in self.registrations() if key != "client::"]
        assert self._count == sum(counts), (self._count, counts)
        for topic, producers in self._topics.items():
            assert all(topic in producer.topics for producer in producers), topic
        for topic, channels in self._channels.items():
            assert channels, topic
            for channel, producers in channels.items():
                assert all((topic, channel) in producer.channels for producer in producers), (topic, channel)
                assert not any(producers.values()), "tombstones are for topics"
        for producer in self._producers:
            assert all(producer in self._topics[topic] for topic in producer.topics), producer
            assert all(producer in self._channels[topic][channel] for topic, channel in producer.channels), producer
        everybody = {each for _, producers in self.registrations() for each in producers}
        assert everybody == set(self._producers), "somebody who has left is still registered"

    # -- keeping both sides alike ---------------------------------------------------------

    def _check_producer_room(self, producer: Producer, more: int) -> None:
        limit = self._max_producer_registrations
        if more and len(producer.topics) + len(producer.channels) + more > limit:
            raise TooManyRegistrationsError("max_producer_registrations", limit)

    def _make(self, topic: str, channel: str, more: int) -> None:
        """Make what there is not yet, if there is room for it and for so many producers."""
        is_new_topic = topic not in self._topics
        is_new_channel = bool(channel) and channel not in self._channels.get(topic, ())
        more += is_new_topic + is_new_channel
        if more and self._count + more > self._max_registrations:
            raise TooManyRegistrationsError("max_registrations", self._max_registrations)
        self._count += more
        if is_new_channel:
            self._channels.setdefault(topic, {})[channel] = {}
        if is_new_topic:
            self._topics[topic] = {}

    def _leave_channel(self, producer: Producer, topic: str, channel: str) -> None:
        if (topic, channel) in producer.channels:
            del producer.channels[topic, channel]
            del self._channels[topic][channel][producer]
            self._count -= 1

    def _leave_topic(self, producer: Producer, topic: str) -> None:
        if topic in producer.topics:
            del producer.topics[topic]
            del self._topics[topic][producer]
            self._count -= 1

    def _is_active(self, producer: Producer, now_ns: int) -> bool:
        return now_ns - producer.last_update_ns <= self._inactive_producer_timeout_ns

    def _is_dead(self, tombstone: Tombstone | None, now_ns: int) -> bool:
        return tombstone is not None and now_ns - tombstone.at_ns < self._tombstone_lifetime_ns
