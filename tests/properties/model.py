"""Topics and channels as plainly as they can be said: the model a node must match.

No run, no cursor, no journal, nothing shared between channels: every channel
copies every message, as nsqd does, and keeps it in exactly one of four places.
Slow and obviously right is the aim. Knows no node and no clock: ``advance`` and
``step_wall`` are the time. Times are integer nanoseconds.

What the model leaves open, a node may choose: which of the ready messages comes
next, within ``Channel.allowed``. All else is exact.
"""

# ruff: noqa: D102 - the methods are the operations, and do what their names say

from collections import deque

import attrs

EPHEMERAL = "#ephemeral"


@attrs.frozen
class Message:
    """What was published. ``due_ns`` and ``due_wall_ns`` are None without a delay.

    The delay counts from publishing, on the monotonic clock while the node
    lives and on the wall clock over a restart.
    """

    id: bytes
    body: bytes
    due_ns: int | None = None
    due_wall_ns: int | None = None


@attrs.define
class Flight:
    """A message that somebody holds: until when, and how far a touch may push it."""

    message: Message
    attempts: int
    deadline_ns: int
    latest_ns: int


@attrs.define
class Wait:
    """A message that is deferred: until when, on both clocks."""

    message: Message
    due_ns: int
    due_wall_ns: int


@attrs.define
class Channel:
    """Every unfinished message is in one of fresh, again, in_flight, deferred.

    Attributes:
        fresh: Never handed out and without a delay, in the order of publishing.
        again: Ready, but requeued, timed out or no longer deferred: in any order.
        ahead: Those of ``again`` that were ready, or in flight, when the store was opened:
            they go ahead of all else.
        over: When the delay of those of ``again`` was over that had one, on the wall clock.
        attempts: How often each unfinished message was handed out.
    """

    name: str
    is_paused: bool = False
    fresh: deque[Message] = attrs.Factory(deque)
    again: dict[bytes, Message] = attrs.Factory(dict)
    ahead: set[bytes] = attrs.Factory(set)
    in_flight: dict[bytes, Flight] = attrs.Factory(dict)
    deferred: dict[bytes, Wait] = attrs.Factory(dict)
    over: dict[bytes, int] = attrs.Factory(dict)
    attempts: dict[bytes, int] = attrs.Factory(dict)
    message_count: int = 0
    requeue_count: int = 0
    timeout_count: int = 0
    finish_count: int = 0

    @property
    def depth(self) -> int:
        return len(self.fresh) + len(self.again)

    @property
    def owed(self) -> dict[bytes, Message]:
        """Every unfinished message, wherever it is."""
        places = [
            {message.id: message for message in self.fresh},
            self.again,
            {message_id: flight.message for message_id, flight in self.in_flight.items()},
            {message_id: wait.message for message_id, wait in self.deferred.items()},
        ]
        everything = {message_id: message for place in places for message_id, message in place.items()}
        assert len(everything) == sum(map(len, places)), "a message in two places"
        return everything

    def allowed(self) -> dict[bytes, Message]:
        """What the next receive may hand out: nothing else would be right."""
        if self.is_paused:
            return {}
        if self.ahead:
            return {message_id: self.again[message_id] for message_id in self.ahead}
        ready = dict(self.again)
        if self.fresh:
            ready[self.fresh[0].id] = self.fresh[0]
        return ready

    def route(self, message: Message, now_ns: int) -> None:
        self.message_count += 1
        if message.due_ns is None:
            self.fresh.append(message)
        elif message.due_ns <= now_ns:
            self._end_delay(message, message.due_wall_ns)
        else:
            assert message.due_wall_ns is not None
            self.deferred[message.id] = Wait(message, message.due_ns, message.due_wall_ns)

    def receive(self, message_id: bytes, deadline_ns: int, latest_ns: int) -> Flight:
        """Hand out ``id``, which must be in ``allowed()``."""
        message = self.allowed()[message_id]
        if message_id in self.again:
            del self.again[message_id]
            self.over.pop(message_id, None)
            self.ahead.discard(message_id)
        else:
            self.fresh.popleft()
        self.attempts[message_id] = self.attempts.get(message_id, 0) + 1
        flight = Flight(message, self.attempts[message_id], deadline_ns, latest_ns)
        self.in_flight[message_id] = flight
        return flight

    def finish(self, message_id: bytes) -> None:
        del self.in_flight[message_id], self.attempts[message_id]
        self.finish_count += 1

    def requeue(self, message_id: bytes, wait: Wait | None) -> None:
        self.requeue_count += 1
        message = self.in_flight.pop(message_id).message
        if wait is None:
            self.again[message_id] = message
        else:
            self.deferred[message_id] = wait

    def apply_due(self, now_ns: int) -> None:
        """Time out what is held too long, and make ready what was deferred."""
        for message_id, flight in list(self.in_flight.items()):
            if flight.deadline_ns <= now_ns:
                del self.in_flight[message_id]
                self.again[message_id] = flight.message
                self.timeout_count += 1
        for message_id, wait in list(self.deferred.items()):
            if wait.due_ns <= now_ns:
                del self.deferred[message_id]
                self._end_delay(wait.message, wait.due_wall_ns)

    def _end_delay(self, message: Message, due_wall_ns: int | None) -> None:
        assert due_wall_ns is not None
        self.again[message.id] = message
        self.over[message.id] = due_wall_ns

    def empty(self) -> None:
        for place in (self.fresh, self.again, self.ahead, self.over, self.in_flight, self.deferred):
            place.clear()
        self.attempts.clear()

    def restart(self, now_ns: int, wall_ns: int) -> None:
        """All that was in flight is ready, attempts kept; delays run on the wall clock."""
        self.message_count = self.requeue_count = self.timeout_count = self.finish_count = 0
        self.again.update({message_id: flight.message for message_id, flight in self.in_flight.items()})
        self.in_flight.clear()
        for wait in self.deferred.values():
            wait.due_ns = now_ns + wait.due_wall_ns - wall_ns
        self.apply_due(now_ns)
        self.ahead = set(self.again)


@attrs.define
class Topic:
    """The messages that no channel has seen yet, and the channels."""

    name: str
    is_paused: bool = False
    waiting: list[Message] = attrs.Factory(list)
    channels: dict[str, Channel] = attrs.Factory(dict)
    message_count: int = 0
    message_bytes: int = 0

    @property
    def depth(self) -> int:
        return len(self.waiting)

    def route(self, now_ns: int) -> None:
        """Give what waits to every channel, unless paused or there is none."""
        if self.is_paused or not self.channels:
            return
        for message in self.waiting:
            for channel in self.channels.values():
                channel.route(message, now_ns)
        self.waiting.clear()


@attrs.define
class Model:
    """A node: topics by name, and the time."""

    msg_timeout_ns: int
    max_msg_timeout_ns: int
    now_ns: int
    wall_ns: int
    topics: dict[str, Topic] = attrs.Factory(dict)

    def topic(self, name: str) -> Topic:
        return self.topics.setdefault(name, Topic(name))

    def channel(self, topic_name: str, name: str) -> Channel:
        """Get or create. A new channel starts behind what the others have seen."""
        topic = self.topic(topic_name)
        channel = topic.channels.setdefault(name, Channel(name))
        topic.route(self.now_ns)
        return channel

    def publish(self, topic_name: str, ids: list[bytes], bodies: list[bytes], delay_ns: int) -> None:
        topic = self.topic(topic_name)
        due = (self.now_ns + delay_ns, self.wall_ns + delay_ns) if delay_ns else (None, None)
        topic.waiting += [Message(message_id, body, *due) for message_id, body in zip(ids, bodies, strict=True)]
        topic.message_count += len(bodies)
        topic.message_bytes += sum(map(len, bodies))
        topic.route(self.now_ns)

    def receive(self, channel: Channel, message_id: bytes) -> Flight:
        deadline_ns = self.now_ns + self.msg_timeout_ns
        return channel.receive(message_id, deadline_ns, self.now_ns + self.max_msg_timeout_ns)

    def touch(self, channel: Channel, message_id: bytes) -> None:
        flight = channel.in_flight[message_id]
        flight.deadline_ns = min(self.now_ns + self.msg_timeout_ns, flight.latest_ns)

    def requeue(self, channel: Channel, message_id: bytes, delay_ns: int) -> None:
        message = channel.in_flight[message_id].message
        wait = Wait(message, self.now_ns + delay_ns, self.wall_ns + delay_ns)
        channel.requeue(message_id, wait if delay_ns else None)

    def pause_topic(self, topic: Topic, is_paused: bool) -> None:
        topic.is_paused = is_paused
        topic.route(self.now_ns)

    def delete_channel(self, topic: Topic, name: str) -> None:
        """An ephemeral topic goes with its last channel."""
        del topic.channels[name]
        if not topic.channels and topic.name.endswith(EPHEMERAL):
            del self.topics[topic.name]

    def advance(self, ns: int) -> None:
        self.now_ns += ns
        self.wall_ns += ns
        for topic in self.topics.values():
            for channel in topic.channels.values():
                channel.apply_due(self.now_ns)

    def step_wall(self, ns: int) -> None:
        self.wall_ns += ns

    def wall_behind_ns(self) -> int:
        """How far the wall clock stepped back behind the end of a delay that is over: 0 if it did not."""
        ends = [end for t in self.topics.values() for c in t.channels.values() for end in c.over.values()]
        return max(0, max(ends, default=0) - self.wall_ns)

    def restart(self) -> None:
        """What is ephemeral is gone, counters start again, all else is kept."""
        self.topics = {n: t for n, t in self.topics.items() if not n.endswith(EPHEMERAL)}
        for topic in self.topics.values():
            topic.message_count = topic.message_bytes = 0
            topic.channels = {n: c for n, c in topic.channels.items() if not n.endswith(EPHEMERAL)}
            topic.waiting = [self._rebased(message) for message in topic.waiting]
            for channel in topic.channels.values():
                channel.restart(self.now_ns, self.wall_ns)

    def _rebased(self, message: Message) -> Message:
        if message.due_wall_ns is None:
            return message
        return attrs.evolve(message, due_ns=self.now_ns + message.due_wall_ns - self.wall_ns)
