"""Promises that a turn takes up: each decides, is journaled, and only then is applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.progress import OWED, Progress
from nsqlite.core.topic import Topic
from nsqlite.errors import ChannelDeletedError, TopicDeletedError
from nsqlite.ids import format_ids
from nsqlite.names import is_ephemeral
from nsqlite.run import AnyRun, Run, build_dated_run, build_run, split_bodies
from nsqlite.storage import layout

if TYPE_CHECKING:
    from nsqlite.waiting import ThreadWaiter


class Op:
    """One promise on its way.

    Attributes:
        result: What the caller gets, once applied.
        error: What the caller gets instead.
        waiter: Woken when it is answered, or when it is to lead the next turn.
        on_done: For an asyncio caller: called in place of waking, from any thread.
        leads: Whether its thread was handed the lead.
        needs_room: Whether a limit on the store holds for it; what makes room must go through.
    """

    needs_room = True

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_answered = False
        self.waiter: ThreadWaiter | None = None
        self.on_done: Callable[[Op], None] | None = None
        self.leads = False

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """Work out the result without changing anything; return journal entries.

        Raises:
            NsqliteError: The promise cannot be made.
        """
        raise NotImplementedError

    def apply(self, broker: Broker) -> None:
        """Make it visible. Cannot fail."""
        raise NotImplementedError

    def answer(self) -> None:
        """Let the caller go on."""
        self.is_answered = True
        if self.on_done is not None:
            self.on_done(self)
        elif self.waiter is not None:
            self.waiter.wake()

    def outcome(self) -> Any:
        """The result, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.result


class Publish(Op):
    """Publish bodies to one topic, all or nothing.

    Attributes:
        first_id: Of the first message; the others count on from it.
    """

    def __init__(self, topic: Topic, bodies: Sequence[bytes], delay_ns: int) -> None:
        super().__init__()
        self.topic = topic
        self.bodies = bodies
        self.delay_ns = delay_ns
        self.first_id = 0
        self._runs: list[Run] = []
        self._due_ns = 0
        self._dropped = 0

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op. Takes ids and seqs from where the broker and the turn's earlier ops stand."""
        topic = self.topic
        if topic.is_deleted:
            raise TopicDeletedError(topic.name)
        self._due_ns = now_ns + self.delay_ns if self.delay_ns else 0
        due_wall_ns = wall_ns + self.delay_ns if self.delay_ns else 0
        first_seq = seq = broker.reserved.get(topic.number, topic.end)
        self.first_id = message_id = broker.next_id
        entries: list[bytes] = []
        self._runs = []
        bodies = self.bodies
        room = topic.room(seq)
        if room is not None and room < len(bodies):
            self._dropped = len(bodies) - room
            bodies = bodies[:room]
        for part, sizes in split_bodies(bodies) if bodies else ():
            run = build_run(seq, message_id, part, wall_ns, due_wall_ns, sizes)
            self._runs.append(run)
            seq += run.count
            message_id += run.count
            if not topic.is_ephemeral:
                entries += (layout.pack_publish(topic.number, run, is_routed=topic.is_flowing), run.frames)
        broker.next_id = message_id + self._dropped
        if seq != first_seq:
            broker.reserved[topic.number] = seq
        return entries

    def outcome(self) -> list[bytes]:
        """The ids, or the error raised. They are formatted for who asks: a client on the wire does not."""
        if self.error is not None:
            raise self.error
        return format_ids(self.first_id, len(self.bodies))

    def apply(self, broker: Broker) -> None:
        """See Op."""
        topic = self.topic
        for run in self._runs:
            topic.append_run(run, self._due_ns)
        if self._dropped:
            topic.message_count += self._dropped
            topic.message_bytes += sum(map(len, self.bodies[len(self.bodies) - self._dropped :]))
            topic.dropped_count += self._dropped
        broker.attend_all(topic)


class Adopt(Op):
    """Take messages over that were accepted elsewhere, all or nothing; nothing may wait to be routed.

    They keep their timestamps and get ids of this node.
    """

    def __init__(self, topic: Topic, owner: Channel | None, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Prepare it.

        Args:
            topic: Where they go.
            owner: The channel that alone is owed them; None for what waits in the topic itself.
            messages: Up to 65,535 of timestamp in ns, times it was handed out (with an owner), and body.
        """
        super().__init__()
        self.topic = topic
        self.owner = owner
        self.messages = messages
        self._runs: list[Run] = []
        self._owed: list[Progress] = []

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        topic, owner = self.topic, self.owner
        if topic.is_deleted:
            raise TopicDeletedError(topic.name)
        if owner is not None and owner.is_deleted:
            raise ChannelDeletedError(topic.name, owner.name)
        assert owner is None or (topic.routed == topic.end and not owner.is_volatile)
        kind = layout.ADOPTED if owner is not None else layout.ROUTED if topic.is_flowing else layout.PUBLISHED
        seq, message_id, at = topic.end, broker.next_id, 0
        self._runs, entries = [], []
        for bodies, _ in split_bodies([body for _, _, body in self.messages]):
            timestamps_ns = [timestamp_ns for timestamp_ns, _, _ in self.messages[at : at + len(bodies)]]
            run = build_dated_run(seq + at, message_id + at, bodies, timestamps_ns)
            self._runs.append(run)
            entries += [layout.pack_run_head(kind, topic.number, run), run.frames]
            at += run.count
        broker.next_id = message_id + at
        self._owed = [] if owner is None else self._stretches(owner.number, seq)
        return [*entries, *(layout.pack_progress([each]) for each in self._owed)]

    def _stretches(self, number: int, seq: int) -> list[Progress]:
        stretches: list[Progress] = []
        for attempts, group in groupby(attempts for _, attempts, _ in self.messages):
            count = len(list(group))
            stretches.append((OWED, number, seq, count, attempts))
            seq += count
        return stretches

    def apply(self, broker: Broker) -> None:
        """See Op."""
        for run in self._runs:
            self.topic.adopt(run, self.owner)
        if self.owner is not None:
            for _, _, seq, count, attempts in self._owed:
                self.owner.owe(seq, count, attempts)
        broker.attend_all(self.topic)


class Singles(Op):
    """All single publishes to one topic of one turn, as one run."""

    def __init__(self, ops: Sequence[Publish]) -> None:
        super().__init__()
        self.ops = ops
        self.whole = Publish(ops[0].topic, [op.bodies[0] for op in ops], 0)

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        return self.whole.decide(broker, wall_ns, now_ns)

    def apply(self, broker: Broker) -> None:
        """See Op."""
        self.whole.apply(broker)
        for index, op in enumerate(self.ops):
            op.first_id = self.whole.first_id + index


class MakeTopic(Op):
    """Get a topic, or make it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._number = 0

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        self.result = broker.topics.get(self.name)
        self.needs_room = self.result is None and not is_ephemeral(self.name)
        if self.result is not None:
            return []
        self._number = broker.take_number()
        if not self.needs_room:
            return []
        return [layout.pack_named(layout.TOPIC_MADE, self._number, 0, 0, self.name)]

    def apply(self, broker: Broker) -> None:
        """See Op."""
        if self.result is None:
            self.result = broker.topics.get(self.name) or broker.add_topic(self._number, self.name)


class MakeChannel(Op):
    """Get a channel, or make it."""

    def __init__(self, topic: Topic, name: str, backlog: Sequence[AnyRun] = ()) -> None:
        """Prepare it.

        Args:
            topic: Whose channel it is to be.
            name: A valid name.
            backlog: What waits in the topic, for a channel that only memory keeps messages for.
        """
        super().__init__()
        self.topic = topic
        self.name = name
        self._backlog = backlog
        self._number = 0

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        topic = self.topic
        if topic.is_deleted:
            raise TopicDeletedError(topic.name)
        self.result = topic.channels.get(self.name)
        self.needs_room = self.result is None and not (topic.is_ephemeral or is_ephemeral(self.name))
        if self.result is not None:
            return []
        self._number = broker.take_number()
        if topic.is_ephemeral:
            return []
        if is_ephemeral(self.name):
            if topic.is_paused or topic.routed == topic.end:
                return []
            # The channel is not in the journal, but that it takes what waits here must be.
            return [layout.pack_numbered(layout.TOPIC_PAUSED, topic.number, 0, topic.end << 1)]
        return [layout.pack_named(layout.CHANNEL_MADE, topic.number, self._number, topic.routed, self.name)]

    def apply(self, broker: Broker) -> None:
        """See Op."""
        if self.result is None:
            made = self.topic.channels.get(self.name)
            broker.take_up(self.topic, self._backlog)
            self.result = made or broker.add_channel(self.topic, self._number, self.name)


class MakeChannels(Op):
    """Make those channels of a topic that are not there; all begin at the same place, with what waits in the topic.

    The result is those that were made.
    """

    def __init__(self, topic: Topic, names: Sequence[str]) -> None:
        """Prepare it. The names are valid, and none is ephemeral."""
        super().__init__()
        self.topic = topic
        self.names = names
        self._named: list[tuple[int, str]] = []

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        topic = self.topic
        if topic.is_deleted:
            raise TopicDeletedError(topic.name)
        wanted = [name for name in dict.fromkeys(self.names) if name not in topic.channels]
        self._named = [(broker.take_number(), name) for name in wanted]
        self.needs_room = bool(wanted) and not topic.is_ephemeral
        if not self.needs_room:
            return []
        entries = [
            layout.pack_named(layout.CHANNEL_MADE, topic.number, number, topic.routed, name)
            for number, name in self._named
        ]
        if topic.is_paused or topic.routed == topic.end:
            return entries
        # A first channel takes what waits, and a replay would give it delayed messages alone: as if the topic
        # were paused until all are there.
        pause = layout.pack_numbered(layout.TOPIC_PAUSED, topic.number, 0, topic.routed << 1 | True)
        unpause = layout.pack_numbered(layout.TOPIC_PAUSED, topic.number, 0, topic.end << 1)
        return [pause, *entries, unpause]

    def apply(self, broker: Broker) -> None:
        """See Op."""
        named = [each for each in self._named if each[1] not in self.topic.channels]
        self.result = broker.add_channels(self.topic, named) if named else []


class ChangeTopic(Op):
    """Delete, pause, unpause or empty a topic. The result is the channels that went."""

    needs_room = False

    def __init__(self, topic: Topic, kind: int, *, is_paused: bool = False) -> None:
        super().__init__()
        self.topic = topic
        self.kind = kind
        self.is_paused = is_paused

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        topic = self.topic
        if topic.is_deleted:
            raise TopicDeletedError(topic.name)
        if topic.is_ephemeral:
            return []
        value = topic.end
        if self.kind == layout.TOPIC_PAUSED:
            routed = topic.end if not self.is_paused and topic.channels else topic.routed
            value = routed << 1 | self.is_paused
        return [layout.pack_numbered(self.kind, topic.number, 0, value)]

    def apply(self, broker: Broker) -> None:
        """See Op."""
        topic = self.topic
        self.result = []
        if self.kind == layout.TOPIC_DELETED:
            self.result = broker.remove_topic(topic)
        elif self.kind == layout.TOPIC_EMPTIED:
            topic.empty()
        else:
            topic.pause(is_paused=self.is_paused)
            broker.attend_all(topic)


class ChangeChannel(Op):
    """Delete, pause, unpause or empty a channel."""

    needs_room = False

    def __init__(self, channel: Channel, kind: int, *, is_paused: bool = False) -> None:
        super().__init__()
        self.channel = channel
        self.kind = kind
        self.is_paused = is_paused

    def decide(self, broker: Broker, wall_ns: int, now_ns: int) -> list[bytes]:
        """See Op."""
        channel, topic = self.channel, self.channel.topic
        if channel.is_deleted:
            raise ChannelDeletedError(topic.name, channel.name)
        if channel.is_volatile:
            return []
        value = topic.routed if self.kind == layout.CHANNEL_EMPTIED else int(self.is_paused)
        return [layout.pack_numbered(self.kind, topic.number, channel.number, value)]

    def apply(self, broker: Broker) -> None:
        """See Op."""
        channel, topic = self.channel, self.channel.topic
        self.result = []
        if self.kind == layout.CHANNEL_DELETED:
            broker.remove_channel(topic, channel)
            if topic.is_ephemeral and not topic.channels:
                broker.remove_topic(topic)
            self.result = [channel]
        elif self.kind == layout.CHANNEL_EMPTIED:
            channel.empty()
            broker.wakes.extend(each.watcher for each in channel.consumers if each.watcher is not None)
        else:
            channel.is_paused = self.is_paused
            broker.attend(channel)


def grouped(ops: Sequence[Publish]) -> list[Op]:
    """A turn's publishes, with the single ones of a topic brought together. Order within a topic stays."""
    singles: dict[int, list[Publish]] = {}
    turn: list[Op | list[Publish]] = []
    for op in ops:
        key = id(op.topic)
        if len(op.bodies) == 1 and not op.delay_ns:
            if key not in singles:
                singles[key] = []
                turn.append(singles[key])
            singles[key].append(op)
        else:
            singles.pop(key, None)
            turn.append(op)
    return [each if isinstance(each, Op) else (each[0] if len(each) == 1 else Singles(each)) for each in turn]
