"""A cluster inside a test: nodes, and an nsqlookupd at which they register."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from nsqlite.clock import Clock, SystemClock
from nsqlite.errors import InvalidOptionError
from nsqlite.testing.addresses import Address
from nsqlite.testing.lookupd import Lookupd
from nsqlite.testing.nsqd import Nsqd
from nsqlite.testing.subject import Durability

PATIENCE_SECONDS: Final = 10.0  # of real time, for nodes that register at once or never


class Cluster:
    """Nodes and their nsqlookupd, all in this process, on one clock.

    Attributes:
        nodes: Each an Nsqd, with everything that one has: `stop`, `start`, faults, assertions.
        lookupd: The nsqlookupd, with `stop` and `start`.
        clock: Their time.

    Example:
        >>> from nsqlite.testing import nsq_cluster
        >>> with nsq_cluster(nodes=2, topics=["orders"]) as cluster:
        ...     cluster.wait_registered("orders")
        ...     cluster.nodes[0].stop()
        ...     cluster.wait_registered("orders", producers=1)
        ...     cluster.lookupd.producers("orders") == [cluster.nodes[1].tcp_address]
        True
    """

    def __init__(
        self,
        nodes: int = 2,
        durability: Durability = "fsync",
        clock: Clock | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """Start all, and return when all nodes are known at the nsqlookupd.

        Args:
            nodes: How many.
            durability: See Nsqd.
            clock: Their time; the machine's unless given.
            seed: Of the first node's faults; the others count on from it.
            options: Of each node, as for an Nsqd.

        Raises:
            InvalidOptionError: An option is unknown or out of its range.
            ListenError: An address cannot be had.
        """
        if nodes < 1:
            raise InvalidOptionError("nodes", nodes, "give 1 or more")
        self.clock: Clock = SystemClock() if clock is None else clock
        self.nodes: list[Nsqd] = []
        self.lookupd = Lookupd(self.clock)
        try:
            options["nsqlookupd_tcp_addresses"] = [str(self.lookupd.tcp_address)]
            for number in range(nodes):
                self.nodes.append(Nsqd(durability, clock, seed + number, **options))
            self.wait_identified()
        except BaseException:
            self.close()
            raise

    @property
    def lookupd_tcp_address(self) -> Address:
        """Where nsqds register."""
        return self.lookupd.tcp_address

    @property
    def lookupd_http_address(self) -> Address:
        """Where consumers ask who has a topic."""
        return self.lookupd.http_address

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- waiting --------------------------------------------------------------------------

    def wait_identified(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Return when the nsqlookupd knows all nodes that run, and no others.

        Raises:
            AssertionError: It does not, in so many seconds of real time.
        """
        wanted = sorted(each.tcp_address for each in self.nodes if each.is_serving)
        if not self.lookupd.wait_for(lambda: sorted(self.lookupd._nodes()) == wanted, timeout):
            raise AssertionError(f"the nsqlookupd knows {self.lookupd.nodes()}, not {wanted}, after {timeout} s")

    def wait_registered(
        self, topic: str, channel: str = "", *, producers: int | None = None, timeout: float = PATIENCE_SECONDS
    ) -> None:
        """Return when consumers of a topic are sent to so many nodes.

        Args:
            topic: Which.
            channel: Count only those that have this channel of it.
            producers: How many; all that run unless given.
            timeout: Seconds of real time.

        Raises:
            AssertionError: They are not.
        """
        wanted = sum(each.is_serving for each in self.nodes) if producers is None else producers
        if not self.lookupd.wait_for(lambda: len(self.lookupd._producers(topic, channel)) == wanted, timeout):
            found = self.lookupd.producers(topic, channel)
            where = f"{topic}:{channel}" if channel else topic
            raise AssertionError(f"{len(found)} nodes, not {wanted}, have {where} after {timeout} s: {found}")

    # -- the end --------------------------------------------------------------------------

    def check(self) -> None:
        """Check every invariant of every node; a test ends with it."""
        for each in self.nodes:
            each.check()

    def close(self) -> None:
        """End all. Twice is fine."""
        for each in self.nodes:
            each.close()
        self.lookupd.close()


@contextmanager
def nsq_cluster(
    nodes: int = 2, durability: Durability = "fsync", clock: Clock | None = None, seed: int = 0, **options: Any
) -> Iterator[Cluster]:
    """A Cluster for a block: for unittest, asyncio, or any other runner. See Cluster for the arguments.

    Raises:
        AssertionError: At the end of the block, if a node is not sound.
    """
    cluster = Cluster(nodes, durability, clock, seed, **options)
    try:
        yield cluster
        cluster.check()
    finally:
        cluster.close()
