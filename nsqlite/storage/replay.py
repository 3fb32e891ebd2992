"""Journal records applied to a recovered state. Replay decides nothing: records carry results.

Applying a record to a state that has it already, or has later ones, does no harm; a
hand-over that a forgotten record left out makes its messages come again, never vanish.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nsqlite.run import OPEN_RUN_LIMIT, SPLIT_BYTES, OpenRun, Run
from nsqlite.seqset import SeqSet
from nsqlite.state import ChannelState, NodeState, TopicState, pack_exception, unpack_exception
from nsqlite.storage import layout
from nsqlite.storage.layout import unpack_entries

_PUBLISHES: Final = (layout.PUBLISHED, layout.ROUTED)
_UNPACK_PUBLISH: Final = layout.PUBLISH_HEAD.unpack_from
_PUBLISH_BYTES: Final = layout.PUBLISH_HEAD.size


class Replay:
    """Brings a state forward, record by record."""

    def __init__(self, state: NodeState) -> None:
        self.state = state
        self._channels: dict[int, tuple[TopicState, ChannelState]] = {}
        self._tails: dict[int, OpenRun] = {}
        self._emptied: dict[int, int] = {}
        for topic in state.topics.values():
            topic.runs = []
            for channel in topic.channels.values():
                self._channels[channel.number] = (topic, channel)

    def apply(self, lsn: int, payload: bytes) -> None:
        """Apply one record."""
        if not self._apply_single(payload):
            self._apply_entries(payload)
        self.state.settled = lsn

    def _apply_single(self, payload: bytes) -> bool:
        """Apply a record that is one publish of one message, as a busy journal's mostly are; else False.

        Hot: 2 of the 4 µs that such a record takes at opening (benchmarks/killed.py).
        """
        kind = payload[0]
        if kind not in _PUBLISHES:
            return False
        _, topic_number, seq, message_id, count, due_ns, length = _UNPACK_PUBLISH(payload)
        if count != 1 or due_ns or _PUBLISH_BYTES + length != len(payload):
            return False
        topic = self.state.topics.get(topic_number)
        if topic is None or seq != topic.end:
            return False
        tail = self._tails.get(topic_number)
        frame = payload[_PUBLISH_BYTES:]
        if (
            tail is not None
            and tail.first_id + tail.count == message_id
            and tail.first_seq + tail.count == seq
            and tail.count < OPEN_RUN_LIMIT
            and tail.size_bytes < SPLIT_BYTES
        ):
            tail.parts.append(frame)
            tail.count += 1
            tail.size_bytes += length
        else:
            self._tails[topic_number] = tail = OpenRun(seq, message_id, frame)
            topic.runs.append(tail)  # type: ignore[attr-defined]  # a list here
        topic.end = seq + 1
        if message_id > self.state.last_id:
            self.state.last_id = message_id
        if kind == layout.ROUTED:
            if topic.waiting:
                self._route(topic, topic.end)
            else:
                topic.routed = topic.end
        return True

    def _apply_entries(self, payload: bytes) -> None:
        for entry in unpack_entries(payload):
            kind = entry[0]
            if kind in (layout.PUBLISHED, layout.ROUTED):
                self._published(entry[1], entry[2], is_routed=kind == layout.ROUTED)
            elif kind == layout.ADOPTED:
                self._adopted(entry[1], entry[2])
            elif kind >= 16:
                held = self._channels.get(entry[1])
                left = self._behind_emptied(entry) if self._emptied else entry
                if held is not None and left:  # progress for what is gone is ignored
                    _PROGRESS[kind](*held, *left[2:])
            else:
                _PROMISES[kind](self, *entry[1:])

    def _behind_emptied(self, entry: tuple[Any, ...]) -> tuple[Any, ...]:
        """What of a progress entry concerns messages that were not dropped before; () if nothing does.

        Between an emptying's record and its end, while it is synced, messages that it drops
        may still be handed out and answered.
        """
        kind, number, first = entry[:3]
        start = self._emptied.get(number, 0)
        if first >= start:
            return entry
        if kind in _STRETCHES and first + entry[3] > start:
            return kind, number, start, first + entry[3] - start
        return ()

    def finish(self) -> NodeState:
        """The state, with exceptions brought together."""
        for _, channel in self._channels.values():
            changed = channel.changed
            if changed or channel.is_emptied:
                kept = [] if channel.is_emptied else channel.exceptions
                kept = [each for each in kept if unpack_exception(each)[1] not in changed]
                kept += [each for each in changed.values() if each is not None]
                channel.exceptions = kept
        return self.state

    # -- promises -------------------------------------------------------------------------

    def _published(self, topic_number: int, run: Run, *, is_routed: bool) -> None:
        state = self.state
        state.last_id = max(state.last_id, run.first_id + run.count - 1)
        topic = state.topics.get(topic_number)
        if topic is None or run.first_seq < topic.end:
            return
        topic.runs.append(run)  # type: ignore[attr-defined]  # a list here
        topic.end = run.first_seq + run.count
        if run.due_ns:
            topic.stepped.add_range(run.first_seq, topic.end)
            topic.waiting[run.first_seq] = pack_exception(run.due_ns, run.first_seq, run.count, 0)
        if is_routed:
            self._route(topic, topic.end)

    def _adopted(self, topic_number: int, run: Run) -> None:
        self._published(topic_number, run, is_routed=False)
        topic = self.state.topics.get(topic_number)
        if topic is not None and topic.routed == run.first_seq:
            _step_over(topic, run.first_seq, run.first_seq + run.count)

    def _route(self, topic: TopicState, routed: int) -> None:
        if routed <= topic.routed:
            return
        topic.routed = routed
        for first in [first for first in topic.waiting if first < routed]:
            packed = topic.waiting.pop(first)
            count = unpack_exception(packed)[2]
            for channel in topic.channels.values():
                channel.excepted.add_range(first, first + count)
                channel.changed[first] = packed

    def _topic_made(self, number: int, _: int, __: int, name: str) -> None:
        self.state.next_number = max(self.state.next_number, number + 1)
        if number not in self.state.topics:
            self.state.topics[number] = TopicState(number, name, runs=[])

    def _topic_deleted(self, number: int, _: int, __: int) -> None:
        topic = self.state.topics.pop(number, None)
        for channel in () if topic is None else topic.channels:
            self._channels.pop(channel, None)

    def _topic_paused(self, number: int, _: int, value: int) -> None:
        topic = self.state.topics.get(number)
        if topic is not None:
            topic.is_paused = bool(value & 1)
            self._route(topic, value >> 1)

    def _topic_emptied(self, number: int, _: int, routed: int) -> None:
        topic = self.state.topics.get(number)
        if topic is None or routed <= topic.routed:
            return
        topic.waiting.clear()
        _step_over(topic, topic.routed, routed)

    def _channel_made(self, topic_number: int, number: int, start: int, name: str) -> None:
        self.state.next_number = max(self.state.next_number, number + 1)
        topic = self.state.topics.get(topic_number)
        if topic is None or number in topic.channels:
            return
        self._route(topic, start)  # before the channel is there: it starts behind these
        channel = topic.channels[number] = ChannelState(number, name, start)
        self._channels[number] = (topic, channel)
        if not topic.is_paused:
            self._route(topic, topic.end)

    def _channel_deleted(self, topic_number: int, number: int, _: int) -> None:
        topic = self.state.topics.get(topic_number)
        self._channels.pop(number, None)
        if topic is not None:
            topic.channels.pop(number, None)

    def _channel_paused(self, _: int, number: int, value: int) -> None:
        held = self._channels.get(number)
        if held is not None:
            held[1].is_paused = bool(value)

    def _channel_emptied(self, _: int, number: int, cursor: int) -> None:
        held = self._channels.get(number)
        if held is not None:
            channel = held[1]
            self._emptied[number] = channel.cursor = max(channel.cursor, cursor)
            channel.in_flight, channel.excepted = SeqSet(), SeqSet()
            channel.changed, channel.is_emptied = {}, True


def _step_over(topic: TopicState, start: int, stop: int) -> None:
    """Route start..stop to channels that will not hand it out."""
    topic.routed = stop
    if any(channel.cursor < start for channel in topic.channels.values()):
        topic.stepped.add_range(start, stop)
    for channel in topic.channels.values():
        if channel.cursor == start:
            channel.cursor = stop


# -- progress ------------------------------------------------------------------------------


def _advance(topic: TopicState, channel: ChannelState, stop: int) -> None:
    """Move the cursor; what it passes unfinished came into somebody's hands."""
    if stop <= channel.cursor:
        return
    passed = SeqSet()
    passed.add_range(channel.cursor, stop)
    for block in list(passed.blocks):
        if stepped := topic.stepped.blocks.get(block):
            passed.keep(block, ~stepped)
    channel.in_flight.update(passed)  # where delayed ones, stepped over, may be in flight already
    channel.cursor = stop


def _handed(topic: TopicState, channel: ChannelState, first: int, count: int) -> None:
    if first + count <= channel.cursor:
        channel.in_flight.add_range(first, first + count)
        return
    _advance(topic, channel, first + count)


def _again(_: TopicState, channel: ChannelState, first: int, count: int, attempts: int, rest: int) -> None:
    channel.changed[first] = None
    if attempts == 1:
        channel.excepted.discard_range(first, first + count)
        channel.in_flight.add_range(first, first + count)
    else:
        channel.in_flight.discard_range(first, first + count)
        channel.excepted.add_range(first, first + count)
        for seq in range(first, first + count):
            channel.changed[seq] = pack_exception(0, seq, 1, attempts)
    if rest:
        channel.changed[first + count] = pack_exception(0, first + count, rest, attempts - 1)


def _finished(topic: TopicState, channel: ChannelState, first: int, count: int) -> None:
    if first not in topic.stepped:  # a delayed one, which may lie ahead of the cursor
        _advance(topic, channel, first + count)
    channel.in_flight.discard_range(first, first + count)
    if channel.excepted.count_range(first, first + count):
        channel.excepted.discard_range(first, first + count)
        for seq in range(first, first + count):
            channel.changed[seq] = None


def _deferred(topic: TopicState, channel: ChannelState, seq: int, attempts: int, due_ns: int) -> None:
    if seq not in topic.stepped:
        _advance(topic, channel, seq + 1)
    channel.in_flight.discard(seq)
    channel.excepted.add(seq)
    channel.changed[seq] = pack_exception(due_ns, seq, 1, attempts)


def _owed(_: TopicState, channel: ChannelState, first: int, count: int, attempts: int) -> None:
    channel.excepted.add_range(first, first + count)
    channel.changed[first] = pack_exception(0, first, count, attempts)


_PROMISES: Final[dict[int, Callable[..., Any]]] = {
    layout.TOPIC_MADE: Replay._topic_made,
    layout.TOPIC_DELETED: Replay._topic_deleted,
    layout.TOPIC_PAUSED: Replay._topic_paused,
    layout.TOPIC_EMPTIED: Replay._topic_emptied,
    layout.CHANNEL_MADE: Replay._channel_made,
    layout.CHANNEL_DELETED: Replay._channel_deleted,
    layout.CHANNEL_PAUSED: Replay._channel_paused,
    layout.CHANNEL_EMPTIED: Replay._channel_emptied,
}
_STRETCHES: Final = (16, 18)  # HANDED and FINISHED, which are put together where they touch
_PROGRESS: Final[dict[int, Callable[..., Any]]] = {
    16: _handed,
    17: _again,
    18: _finished,
    19: _deferred,
    20: _owed,
}
