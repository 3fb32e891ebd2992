"""What a node's topics and channels were in the last five minutes, sampled in the listener's loop.

A sample goes through all channels, a few hundred under the lock at a time, and lets the loop do other
things in between. A node of more than `CHEAP_CHANNELS` is sampled less often while nobody looks.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Final

import attrs

from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.errors import NsqliteError
from nsqlite.net.alarm import until
from nsqlite.net.page.series import IN, OUT, POINTS, Series, Shelf
from nsqlite.options import SECOND_NS

INTERVAL_NS: Final = 2 * SECOND_NS
WINDOW_NS: Final = 300 * SECOND_NS
ATTENTION_NS: Final = 120 * SECOND_NS  # so long after somebody looked, everything is kept up to date
CHEAP_CHANNELS: Final = 2_000
SLOWEST: Final = 15  # intervals between two samples of the largest node that nobody looks at
SLICE: Final = 250  # topics and channels that are read under the lock at a time: half a millisecond
TOPIC_SERIES: Final = 250
CHANNEL_SERIES: Final = 250
WATCHED_TOPICS: Final = 20
WATCHED_CHANNELS: Final = 100  # of one topic that somebody looks at


@attrs.define
class TopicRow:
    """A topic with its channels, as one row of a table.

    Attributes:
        number: Which no other topic ever has.
        name: Its name.
        is_paused: Whether it routes nothing.
        depth: What waits in it and in all of its channels.
        own_depth: What waits in the topic itself.
        in_flight_count: Of all channels.
        deferred_count: Of all channels.
        client_count: Of all channels.
        channel_count: How many channels it has.
        message_count: Messages that were published to it.
        finish_count: Messages that its channels have finished.
        rate: Messages published a second, since the sample before.
    """

    number: int
    name: str
    is_paused: bool = False
    depth: int = 0
    own_depth: int = 0
    in_flight_count: int = 0
    deferred_count: int = 0
    client_count: int = 0
    channel_count: int = 0
    message_count: int = 0
    finish_count: int = 0
    rate: float = 0.0

    def add(self, channel: Channel) -> None:
        """Count one of its channels."""
        self.depth += channel.depth
        self.in_flight_count += channel.in_flight_count
        self.deferred_count += channel.deferred_count
        self.client_count += len(channel.consumers)
        self.channel_count += 1
        self.finish_count += channel.finish_count


class History:
    """The sampler, and what it has found.

    Attributes:
        rows: All topics by name, as they were at the last sample.
        totals: Of the whole node: depth, messages published, messages finished.
        channel_count: Channels of all topics at the last sample.
    """

    def __init__(self, engine: Engine) -> None:
        self.rows: dict[str, TopicRow] = {}
        self.totals = Series()
        self.channel_count = 0
        self._engine = engine
        self._clock = engine.clock
        self._topics = Shelf(TOPIC_SERIES)
        self._channels = Shelf(CHANNEL_SERIES)
        self._times = array("q")
        self._looked_ns = -ATTENTION_NS
        self._watched: dict[str, int] = {}
        self._sampling = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # -- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Sample from now on. Call it in the loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Sample nothing more. Twice is fine."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self.sample()
            except NsqliteError:
                pass  # closed, or failed: whoever asks is told
            await until(self._clock, self._clock.monotonic_ns() + self._interval_ns())

    def _interval_ns(self) -> int:
        """Once every two seconds, unless that were much work for nobody."""
        if self._clock.monotonic_ns() - self._looked_ns < ATTENTION_NS:
            return INTERVAL_NS
        return INTERVAL_NS * min(SLOWEST, 1 + self.channel_count // CHEAP_CHANNELS)

    # -- looking --------------------------------------------------------------------------

    async def look(self, topic: str = "") -> None:
        """Somebody looks at the node, and at one topic: bring everything up to date, and keep it so for a while.

        Raises:
            NodeClosedError, NodeFailedError: The node can be asked nothing more.
        """
        now_ns = self._looked_ns = self._clock.monotonic_ns()
        if topic:
            self._watched.pop(topic, None)
            self._watched[topic] = now_ns
            if len(self._watched) > WATCHED_TOPICS:
                del self._watched[next(iter(self._watched))]
        if not self._times or now_ns - self._times[-1] >= INTERVAL_NS:
            await self.sample()

    def topic_series(self, number: int) -> Series | None:
        """A topic's last values, if they are kept."""
        return self._topics.series.get(number)

    def channel_series(self, number: int) -> Series | None:
        """The same of a channel."""
        return self._channels.series.get(number)

    def times_ns(self) -> list[int]:
        """When the samples of the last five minutes were taken. Of each series the last value belongs to the last."""
        since_ns = self._clock.monotonic_ns() - WINDOW_NS
        return [each for each in self._times if each >= since_ns]

    # -- sampling -------------------------------------------------------------------------

    async def sample(self) -> None:
        """Go through all topics and channels once. Two that want it at once share it.

        Raises:
            NodeClosedError, NodeFailedError: The node can be asked nothing more.
        """
        asked_ns = self._clock.monotonic_ns()
        async with self._sampling:
            now_ns = self._clock.monotonic_ns()
            if self._times and self._times[-1] >= asked_ns:
                return
            topics: list[Topic] = self._engine.locked(lambda broker: list(broker.topics.values()))
            rows: list[TopicRow] = []
            work = _work(topics, rows)
            living: set[int] = set()
            is_more = True
            while is_more:
                is_more = self._engine.locked(lambda broker: self._read(broker, islice(work, SLICE), now_ns, living))
                await asyncio.sleep(0)
            self._engine.wake()
            self._take_up(rows, living, now_ns)

    def _read(self, broker: Broker, part: Iterator[_Piece], now_ns: int, living: set[int]) -> bool:
        """Add up a part of the channels, if there is one. Under the lock; 1.5 µs a channel."""
        note = self._channels.note
        known = self._channels.series
        is_some = False
        for row, channel in part:
            is_some = True
            if channel is None or channel.is_deleted:
                continue
            broker.tick(channel, now_ns)
            row.add(channel)
            number, depth, came = channel.number, channel.depth, channel.message_count
            series = known.get(number)
            weight = depth + channel.in_flight_count + (came - series.last(IN) if series else 0)
            note(number, weight, depth, came, channel.finish_count)
            living.add(number)
        return is_some

    def _take_up(self, rows: list[TopicRow], living: set[int], now_ns: int) -> None:
        """Make a whole sample the last one."""
        before = {row.number: row for row in self.rows.values()}
        elapsed_ns = now_ns - self._times[-1] if self._times else 0
        for row in rows:
            last = before.get(row.number)
            came = row.message_count - last.message_count if last is not None else 0
            row.rate = came * 1e9 / elapsed_ns if elapsed_ns else 0.0
            weight = row.depth + row.in_flight_count + came
            self._topics.note(row.number, weight, row.depth, row.message_count, row.finish_count)
        self._times.append(now_ns)
        del self._times[:-POINTS]
        self.rows = {row.name: row for row in sorted(rows, key=attrgetter("name"))}
        self.channel_count = len(living)
        self._add_totals(rows, before)
        self._engine.locked(lambda broker: self._pin(broker, now_ns))
        self._topics.settle({row.number for row in rows})
        self._channels.settle(living)

    def _add_totals(self, rows: list[TopicRow], before: dict[int, TopicRow]) -> None:
        """What a deleted topic had counted does not make the node's counts fall."""
        came, gone = self.totals.last(IN), self.totals.last(OUT)
        for row in rows:
            last = before.get(row.number)
            came += row.message_count - (last.message_count if last is not None else 0)
            gone += max(0, row.finish_count - (last.finish_count if last is not None else 0))
        self.totals.add(sum(row.depth for row in rows), came, gone)

    def _pin(self, broker: Broker, now_ns: int) -> None:
        """Keep the series of what somebody has looked at lately."""
        self._watched = {name: at for name, at in self._watched.items() if now_ns - at < ATTENTION_NS}
        watched = [broker.topics.get(name) for name in self._watched]
        topics = [topic for topic in watched if topic is not None]
        self._topics.pinned = {topic.number for topic in topics}
        self._channels.pinned = {
            each.number for topic in topics for each in islice(list(topic.channels.values()), WATCHED_CHANNELS)
        }


_Piece = tuple[TopicRow, Channel | None]


def _work(topics: list[Topic], rows: list[TopicRow]) -> Iterator[_Piece]:
    """All channels with the row of their topic, and each topic once without one; rows are made on the way."""
    for topic in topics:
        if topic.is_deleted:
            continue
        row = TopicRow(topic.number, topic.name, topic.is_paused, topic.depth, topic.depth)
        row.message_count = topic.message_count
        rows.append(row)
        yield row, None
        for channel in list(topic.channels.values()):
            yield row, channel


def row_of(topic: Topic) -> TopicRow:
    """A topic as it is now, but for its rate. Under the lock; a microsecond for each of its channels."""
    row = TopicRow(topic.number, topic.name, topic.is_paused, topic.depth, topic.depth)
    row.message_count = topic.message_count
    for channel in topic.channels.values():
        row.add(channel)
    return row
