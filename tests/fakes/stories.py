"""A core that lives through anything and writes down what its journal would hold.

Used where replay, packing and settling are compared with memory: the records are real
ones, made by the ops that a node runs, without an engine or a disk.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.delivery import Delivery
from nsqlite.core.progress import Progress
from nsqlite.core.topic import Topic
from nsqlite.ops import Adopt, ChangeChannel, ChangeTopic, MakeChannel, MakeChannels, MakeTopic, Op, Publish
from nsqlite.options import Options
from nsqlite.state import NodeState
from nsqlite.storage import layout
from tests.fakes.cores import MAX_TIMEOUT_NS, NOW_NS, SECOND, TIMEOUT_NS, WALL_NS

DEEDS = [
    "publish",
    "publish",
    "publish many",
    "delay",
    "adopt",
    "take",
    "take",
    "take many",
    "finish",
    "finish",
    "finish",
    "requeue",
    "defer",
    "pass",
    "new channel",
    "new channels",
    "empty channel",
    "delete channel",
    "pause topic",
    "unpause topic",
    "pause channel",
    "empty topic",
    "delete topic",
    "flush",
]
STORIES = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 30)), max_size=60)
NAMES = ("mail", "audit", "tail#ephemeral")


class Story:
    """One broker, and the records of what it was told to do.

    Attributes:
        records: Payloads in order, as a journal holds them.
        progress: What the records hold of progress, before it was packed.
    """

    def __init__(self) -> None:
        self.broker = Broker(Options(), 1, is_durable=True, keeps_cache=True)
        self.broker.restore(NodeState(), NOW_NS, WALL_NS)
        self.records: list[bytes] = []
        self.progress: list[Progress] = []
        self.passed_ns = 0
        self.held: list[tuple[Channel, int, Delivery]] = []

    @property
    def now_ns(self) -> int:
        """Monotonic time."""
        return NOW_NS + self.passed_ns

    @property
    def wall_ns(self) -> int:
        """Wall time."""
        return WALL_NS + self.passed_ns

    def tell(self, deeds: Sequence[tuple[str, int]]) -> None:
        """Do all of it."""
        for deed, number in deeds:
            self.do(deed, number)

    def do(self, deed: str, number: int) -> None:
        """Do one thing; what cannot be done now is left out."""
        topic = self._topic(number % 2)
        channels = list(topic.channels.values())
        channel = channels[number % len(channels)] if channels else None
        if deed == "publish":
            self._run(Publish(topic, [b"%d" % number], 0))
        elif deed == "publish many":
            self._run(Publish(topic, [b"x" * (1 + at % 3) for at in range(number + 1)], 0))
        elif deed == "delay":
            self._run(Publish(topic, [b"later"] * (number % 5 + 1), (number + 1) * 10 * SECOND))
        elif deed == "adopt":
            self._adopt(topic, number)
        elif deed in ("new channel", "new channels"):
            is_one = deed == "new channel"
            self._run(MakeChannel(topic, NAMES[number % 3]) if is_one else MakeChannels(topic, NAMES[number % 2 : 2]))
        elif deed in ("pause topic", "unpause topic"):
            self._run(ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=deed == "pause topic"))
        elif deed == "empty topic":
            self._run(ChangeTopic(topic, layout.TOPIC_EMPTIED))
        elif deed == "delete topic" and number % 5 == 0:
            self._run(ChangeTopic(topic, layout.TOPIC_DELETED))
        elif deed == "pass":
            self._pass(number * 5 * SECOND)
        elif deed == "flush":
            self._record([])
        elif deed in ("finish", "requeue", "defer") and self.held:
            self._answer(deed, number)
        elif channel is not None:
            self._do_to_channel(deed, number, channel)

    def _adopt(self, topic: Topic, number: int) -> None:
        durable = [each for each in topic.channels.values() if not each.is_volatile]
        owner = durable[number % len(durable)] if durable and number % 4 and topic.routed == topic.end else None
        attempts = number % 3 if owner is not None else 0
        self._run(
            Adopt(topic, owner, [(WALL_NS - at, attempts + at // 2, b"old" * at) for at in range(1, number % 5 + 2)])
        )

    def _do_to_channel(self, deed: str, number: int, channel: Channel) -> None:
        if deed in ("take", "take many"):
            limit = 1 if deed == "take" else number + 1
            for delivery in channel.take(limit, self.now_ns, TIMEOUT_NS, MAX_TIMEOUT_NS):
                last = delivery.first_seq + delivery.count
                self.held += [(channel, seq, delivery) for seq in range(delivery.first_seq, last)]
        elif deed == "empty channel" and number % 4 == 0:
            self._run(ChangeChannel(channel, layout.CHANNEL_EMPTIED))
        elif deed == "delete channel" and number % 4 == 0:
            self._run(ChangeChannel(channel, layout.CHANNEL_DELETED))
        elif deed == "pause channel":
            self._run(ChangeChannel(channel, layout.CHANNEL_PAUSED, is_paused=bool(number % 2)))

    def _answer(self, deed: str, number: int) -> None:
        channel, seq, delivery = self.held.pop(number % len(self.held))
        if deed == "finish":
            channel.finish(seq, delivery)
        else:
            delay_ns = (number + 1) * 7 * SECOND if deed == "defer" else 0
            channel.requeue(seq, delivery, delay_ns, self.now_ns, self.wall_ns)

    def _pass(self, passed_ns: int) -> None:
        self.passed_ns += passed_ns
        for channel in self.broker.channels():
            channel.tick(self.now_ns)

    def _topic(self, number: int) -> Topic:
        name = f"topic-{number}"
        if name not in self.broker.topics:
            self._run(MakeTopic(name))
        return self.broker.topics[name]

    def _run(self, op: Op) -> None:
        self.broker.reserved = {}
        self._record(op.decide(self.broker, self.wall_ns, self.now_ns))
        op.apply(self.broker)

    def _record(self, entries: Sequence[bytes]) -> None:
        """Journal entries with the progress that waits ahead of them, as the engine does."""
        progress = self.broker.progress
        if progress or entries:
            packed = layout.pack_progress(progress) if progress else b""
            self.records.append(packed + b"".join(entries))
        self.progress += progress
        progress.clear()

    def snapshot(self) -> NodeState:
        """Memory as a settlement would take it, gathered, and settled up to the last record."""
        self._record([])
        state = self.broker.snapshot()
        state.settled = len(self.records)
        for topic in state.topics.values():
            for channel in topic.channels.values():
                channel.gather()
        return state
