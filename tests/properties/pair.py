"""A real node and the model of it, driven together and compared.

Every method does one thing to both, through the public API only, and asserts
that both say the same. Used by the Hypothesis machine and by the cases; knows
nothing of either. The clock is virtual, so all that is random is the caller.
"""

# ruff: noqa: D102 - the methods are the operations, and do what their names say

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import nsqlite
from nsqlite.clock import VirtualClock
from nsqlite.errors import ClosedError, NotInFlightError
from nsqlite.stats import ChannelStats
from tests.properties import model

SECOND = 1_000_000_000
START_WALL_NS = 1_700_000_000 * SECOND
MSG_TIMEOUT = 8.0
MAX_MSG_TIMEOUT = 20.0
# So small that settling, loading from LMDB, recycling and rewriting happen all the time.
TINY = {"settle_bytes": 4096, "settle_interval": 0.25, "cache_bytes": 4096}
LONG = 100_000.0  # seconds; longer than any delay that a test gives


@attrs.frozen(eq=False)
class Held:
    """A message that was handed out, and what the model said of it then."""

    topic: model.Topic
    channel: model.Channel
    flight: model.Flight
    message: nsqlite.Message
    life: int


class Pair:
    """One node at `durability`, in `folder` unless that is ``"memory"``, and its model."""

    def __init__(self, folder: Path, durability: str, clock: object = None, **options: object) -> None:
        self.folder, self.durability = folder, durability
        self.options = {"msg_timeout": MSG_TIMEOUT, "max_msg_timeout": MAX_MSG_TIMEOUT, **options}
        if durability != "memory":
            self.options = TINY | self.options
        self.clock = clock or VirtualClock(wall_ns=START_WALL_NS)
        # A scheduler's clock is moved by the scheduler.
        self.advance_clock: Callable[[float], None] = getattr(self.clock, "advance", None)
        self.model = model.Model(
            round(self.options["msg_timeout"] * SECOND),
            round(self.options["max_msg_timeout"] * SECOND),
            now_ns=0,
            wall_ns=START_WALL_NS,
        )
        self.held: list[Held] = []
        self.life = 0  # how often the node was opened
        self.body_count = self.image_count = 0
        self.last_id = b""
        self.timestamps: dict[bytes, int] = {}
        # Finished since progress was last journaled: a kill may bring these back.
        self.forgettable: dict[tuple[str, str], dict[bytes, int]] = {}
        self.node = self._open(folder / "store", self.clock)

    def _open(self, path: Path, clock: object) -> nsqlite.Node:
        if self.durability == "memory":
            return nsqlite.open(clock=clock, **self.options)
        return nsqlite.open(path, durability=self.durability, clock=clock, **self.options)

    # -- publishing

    def bodies(self, count: int, size: int) -> list[bytes]:
        """`count` bodies that were never used before, of about `size` bytes."""
        self.body_count += count
        first = self.body_count - count
        return [b"%d " % n + b"." * (size * (1 + n % 3) // 2) for n in range(first, first + count)]

    def publish(self, topic: str, size: int = 10, delay: float = 0) -> None:
        [body] = self.bodies(1, size)
        message_id = self.node.publish(topic, body, delay=delay or None)
        self._published(topic, [message_id], [body], delay)

    def publish_many(self, topic: str, count: int, size: int = 10, delay: float = 0) -> None:
        bodies = self.bodies(count, size)
        ids = self.node.publish_many(topic, bodies, delay=delay or None)
        assert len(ids) == count
        self._published(topic, ids, bodies, delay)

    def _published(self, topic: str, ids: list[bytes], bodies: list[bytes], delay: float) -> None:
        for message_id in ids:
            assert len(message_id) == 16
            assert message_id > self.last_id, "ids rise, over all topics and lives"
            self.last_id = message_id
        self.model.publish(topic, ids, bodies, _ns(delay))
        self._promised(topic)

    def _promised(self, *names: str) -> None:
        """A promise takes the progress before it into the journal, unless it is about what is ephemeral."""
        if not any(name.endswith(model.EPHEMERAL) for name in names):
            self.forgettable.clear()

    # -- topics and channels

    def open_channel(self, topic: str, channel: str) -> None:
        self.node.topic(topic).channel(channel)
        is_new = topic not in self.model.topics or channel not in self.model.topics[topic].channels
        self.model.channel(topic, channel)
        if is_new:
            self._promised(topic, channel)

    def pause_topic(self, topic: str, is_paused: bool) -> None:
        handle = self.node.topic(topic)
        handle.pause() if is_paused else handle.unpause()
        self.model.pause_topic(self.model.topic(topic), is_paused)
        self._promised(topic)

    def pause_channel(self, topic: str, channel: str, is_paused: bool) -> None:
        handle = self.node.topic(topic).channel(channel)
        handle.pause() if is_paused else handle.unpause()
        self.model.channel(topic, channel).is_paused = is_paused
        self._promised(topic, channel)

    def empty_topic(self, topic: str) -> None:
        self.node.topic(topic).empty()
        self.model.topic(topic).waiting.clear()
        self._promised(topic)

    def empty_channel(self, topic: str, channel: str) -> None:
        self.node.topic(topic).channel(channel).empty()
        self.model.channel(topic, channel).empty()
        self._promised(topic, channel)

    def delete_topic(self, topic: str) -> None:
        self.node.delete_topic(topic)
        del self.model.topics[topic]
        self._promised(topic)

    def delete_channel(self, topic: str, channel: str) -> None:
        self.node.topic(topic).delete_channel(channel)
        self.model.delete_channel(self.model.topics[topic], channel)
        self._promised(topic, channel)

    # -- receiving and answering

    def receive(self, topic: str, channel: str) -> None:
        message = self.node.topic(topic).channel(channel).receive(timeout=0)
        self._received(topic, channel, [message] if message is not None else [])

    def receive_many(self, topic: str, channel: str, count: int) -> None:
        messages = self.node.topic(topic).channel(channel).receive_many(count, timeout=0)
        assert len(messages) <= count
        self._received(topic, channel, messages)

    def _received(self, topic_name: str, channel_name: str, messages: list[nsqlite.Message]) -> None:
        channel = self.model.channel(topic_name, channel_name)
        if not messages:
            assert not channel.allowed(), f"nothing came of {channel.depth} that are ready"
            return
        self.forgettable.clear()
        for message in messages:
            allowed = channel.allowed()
            assert message.id in allowed, f"{message.id!r} may not come now; these may: {list(allowed)[:5]}"
            flight = self.model.receive(channel, message.id)
            assert message.body == flight.message.body
            assert message.attempts == flight.attempts
            assert self.timestamps.setdefault(message.id, message.timestamp) == message.timestamp
            topic = self.model.topics[topic_name]
            self.held.append(Held(topic, channel, flight, message, self.life))

    def is_current(self, held: Held) -> bool:
        """Whether the message is still in flight for who holds `held`."""
        return (
            held.life == self.life
            and self.model.topics.get(held.topic.name) is held.topic
            and held.topic.channels.get(held.channel.name) is held.channel
            and held.channel.in_flight.get(held.flight.message.id) is held.flight
        )

    @contextlib.contextmanager
    def _refused(self, held: Held) -> Iterator[None]:
        """The answer inside comes too late, and is told so."""
        is_gone = held.life != self.life or (
            held.topic.channels.get(held.channel.name) is not held.channel
            or self.model.topics.get(held.topic.name) is not held.topic
        )
        with pytest.raises((NotInFlightError, ClosedError)) as caught:
            yield
        if isinstance(caught.value, NotInFlightError):
            assert held.message.id in caught.value.ids
        else:
            assert is_gone

    def _answer(self, held: Held, act: Callable[[], object], apply: Callable[[], object]) -> None:
        if not self.is_current(held):
            with self._refused(held):
                act()
            return
        act()
        apply()

    def finish(self, held: Held) -> None:
        self._answer(held, held.message.finish, lambda: self._finished(held))

    def _finished(self, held: Held) -> None:
        held.channel.finish(held.message.id)
        key = held.topic.name, held.channel.name
        self.forgettable.setdefault(key, {})[held.message.id] = held.flight.attempts

    def finish_many(self, topic: str, channel: str, helds: list[Held]) -> None:
        """Finish what may be finished of `helds`, which are all of one channel's life."""
        current = [held for held in helds if self.is_current(held)]
        stale = [held for held in helds if not self.is_current(held)]
        handle = self.node.topic(topic).channel(channel)
        messages = [held.message for held in helds]
        if not stale:
            handle.finish_many(messages)
        else:
            with pytest.raises(NotInFlightError) as caught:
                handle.finish_many(messages)
            assert set(caught.value.ids) == {held.message.id for held in stale}
        for held in current:
            self._finished(held)

    def requeue(self, held: Held, delay: float = 0) -> None:
        self._answer(
            held,
            lambda: held.message.requeue(delay=delay),
            lambda: self.model.requeue(held.channel, held.message.id, _ns(delay)),
        )

    def touch(self, held: Held) -> None:
        self._answer(held, held.message.touch, lambda: self.model.touch(held.channel, held.message.id))

    # -- time and lives

    def advance(self, seconds: float) -> None:
        self.advance_clock(seconds)
        self.model.advance(_ns(seconds))

    def step_wall(self, seconds: float) -> None:
        self.clock.step_wall(seconds)
        self.model.step_wall(_ns(seconds))

    def sync(self) -> None:
        self.node.sync()
        self.forgettable.clear()

    def restart(self) -> None:
        """Close and open: nothing is forgotten, what was in flight is ready."""
        self._catch_up()
        self.node.close()
        self._reopen(self.folder / "store")

    def crash(self) -> None:
        """Go on with what a kill would have left. A promise journals what waits before it."""
        self._catch_up()
        self.publish("barrier")
        image = self._image()
        self.node.close()
        shutil.rmtree(self.folder / "store")
        image.rename(self.folder / "store")
        self._reopen(self.folder / "store")

    def _catch_up(self) -> None:
        """Step the wall clock forward to where every delay that is over is over on it, too.

        The store knows a delay by its end on the wall clock. Opened with a clock that
        stepped back behind it, a node defers again what was ready and not yet handed out
        (unless it wrote that anew meanwhile), which the model does not follow.
        """
        behind = self.model.wall_behind_ns()
        if behind:
            self.step_wall(-(-behind // SECOND))

    def _reopen(self, path: Path) -> None:
        self.node = self._open(path, self.clock)
        self.model.restart()
        self.forgettable.clear()
        self.life += 1

    def look_at_crash(self) -> None:
        """Open what a kill would leave now, compare, throw it away and go on.

        Progress may lag by what was finished since the last journaled step:
        such a message may come again. All else is as the model has it.
        """
        image = self._image()
        clock = VirtualClock(wall_ns=self.model.wall_ns)
        with self._open(image, clock) as node:
            kept = {name: topic for name, topic in self.model.topics.items() if not name.endswith(model.EPHEMERAL)}
            assert list(node.topics) == sorted(kept)
            for topic in kept.values():
                self._compare_image(node, clock, topic)
            node.check()
        shutil.rmtree(image)

    def _compare_image(self, node: nsqlite.Node, clock: VirtualClock, topic: model.Topic) -> None:
        handle = node.topic(topic.name)
        kept = {name: c for name, c in topic.channels.items() if not name.endswith(model.EPHEMERAL)}
        assert list(handle.channels) == sorted(kept)
        assert handle.is_paused == topic.is_paused
        assert handle.depth == topic.depth
        for name, channel in kept.items():
            assert handle.channel(name).is_paused == channel.is_paused
            found = drain(node, clock, topic.name, name)
            maybe = self.forgettable.get((topic.name, name), {})
            expected = {message_id: channel.attempts.get(message_id, 0) + 1 for message_id in channel.owed}
            for message_id, attempts in maybe.items():
                if message_id in found:
                    expected[message_id] = attempts + 1
            assert found == expected, f"a kill changes {topic.name}/{name}"
        handle.channel("spare")  # while the topic is paused, if it is: so it gets what waits, whoever else does
        handle.unpause()
        found = drain(node, clock, topic.name, "spare")
        assert found == dict.fromkeys([message.id for message in topic.waiting], 1)

    def _image(self) -> Path:
        """A copy of the store as a kill at this moment would leave it: the page cache."""
        self.image_count += 1
        image = self.folder / f"image-{self.image_count}"
        files = read_all(self.folder / "store")
        while (again := read_all(self.folder / "store")) != files:
            files = again  # a background thread wrote between the two readings
        write_all(image, files)
        return image

    def close(self) -> None:
        self.node.close()

    # -- comparing

    def compare(self) -> None:
        """The node is sound, and every name and counter is the model's."""
        self.node.check()
        assert list(self.node.topics) == sorted(self.model.topics)
        stats = {each.topic_name: each for each in self.node.stats().topics}
        assert set(stats) == set(self.model.topics)
        for name, topic in self.model.topics.items():
            handle, seen = self.node.topic(name), stats[name]
            assert list(handle.channels) == sorted(topic.channels)
            assert handle.depth == seen.depth == topic.depth
            assert handle.is_paused == seen.paused == topic.is_paused
            assert (seen.message_count, seen.message_bytes) == (topic.message_count, topic.message_bytes)
            channels = {each.channel_name: each for each in seen.channels}
            assert set(channels) == set(topic.channels)
            for channel in topic.channels.values():
                self._compare_channel(handle.channel(channel.name), channel, channels[channel.name])

    def _compare_channel(self, handle: nsqlite.Channel, channel: model.Channel, seen: ChannelStats) -> None:
        counted = (channel.depth, len(channel.in_flight), len(channel.deferred))
        assert (handle.depth, handle.in_flight_count, handle.deferred_count) == counted, channel.name
        assert (seen.depth, seen.in_flight_count, seen.deferred_count) == counted
        assert handle.is_paused == seen.paused == channel.is_paused
        assert seen.message_count == channel.message_count
        assert seen.requeue_count == channel.requeue_count
        assert seen.timeout_count == channel.timeout_count
        assert seen.finish_count == channel.finish_count

    def drain_all(self) -> None:
        """At the end, everything owed comes out of every channel, and nothing else."""
        for topic in list(self.model.topics.values()):
            self.pause_topic(topic.name, False)
            for channel in list(topic.channels.values()):
                self.pause_channel(topic.name, channel.name, False)
        self.advance(LONG)
        for topic in self.model.topics.values():
            for channel in topic.channels.values():
                while channel.depth:
                    before = len(self.held)
                    self.receive_many(topic.name, channel.name, 50)
                    self.finish_many(topic.name, channel.name, self.held[before:])
        self.compare()
        assert not any(c.owed for t in self.model.topics.values() for c in t.channels.values())


def drain(node: nsqlite.Node, clock: VirtualClock, topic: str, channel: str) -> dict[bytes, int]:
    """Take everything out of a channel: id to the attempts it came with. Moves nothing else."""
    handle = node.topic(topic).channel(channel)
    was_paused = handle.is_paused
    handle.unpause()
    found: dict[bytes, int] = {}
    while True:
        messages = handle.receive_many(100, timeout=0)
        if not messages and not handle.deferred_count:
            break
        if not messages:
            clock.advance(LONG)
        for message in messages:
            assert message.id not in found, "delivered twice without a reason"
            found[message.id] = message.attempts
        handle.finish_many(messages)
    if was_paused:
        handle.pause()
    assert (handle.depth, handle.in_flight_count, handle.deferred_count) == (0, 0, 0)
    return found


def read_all(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by relative path. A file that vanishes meanwhile is left out."""
    files = {}
    for path in sorted(folder.rglob("*")):
        # LMDB's lock file may not be opened and closed beside an open environment: that drops its locks.
        if path.is_file() and path.name not in {"lock.mdb", "owner"}:
            with contextlib.suppress(FileNotFoundError):
                files[str(path.relative_to(folder))] = path.read_bytes()
    return files


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    """Make `folder` hold what `read_all` found."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _ns(seconds: float) -> int:
    return round(seconds * SECOND)
