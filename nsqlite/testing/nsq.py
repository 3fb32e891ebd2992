"""NSQ inside a test: publish, let handlers run until nothing is left to do, and look at what happened."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from nsqlite.bodies import BytesLike, Seconds
from nsqlite.errors import InvalidOptionError
from nsqlite.node import Node
from nsqlite.testing.block import Block
from nsqlite.testing.clock import Clock
from nsqlite.testing.draining import Draining
from nsqlite.testing.events import check_name
from nsqlite.testing.subject import Durability, Subject


class Nsq(Draining):
    """A node in this process whose time the test moves.

    Attributes:
        clock: Its time.
        history: What happened to its messages.
        failures: What handlers raised, in order.

    Example:
        >>> from nsqlite.testing import nsq
        >>> with nsq() as queue:
        ...     queue.on("orders", "billing", lambda message: queue.publish("mail", message.body))
        ...     _ = queue.publish("orders", b"7")
        ...     queue.drain()
        ...     queue.assert_published("mail", body=b"7", count=1)
        ...     queue.assert_empty()
    """

    def __init__(
        self,
        durability: Durability = "fsync",
        clock: Clock | None = None,
        *,
        topics: str | Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Open it.

        Args:
            durability: What a crash leaves; see Subject.
            clock: Its time; one of its own unless given.
            topics: Names of topics that are there, or "topic:channel" for a channel, too; a str is one of them.
            options: Of the node; see nsqlite.Options.
        """
        clock = Clock() if clock is None else clock
        super().__init__(Subject(durability, clock, **options), clock)
        try:
            make_topics(self.node, topics)
        except BaseException:
            self.close()
            raise

    # -- what the test does ---------------------------------------------------------------

    def publish(self, topic: str, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """Publish one message; return its id. See nsqlite.Node.publish."""
        return self.node.publish(topic, body, delay)

    def publish_many(self, topic: str, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """Publish a batch; return the ids. See nsqlite.Node.publish_many."""
        return self.node.publish_many(topic, bodies, delay)

    # -- faults ---------------------------------------------------------------------------

    def crash(self) -> None:
        """End the node as if its process were killed, and open it again on what is left. See Subject.crash.

        Handlers go on: their channels are made again if nothing is left of them.
        """
        self._subject.crash()
        for each in self._subscriptions:
            self.node.topic(each.topic).channel(each.channel)

    def fill_disk(self) -> None:
        """Have every publish refused with StoreFullError from now on."""
        self._subject.fill_disk()

    def free_disk(self) -> None:
        """Take publishes again."""
        self._subject.fill_disk(is_full=False)

    def fail_next_publish(self, times: int = 1) -> None:
        """Let the next publishes fail with StorageFailedError, as on a disk that is broken for a moment."""
        self._subject.fail_promises(times)

    def time_out(self, topic: str, channel: str) -> None:
        """Let all that is in flight in a channel time out now, whatever its deadline."""
        self._subject.time_out(topic, channel)

    # -- the end --------------------------------------------------------------------------

    def check(self) -> None:
        """Check every invariant of the node; a test ends with it."""
        self._subject.check()

    def close(self) -> None:
        """End it. Twice is fine."""
        self._end()
        self._subject.close()


def nsq(durability: Durability = "fsync", clock: Clock | None = None, **options: Any) -> Block[Nsq]:
    """An Nsq for a block: for unittest, or any other runner. See Nsq for the arguments.

    Raises:
        AssertionError: At the end of the block, if the node is not sound.
    """
    return Block("nsq", partial(Nsq, durability, clock, **options))


def make_topics(node: Node, names: str | Iterable[str]) -> None:
    """Make topics, or with "topic:channel" channels, too; a str is one of them."""
    if not isinstance(names, Iterable):
        raise InvalidOptionError("topics", names, "give a list of names, as in topics=['orders', 'mail:sender']")
    for name in [names] if isinstance(names, str) else names:
        topic, _, channel = check_name("topics", name).partition(":")
        handle = node.topic(topic)
        if channel:
            handle.channel(channel)
