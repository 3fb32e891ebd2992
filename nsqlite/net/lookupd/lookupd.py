"""An nsqlookupd of one's own: in a thread of its own, or in a running loop.

What it holds is bounded: the options bound connections and registrations, `protocol` a line and
an IDENTIFY, `net.http` a request's head, `http_api` answers; bodies of requests are not kept. A registration
takes 250 bytes, or 400 with the longest names; a producer a connection and 8 KiB at most. It keeps
nothing on disk: nsqds register again when they find it gone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nsqlite.clock import Clock, SystemClock
from nsqlite.errors import InvalidOptionError
from nsqlite.net.lookupd.options import LookupdOptions
from nsqlite.net.lookupd.registry import Registry
from nsqlite.net.lookupd.tcp_server import LookupdTcpServer
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.negotiation import VERSION
from nsqlite.net.served import ServedInLoop, ServedInThread
from nsqlite.options import merged

if TYPE_CHECKING:
    from nsqlite.net.http.server import HttpServer


def listen(*, options: LookupdOptions | None = None, clock: Clock | None = None, **fields: Any) -> Lookupd:
    """Run an nsqlookupd, served by a thread and a loop of its own.

    Args:
        options: All options at once.
        clock: Tells the time that inactivity and tombstones are measured by; the machine's by default.
        fields: Single options, over those in `options`; see nsqlite.net.lookupd.LookupdOptions.

    Raises:
        InvalidOptionError: An option is unknown or out of its range, or aiohttp is not installed.
        ListenError: An address cannot be had.

    Example:
        >>> import urllib.request
        >>> import nsqlite.net.lookupd
        >>> with nsqlite.net.lookupd.listen(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0") as lookupd:
        ...     host, port = lookupd.http_address
        ...     with urllib.request.urlopen(f"http://{host}:{port}/topics") as answer:
        ...         answer.read()
        b'{"topics":[]}'
    """
    return Lookupd(_merged(options, fields), clock or SystemClock())


def serve(
    *, options: LookupdOptions | None = None, clock: Clock | None = None, **fields: Any
) -> ServedInLoop[LoopLookupd]:
    """As `listen`, in the running loop: ``async with nsqlite.net.lookupd.serve() as lookupd``."""
    chosen = _merged(options, fields)

    async def start() -> LoopLookupd:
        servers = Servers(chosen, clock or SystemClock())
        await servers.start()
        return LoopLookupd(servers)

    return ServedInLoop(start)


class Lookupd(ServedInThread["Servers"]):
    """An nsqlookupd in a thread of its own. Close it, or use it as a context manager.

    Attributes:
        options: What it was made with.
        tcp_address: Where nsqds register: (host, real port).
        http_address: Where consumers and nsqadmin ask: the same.
    """

    def __init__(self, options: LookupdOptions, clock: Clock) -> None:
        self.options = options
        self.tcp_address: Any = ""
        self.http_address: Any = ""
        self._clock = clock
        self._servers: Servers | None = None
        super().__init__(asyncio.new_event_loop(), "nsqlite-lookupd")

    def _make(self) -> Servers:
        self._servers = Servers(self.options, self._clock)
        return self._servers

    def _take(self, servers: Servers) -> None:
        self.tcp_address, self.http_address = servers.tcp.address, servers.http.address

    def __repr__(self) -> str:
        return f"<Lookupd tcp={self.tcp_address} http={self.http_address}>"


class LoopLookupd:
    """An nsqlookupd in the loop it was made in.

    Attributes:
        options: What it was made with.
        tcp_address: Where nsqds register: (host, real port).
        http_address: Where consumers and nsqadmin ask: the same.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.options = servers.options
        self.tcp_address: Any = servers.tcp.address
        self.http_address: Any = servers.http.address

    def __repr__(self) -> str:
        return f"<LoopLookupd tcp={self.tcp_address} http={self.http_address}>"

    async def close(self) -> None:
        """End it, and all its connections; nsqds will try to reconnect. Twice is fine."""
        await asyncio.shield(self._servers.close())


class Servers:
    """What an nsqlookupd has in one loop.

    Attributes:
        options: What it was made with.
        registry: What is registered.
        tcp: For nsqds.
        http: For everybody else.
    """

    registry_type: Callable[..., Registry] = Registry  # nsqlite.testing has one that tells of changes

    def __init__(self, options: LookupdOptions, clock: Clock) -> None:
        self.options = options
        self.registry = self.registry_type(
            inactive_producer_timeout_ns=options.inactive_producer_timeout_ns,
            tombstone_lifetime_ns=options.tombstone_lifetime_ns,
            max_registrations=options.max_registrations,
            max_producer_registrations=options.max_producer_registrations,
        )
        self.tcp = LookupdTcpServer(self.registry, clock, self._greeting, options.max_connections)
        self.http = _http_server(options, self.registry, clock)

    async def start(self) -> None:
        """Bind both, and accept; HTTP first, since who connects is told its port.

        Raises:
            ListenError: An address cannot be had; the other is free again.
        """
        await self.http.start(self.options.http_address)
        try:
            await self.tcp.start(self.options.tcp_address)
        except BaseException:
            await self.http.close()
            raise

    async def close(self) -> None:
        """End both."""
        await self.tcp.close()
        await self.http.close()

    def _greeting(self) -> bytes:
        """What an nsqd is told when it identifies."""
        hostname = socket.gethostname()
        return go_json.encode(
            {
                "broadcast_address": self.options.broadcast_address or hostname,
                "hostname": hostname,
                "http_port": self.http.address[1],
                "tcp_port": self.tcp.address[1],
                "version": VERSION,
            }
        )


def _http_server(options: LookupdOptions, registry: Registry, clock: Clock) -> HttpServer:
    try:
        import aiohttp  # noqa: F401  # said here, since what follows brings it
    except ImportError as error:
        wanted = "install nsqlite[net], which brings the HTTP server for it"
        raise InvalidOptionError("http_address", options.http_address, wanted) from error
    from nsqlite.net.http.guard import Guard
    from nsqlite.net.http.router import Router
    from nsqlite.net.http.server import HttpServer
    from nsqlite.net.lookupd.http_api import LookupdApi

    hosts = [each for each in (*options.http_allowed_hosts, options.broadcast_address) if each]
    router = Router(LookupdApi(registry, clock).routes(), Guard(hosts=hosts))
    return HttpServer(router.handle, max_connections=options.max_http_connections)


def _merged(options: LookupdOptions | None, fields: dict[str, Any]) -> LookupdOptions:
    return merged(LookupdOptions, options, fields, name="nsqlite.net.lookupd.LookupdOptions")
