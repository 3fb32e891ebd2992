"""An nsqlookupd inside a test, which tells of every change, so that nobody has to ask again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from nsqlite.clock import Clock
from nsqlite.net.lookupd.lookupd import Servers
from nsqlite.net.lookupd.options import LookupdOptions
from nsqlite.net.lookupd.registry import Producer, Registry
from nsqlite.testing.addresses import LOOPBACK, Address, Ports
from nsqlite.testing.loop_thread import LoopThread


class WatchedRegistry(Registry):
    """A registry that tells of changes, and in which nobody ages who is connected: time jumps further than they ping.

    Attributes:
        heard_count: How much it was told by now.
    """

    def __init__(self, changed: threading.Condition, **limits: Any) -> None:
        super().__init__(**limits)
        self._changed = changed
        self.heard_count = 0

    def _is_active(self, producer: Producer, now_ns: int) -> bool:
        return True

    def ping(self, producer: Producer, now_ns: int, wall_ns: int) -> None:
        """See Registry."""
        super().ping(producer, now_ns, wall_ns)
        self.heard_count += 1

    def identify(self, producer: Producer, now_ns: int, wall_ns: int) -> None:
        """See Registry."""
        with self._changed:
            super().identify(producer, now_ns, wall_ns)
            self._changed.notify_all()

    def register(self, producer: Producer, topic: str, channel: str = "") -> None:
        """See Registry."""
        with self._changed:
            super().register(producer, topic, channel)
            self.heard_count += 1
            self._changed.notify_all()

    def unregister(self, producer: Producer, topic: str, channel: str = "") -> None:
        """See Registry."""
        with self._changed:
            super().unregister(producer, topic, channel)
            self.heard_count += 1
            self._changed.notify_all()

    def forget(self, producer: Producer) -> None:
        """See Registry."""
        with self._changed:
            super().forget(producer)
            self.heard_count += 1
            self._changed.notify_all()

    def create(self, topic: str, channel: str = "") -> None:
        """See Registry."""
        with self._changed:
            super().create(topic, channel)
            self._changed.notify_all()

    def delete_topic(self, topic: str) -> None:
        """See Registry."""
        with self._changed:
            super().delete_topic(topic)
            self._changed.notify_all()

    def delete_channel(self, topic: str, channel: str) -> bool:
        """See Registry."""
        with self._changed:
            was_there = super().delete_channel(topic, channel)
            self._changed.notify_all()
        return was_there

    def tombstone(self, topic: str, node: str, now_ns: int, wall_ns: int) -> None:
        """See Registry."""
        with self._changed:
            super().tombstone(topic, node, now_ns, wall_ns)
            self._changed.notify_all()


class WatchedServers(Servers):
    """An nsqlookupd whose registry tells of changes."""

    def __init__(self, options: LookupdOptions, clock: Clock, changed: threading.Condition) -> None:
        self.registry_type = partial(WatchedRegistry, changed)
        super().__init__(options, clock)


class Lookupd:
    """An nsqlookupd in a thread of its own, which can be stopped and started again on the same ports.

    Attributes:
        tcp_address: Where nsqds register.
        http_address: Where consumers and nsqadmin ask.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._ports = Ports()
        self.tcp_address: Address = self._ports.take()
        self.http_address: Address = self._ports.take()
        self._options = LookupdOptions(
            tcp_address=str(self.tcp_address), http_address=str(self.http_address), broadcast_address=LOOPBACK
        )
        self._thread: LoopThread | None = None
        self._servers: WatchedServers | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Run it; it knows nothing yet. Twice is fine.

        Raises:
            ListenError: An address cannot be had.
        """
        if self._thread is None:
            self._thread = LoopThread(asyncio.new_event_loop(), "nsqlite-testing-lookupd")
            try:
                self._servers = self._thread.run(self._serve())
            except BaseException:
                self._thread.close()
                self._thread = None
                raise

    async def _serve(self) -> WatchedServers:
        servers = WatchedServers(self._options, self._clock, self._changed)
        await servers.start()
        return servers

    def stop(self) -> None:
        """End it, with all it knows; nsqds will try to reconnect. Twice is fine."""
        thread, servers = self._thread, self._servers
        self._thread = self._servers = None
        if thread is not None and servers is not None:
            try:
                thread.run(servers.close())
            finally:
                thread.close()

    def close(self) -> None:
        """End it for good. Twice is fine."""
        self.stop()
        self._ports.close()

    def settle(self) -> int:
        """Return when it has taken in all that has arrived; how much it was told by then."""
        thread, servers = self._thread, self._servers
        if thread is None or servers is None:
            return 0
        thread.settle()
        registry = servers.registry
        assert isinstance(registry, WatchedRegistry)
        return registry.heard_count

    # -- what it knows --------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """Every nsqd that has identified itself and is heard of, by its TCP address."""
        with self._changed:
            return self._nodes()

    def producers(self, topic: str, channel: str = "") -> list[str]:
        """Those that consumers of a topic are sent to, by TCP address; those that have a channel of it."""
        with self._changed:
            return self._producers(topic, channel)

    def wait_for(self, has_come: Callable[[], bool], timeout: float) -> bool:
        """Return once something has come about, and whether it has; looked at after every change."""
        with self._changed:
            return self._changed.wait_for(has_come, timeout)

    def _nodes(self) -> list[str]:
        if self._servers is None:
            return []
        return [_address(each) for each, _ in self._servers.registry.nodes(self._clock.monotonic_ns())]

    def _producers(self, topic: str, channel: str = "") -> list[str]:
        if self._servers is None:
            return []
        found = self._servers.registry.lookup(topic, self._clock.monotonic_ns()) or []
        return [_address(each) for each in found if not channel or (topic, channel) in each.channels]


def _address(producer: Producer) -> str:
    return f"{producer.broadcast_address}:{producer.tcp_port}"
