"""nsqlite with the rivals' face: one topic, and as many channels as the question needs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import nsqlite
from benchmarks.harness import BATCH

Durability = Literal["fsync", "commit", "memory"]


class Ours:
    """A node with one topic; publishes, receives and finishes one message at a time."""

    def __init__(self, path: Path, durability: Durability, channel_count: int = 1) -> None:
        if durability == "memory":
            self._node = nsqlite.open()
        else:
            self._node = nsqlite.open(path / "store", durability=durability)
        self._topic = self._node.topic("bench")
        self._channels = [self._topic.channel(f"channel{number}") for number in range(channel_count)]

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish each."""
        publish = self._topic.publish
        for body in bodies:
            publish(body)

    def receive(self, count: int) -> None:
        """Receive each and finish it."""
        receive = self._channels[0].receive
        for _ in range(count):
            message = receive()
            assert message is not None
            message.finish()

    def close(self) -> None:
        """Close the node."""
        self._node.close()


class OursByHundred(Ours):
    """The same, a hundred messages a call."""

    def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish all, a hundred a call."""
        publish_many = self._topic.publish_many
        for start in range(0, len(bodies), BATCH):
            publish_many(bodies[start : start + BATCH])

    def receive(self, count: int) -> None:
        """Receive and finish all, a hundred a call."""
        receive_many, finish_many = self._channels[0].receive_many, self._channels[0].finish_many
        left = count
        while left:
            messages = receive_many(BATCH)
            finish_many(messages)
            left -= len(messages)


def one_by_one(durability: Durability, channel_count: int = 1) -> Callable[[Path], Ours]:
    """What makes a node that is used message by message."""
    return lambda path: Ours(path, durability, channel_count)


def by_hundred(durability: Durability, channel_count: int = 1) -> Callable[[Path], OursByHundred]:
    """What makes a node that is used a hundred messages at a time."""
    return lambda path: OursByHundred(path, durability, channel_count)
