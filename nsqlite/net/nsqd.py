"""Everything a listener is, in one loop: servers of TCP and HTTP, discovery, statistics that are pushed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from nsqlite.engine import Engine
from nsqlite.errors import InvalidOptionError
from nsqlite.net.binding import Address, port_of
from nsqlite.net.memory_stats import GcPauses, MemoryStats, memory_stats
from nsqlite.net.options import ListenerOptions
from nsqlite.net.tcp_server import TcpServer
from nsqlite.storage.durable import DurableStorage

if TYPE_CHECKING:
    from nsqlite.net.http.server import HttpServer
    from nsqlite.net.http_api.servers import HttpServers
    from nsqlite.net.lookup import LookupPeers


class Nsqd:
    """A node as a peer of nsqds. Made and closed in the loop it runs in.

    Attributes:
        tcp: The server of NSQ's protocol.
        http: The server of the HTTP API; None without `http_address`.
        https: The same over TLS.
        config: Options that only a command knows, by nsqd's names in its config file.
    """

    def __init__(self, engine: Engine, options: ListenerOptions, config: Mapping[str, Any] | None = None) -> None:
        """Prepare it.

        Raises:
            InvalidOptionError: A certificate cannot be used, or a library is missing.
        """
        self.engine = engine
        self.options = options
        self.config = config or {}
        self.tcp = TcpServer(engine, options)
        self.http: HttpServer | None = None
        self.https: HttpServer | None = None
        self._lookup: LookupPeers | None = None
        self._pauses = GcPauses()
        self._parts: list[Any] = []  # what is closed before the servers, the last one first

    @property
    def http_address(self) -> Address:
        """(host, real port), or the path of a unix socket; "" where HTTP is not served."""
        return "" if self.http is None else self.http.address

    @property
    def https_address(self) -> Address:
        """The same for HTTPS."""
        return "" if self.https is None else self.https.address

    @property
    def broadcast_address(self) -> str:
        """Under which address others reach this node."""
        return self.options.broadcast_address or socket.gethostname()

    @property
    def broadcast_tcp_port(self) -> int:
        """At which port; -1 for a unix socket."""
        return self.options.broadcast_tcp_port or port_of(self.tcp.address)

    @property
    def broadcast_http_port(self) -> int:
        """The same for HTTP; 0 where it is not served."""
        return self.options.broadcast_http_port or port_of(self.http_address)

    @property
    def data_path(self) -> str:
        """The store's folder; "" for a node in memory."""
        storage = self.engine.storage
        return storage.path if isinstance(storage, DurableStorage) else ""

    @property
    def lookupd_addresses(self) -> tuple[str, ...]:
        """The nsqlookupds at which it registers now."""
        return self._lookup.addresses if self._lookup is not None else ()

    def set_lookupds(self, addresses: tuple[str, ...]) -> None:
        """Register at these from now on, and at no others.

        Raises:
            InvalidOptionError: One of them is no host:port, or a library is missing.
        """
        attrs.evolve(self.options, nsqlookupd_tcp_addresses=addresses)
        if self._lookup is not None:
            self._lookup.set_addresses(addresses)
        elif addresses:
            self._start_lookup(addresses)

    def _start_lookup(self, addresses: tuple[str, ...]) -> None:
        from nsqlite.net.lookup import LookupPeers

        options = attrs.evolve(self.options, nsqlookupd_tcp_addresses=addresses)
        self._lookup = LookupPeers(
            self.engine,
            self.tcp.door,
            options,
            tcp_port=port_of(self.tcp.address),
            http_port=port_of(self.http_address),
        )
        self._parts.append(self._lookup)
        self.tcp.topics.lookup = self._lookup
        self._lookup.start()

    def memory_stats(self) -> MemoryStats:
        """The process's memory as of now."""
        return memory_stats(self._pauses)

    async def start(self) -> None:
        """Bind and serve; nothing is left open if that fails.

        Raises:
            ListenError: An address cannot be had.
            InvalidOptionError: HTTP is asked for without the library that serves it.
            NodeClosedError, NodeFailedError: The node could serve nobody.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        options = self.options
        self._pauses.start()
        servers = self._prepared_http() if options.http_address or options.https_address else None
        await self.tcp.start()
        if servers is not None:
            self._parts.append(servers)
            await servers.start()
        if options.nsqlookupd_tcp_addresses:
            self._start_lookup(options.nsqlookupd_tcp_addresses)
        if options.statsd_address:
            self._start_statsd()

    def _prepared_http(self) -> HttpServers:
        """The servers, ready to bind: importing what serves HTTP takes longer than all else, so it comes first."""
        try:
            servers = self._make_http_servers()
        except ImportError as error:
            wanted = "install nsqlite[net], or leave it out"
            raise InvalidOptionError("http_address", self.options.http_address, wanted) from error
        servers.prepare()
        return servers

    def _make_http_servers(self) -> HttpServers:
        from nsqlite.net.http_api.servers import HttpServers

        return HttpServers(self)

    def _start_statsd(self) -> None:
        from nsqlite.net.statsd import Statsd

        name = f"{self.broadcast_address}:{self.broadcast_http_port}"
        statsd = Statsd(self.engine, self.options, name, self._pauses)
        self._parts.append(statsd)
        statsd.start()

    async def close(self) -> None:
        """End it: what was read is carried out and answered, then every connection closes."""
        self._pauses.stop()
        while self._parts:
            await self._parts.pop().close()
        await self.tcp.close()
