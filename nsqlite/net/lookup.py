"""Registration at nsqlookupds, as nsqd does it: who looks a topic up there finds this node.

A change of topics or channels wakes the loop; every peer then tells its nsqlookupd what is new.
Without any nsqlookupd the node works as ever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress

from nsqlite.core.broker import Broker
from nsqlite.core.topic import Topic
from nsqlite.door import Door
from nsqlite.engine import Engine
from nsqlite.errors import ClosedError, NodeFailedError
from nsqlite.net.binding import rounds
from nsqlite.net.lookup_channels import Precreation
from nsqlite.net.lookup_peer import Identity, LookupPeer, Registry
from nsqlite.net.options import ListenerOptions


class LookupPeers:
    """All nsqlookupds of one listener; lives in one loop."""

    def __init__(self, engine: Engine, door: Door, options: ListenerOptions, *, tcp_port: int, http_port: int) -> None:
        """Prepare it, in the loop it is to run in; nothing is connected yet.

        Args:
            engine: Whose topics and channels are told.
            door: Through which channels are made; closed after this.
            options: Addresses, how the node is reached, and limits of HTTP requests.
            tcp_port: What is bound, unless `broadcast_tcp_port` says something else.
            http_port: The same for `broadcast_http_port`. An nsqlookupd refuses a 0.

        Raises:
            InvalidOptionError: aiohttp is not installed, or `tls_root_ca_file` cannot be used.
        """
        hostname = socket.gethostname()
        self._engine = engine
        self._options = options
        self._identity = Identity(
            broadcast_address=options.broadcast_address or hostname,
            hostname=hostname,
            tcp_port=options.broadcast_tcp_port or tcp_port,
            http_port=options.broadcast_http_port or http_port,
            topology_region=options.topology_region,
            topology_zone=options.topology_zone,
        )
        self._loop = asyncio.get_running_loop()
        self._peers: dict[str, LookupPeer] = {}
        self._dropped: set[asyncio.Task[None]] = set()
        self._known: Registry = {}
        self._is_stale = True
        self._is_told = False
        self._precreation = Precreation(self, door, options)

    def start(self) -> None:
        """Begin to register, at the addresses of the options. Waits for nobody."""
        self._engine.watchers.append(self)
        self._precreation.start(self.registry())
        self.set_addresses(self._options.nsqlookupd_tcp_addresses)

    async def close(self) -> None:
        """Hang up, without a word, as nsqd does. Twice is fine."""
        with suppress(ValueError):
            self._engine.watchers.remove(self)
        self.set_addresses(())
        while self._dropped:
            await asyncio.wait(self._dropped)
        await self._precreation.close()
        await rounds()  # sockets that were closed are so then

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it registers, each host:port."""
        return tuple(self._peers)

    @property
    def identified(self) -> tuple[str, ...]:
        """Of those that have ever said who they are, host:port of their HTTP APIs."""
        return tuple(peer.http_address for peer in self._peers.values() if peer.http_address)

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Register at these and no others: new ones are connected to at once, and those that are left out closed."""
        wanted = dict.fromkeys(addresses)
        for address in [each for each in self._peers if each not in wanted]:
            task = self._loop.create_task(self._peers.pop(address).close())
            self._dropped.add(task)  # the loop alone would let it be collected
            task.add_done_callback(self._dropped.discard)
        for address in wanted:
            if address not in self._peers:
                self._peers[address] = self._make_peer(address)

    def _make_peer(self, address: str) -> LookupPeer:
        engine = self._engine
        return LookupPeer(address, engine.clock, self._identity, self.registry, engine.options.max_body_size)

    async def precreated(self, topic: Topic) -> None:
        """Return when a new topic has the channels that nsqlookupds know for it, or nobody could say.

        At once for one that was there at the start. Cancelled, it goes on for who else waits.
        """
        await self._precreation.done(topic)

    # -- changes --------------------------------------------------------------------------

    def wake(self) -> None:
        """A topic or channel was made or deleted. From any thread."""
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        self._is_told = False  # first, so that what comes while this runs is seen here or told again
        self._is_stale = True
        for peer in self._peers.values():
            peer.changed()
        self._precreation.look(self.registry())

    def registry(self) -> Registry:
        """All topics and channels, with their numbers; the same object until they change. O(topics and channels)."""
        if self._is_stale:
            self._is_stale = False
            with suppress(ClosedError, NodeFailedError):  # what it had stays told until the listener is closed
                self._known = self._engine.locked(_registry)
        return self._known


def _registry(broker: Broker) -> Registry:
    return {
        name: (topic.number, {channel.name: channel.number for channel in topic.channels.values()})
        for name, topic in broker.topics.items()
    }
