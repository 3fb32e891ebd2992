"""A cluster inside a test: nodes, and an nsqlookupd at which they register."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Final

from nsqlite.clock import Clock
from nsqlite.errors import InvalidOptionError
from nsqlite.testing.addresses import Address
from nsqlite.testing.block import Block
from nsqlite.testing.clock import Clock as TestClock
from nsqlite.testing.lookupd import Lookupd
from nsqlite.testing.nsqd import MachineClock, Nsqd
from nsqlite.testing.subject import Durability

MAX_ROUNDS: Final = 1000
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
        self.clock: Clock = MachineClock() if clock is None else clock
        self.nodes: list[Nsqd] = []
        self.lookupd = Lookupd(self.clock)
        try:
            options["nsqlookupd_tcp_addresses"] = [str(self.lookupd.tcp_address)]
            for number in range(nodes):
                self.nodes.append(Nsqd(durability, self.clock, seed + number, **options))
            self.wait_identified()
            if isinstance(clock, TestClock):
                clock.before.insert(0, self._let_register)
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

    def _let_register(self, in_ns: int) -> None:
        """Before time jumps: let all that nodes have to tell be told, for nobody has an answer a second later."""
        heard = -1
        for _ in range(MAX_ROUNDS):
            for each in self.nodes:
                if each._server is not None:
                    each._server.thread.settle()
            before, heard = heard, self.lookupd.settle()
            if heard == before:
                return

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
        if isinstance(self.clock, TestClock) and self._let_register in self.clock.before:
            self.clock.before.remove(self._let_register)
        for each in self.nodes:
            each.close()
        self.lookupd.close()


def nsq_cluster(
    nodes: int = 2, durability: Durability = "fsync", clock: Clock | None = None, seed: int = 0, **options: Any
) -> Block[Cluster]:
    """A Cluster for a block: for unittest, asyncio, or any other runner. See Cluster for the arguments.

    Raises:
        AssertionError: At the end of the block, if a node is not sound.
    """
    return Block("nsq_cluster", partial(Cluster, nodes, durability, clock, seed, **options))
