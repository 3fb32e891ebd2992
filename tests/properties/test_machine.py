"""Random stories, shrunk to the shortest that fails: a node against the model.

One machine a storage and level. ``check()`` and every counter are compared after
every step; at the end all that is owed must come out, and nothing else.
"""

# ruff: noqa: D102 - the methods are the operations, and do what their names say

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.properties.model import EPHEMERAL
from tests.properties.pair import Held, Pair

TOPICS = st.sampled_from(["orders", "users", "gone#ephemeral"])
CHANNELS = st.sampled_from(["mail", "audit", "tail#ephemeral"])
SIZES = st.sampled_from([1, 200, 3000])
COUNTS = st.integers(1, 12)
# Binary fractions, so that seconds are whole nanoseconds and a deadline can be met exactly.
SECONDS = st.sampled_from([0.25, 1.0, 3.5, 7.75, 8.0, 12.0, 60.0])
DELAYS = st.sampled_from([0.0, 0.25, 2.0, 8.0, 30.0, 3600.0])
PICKS = st.integers(0, 7)


STORY_SECONDS = 30.0


def _does_not_end(*_: object) -> None:
    raise AssertionError("a call does not return")


class NodeMachine(RuleBasedStateMachine):
    """What every storage must do."""

    durability = "memory"

    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGALRM, _does_not_end)
        signal.setitimer(signal.ITIMER_REAL, STORY_SECONDS, STORY_SECONDS)
        self.folder = Path(tempfile.mkdtemp(prefix="nsqlite-machine-"))
        self.pair = Pair(self.folder, self.durability)

    @initialize()
    def begin(self) -> None:
        """Most stories are about a topic with a channel."""
        self.pair.open_channel("orders", "mail")

    def is_late(self, topic: str, channel: str) -> bool:
        """An ephemeral channel made after messages wait in the topic: see the xfail in test_cases."""
        known = self.pair.model.topics.get(topic)
        is_new = known is not None and channel not in known.channels
        return is_new and channel.endswith(EPHEMERAL) and bool(known.waiting)

    # -- publishing

    @rule(topic=TOPICS, size=SIZES, delay=DELAYS)
    def publish(self, topic: str, size: int, delay: float) -> None:
        self.pair.publish(topic, size, delay)

    @rule(topic=TOPICS, count=COUNTS, size=SIZES, delay=DELAYS)
    def publish_many(self, topic: str, count: int, size: int, delay: float) -> None:
        self.pair.publish_many(topic, count, size, delay)

    @rule(topic=TOPICS, count=COUNTS, size=SIZES)
    def publish_one_by_one(self, topic: str, count: int, size: int) -> None:
        for _ in range(count):
            self.pair.publish(topic, size)

    # -- receiving and answering

    @rule(topic=TOPICS, channel=CHANNELS)
    def receive(self, topic: str, channel: str) -> None:
        if not self.is_late(topic, channel):
            self.pair.receive(topic, channel)

    @rule(topic=TOPICS, channel=CHANNELS, count=COUNTS)
    def receive_many(self, topic: str, channel: str, count: int) -> None:
        if not self.is_late(topic, channel):
            self.pair.receive_many(topic, channel, count)

    def held(self, pick: int) -> Held:
        """One that was handed out: mostly of the latest, some of which may no longer be answered."""
        latest = self.pair.held[-8:]
        return latest[pick % len(latest)]

    @precondition(lambda self: self.pair.held)
    @rule(pick=PICKS)
    def finish(self, pick: int) -> None:
        self.pair.finish(self.held(pick))

    @precondition(lambda self: self.pair.held)
    @rule(topic=TOPICS, channel=CHANNELS, every=st.integers(1, 3))
    def finish_many(self, topic: str, channel: str, every: int) -> None:
        """Some of what this channel handed out since the node was opened, the stale ones too."""
        known = self.pair.model.topics.get(topic)
        there = known and known.channels.get(channel)
        if there is not None:
            mine = [h for h in self.pair.held[-20:] if h.channel is there and h.life == self.pair.life]
            latest = {held.message.id: held for held in mine}  # each message once, as its last delivery
            self.pair.finish_many(topic, channel, list(latest.values())[::every])

    @precondition(lambda self: self.pair.held)
    @rule(pick=PICKS, delay=DELAYS)
    def requeue(self, pick: int, delay: float) -> None:
        self.pair.requeue(self.held(pick), delay)

    @precondition(lambda self: self.pair.held)
    @rule(pick=PICKS)
    def touch(self, pick: int) -> None:
        self.pair.touch(self.held(pick))

    # -- topics and channels

    @rule(topic=TOPICS, channel=CHANNELS)
    def open_channel(self, topic: str, channel: str) -> None:
        if not self.is_late(topic, channel):
            self.pair.open_channel(topic, channel)

    @rule(topic=TOPICS, is_paused=st.booleans())
    def pause_topic(self, topic: str, is_paused: bool) -> None:
        self.pair.pause_topic(topic, is_paused)

    @rule(topic=TOPICS, channel=CHANNELS, is_paused=st.booleans())
    def pause_channel(self, topic: str, channel: str, is_paused: bool) -> None:
        if not self.is_late(topic, channel):
            self.pair.pause_channel(topic, channel, is_paused)

    @rule(topic=TOPICS)
    def empty_topic(self, topic: str) -> None:
        self.pair.empty_topic(topic)

    @rule(topic=TOPICS, channel=CHANNELS)
    def empty_channel(self, topic: str, channel: str) -> None:
        if not self.is_late(topic, channel):
            self.pair.empty_channel(topic, channel)

    @rule(topic=TOPICS)
    def delete_topic(self, topic: str) -> None:
        if topic in self.pair.model.topics:
            self.pair.delete_topic(topic)

    @rule(topic=TOPICS, channel=CHANNELS)
    def delete_channel(self, topic: str, channel: str) -> None:
        if topic in self.pair.model.topics and channel in self.pair.model.topics[topic].channels:
            self.pair.delete_channel(topic, channel)

    # -- time

    @rule(seconds=SECONDS)
    def advance(self, seconds: float) -> None:
        self.pair.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -2.0, 1.0, 3600.0]))
    def step_wall(self, seconds: float) -> None:
        self.pair.step_wall(seconds)

    @rule()
    def sync(self) -> None:
        self.pair.sync()

    @invariant()
    def compare(self) -> None:
        self.pair.compare()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else the story has failed already, and that is the news
                self.pair.drain_all()
        finally:
            signal.setitimer(signal.ITIMER_REAL, STORY_SECONDS)
            self.pair.close()
            signal.setitimer(signal.ITIMER_REAL, 0)
            shutil.rmtree(self.folder)


class DurableMachine(NodeMachine):
    """And what outlives the node."""

    durability = "commit"

    @rule()
    def restart(self) -> None:
        self.pair.restart()

    @rule()
    def crash(self) -> None:
        self.pair.crash()

    @rule()
    def look_at_crash(self) -> None:
        self.pair.look_at_crash()


class SyncedMachine(DurableMachine):
    """The same, synced before every answer."""

    durability = "fsync"


# No explaining: it traces every line, which takes longer than the stories.
QUIET = {
    "phases": [Phase.generate, Phase.shrink],
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}


@pytest.mark.parametrize(
    "machine, examples",
    [(NodeMachine, 60), (DurableMachine, 25), (SyncedMachine, 12)],
    ids=lambda value: getattr(value, "durability", ""),
)
def test_node_matches_the_model(machine: type[NodeMachine], examples: int) -> None:
    """Whatever is done in whatever order, a node says and delivers what the model does."""
    run(machine, examples)


def run(machine: type[NodeMachine], examples: int, steps: int = 40) -> None:
    """Run so many stories of a machine."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, database=None, **QUIET)
    )
