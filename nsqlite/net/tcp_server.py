"""The server of NSQ's TCP protocol: accepts connections and knows which are open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from nsqlite.door import Door
from nsqlite.engine import Engine
from nsqlite.errors import NsqliteError
from nsqlite.net.binding import Binding, rounds
from nsqlite.net.connection_limit import ConnectionLimit
from nsqlite.net.fullness import Fullness
from nsqlite.net.options import ListenerOptions
from nsqlite.net.peer import Peer
from nsqlite.net.protocol.commands import Limits
from nsqlite.net.protocol.compression import snappy_is_available
from nsqlite.net.protocol.negotiation import VERSION, Terms
from nsqlite.net.tls import server_context
from nsqlite.net.topics import Topics
from nsqlite.options import SECOND_NS
from nsqlite.stats import ClientStats

if TYPE_CHECKING:
    import ssl

    from nsqlite.net.auth import AuthServers

DRAIN_SECONDS: Final = 5.0  # of real time, whatever the node's clock says: closing may not hang
log: Final = logging.getLogger("nsqlite")


class TcpServer:
    """All connections of one listener; lives in one loop.

    Attributes:
        topics: Topics by name, made when they are not there.
        terms: What is offered at IDENTIFY.
        limits: What is taken.
        tls: For upgrades; None without a certificate.
        fullness: Who tells the log that there is no room.
        auth: Who knows what a secret may do; None if everybody may.
        is_auth_told: Whether the log has been told that the auth servers fail.
    """

    peer_type: Callable[[TcpServer], Peer] = Peer  # nsqlite.testing has one that fails when it is told to

    def __init__(self, engine: Engine, options: ListenerOptions) -> None:
        """Prepare it, in the loop it is to run in.

        Raises:
            InvalidOptionError: A certificate cannot be used, or a library is missing.
        """
        self.engine = engine
        self.options = options
        self.door = Door(engine)
        self.topics = Topics(engine, self.door)
        self.limits = _limits(engine)
        self.tls: ssl.SSLContext | None = server_context(options) if options.tls_cert else None
        self.is_tls_required = options.is_tls_required
        self.fullness = Fullness(engine.clock)
        self.auth: AuthServers | None = _auth_servers(options)
        self.terms = _terms(engine, options)
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: set[asyncio.Task[None]] = set()
        self._binding = Binding()
        self._limit = ConnectionLimit(options.max_connections)
        self._is_closing = False
        self.is_auth_told = False
        self._is_empty = asyncio.Event()

    async def start(self) -> None:
        """Bind and accept.

        Raises:
            ListenError: The address cannot be had.
            NodeClosedError, NodeFailedError: The node could serve nobody.
        """
        self.engine.locked(lambda _: None)
        await self._binding.start(self._make_peer, self.options.tcp_address)
        self.engine.producers.append(self._producers)
        name = self._binding.name
        log.info("TCP: listening on %s", name, extra={"event": "listening", "address": name})

    def _make_peer(self) -> Peer:
        return self.peer_type(self)

    @property
    def address(self) -> tuple[str, int] | str:
        """(host, real port), or the path of a unix socket."""
        return self._binding.address

    def _producers(self) -> list[ClientStats]:
        return [peer.session.stats() for peer in list(self._peers) if peer.session.pub_counts]

    # -- connections ----------------------------------------------------------------------

    def admit(self, peer: Peer) -> bool:
        """Whether a new connection may stay."""
        if self._is_closing:
            return False  # it came at the last moment
        if not self._limit.has_room(len(self._peers)):
            return False
        self._peers.add(peer)
        return True

    def forget(self, peer: Peer) -> None:
        """Let a lost connection go."""
        self._peers.discard(peer)
        self._limit.left(len(self._peers))
        if not self._peers:
            self._is_empty.set()

    def begin(self, work: Coroutine[Any, Any, None], *, may_be_cancelled: bool = False) -> None:
        """Run something beside the connections that ends before the listener does."""
        task = self.door.loop.create_task(work)
        self._tasks.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._tasks.discard)
        if may_be_cancelled:
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)

    def auth_failed(self, error: NsqliteError) -> None:
        """Say why, once until it goes well again."""
        if not self.is_auth_told:
            self.is_auth_told = True
            log.warning("%s", error, extra={"event": "auth_failed"})

    async def close(self) -> None:
        """Accept nothing more, carry out what was read, and end all connections."""
        if not self._binding.is_open:
            return
        self._is_closing = True
        with suppress(ValueError):  # it was closed before it had begun
            self.engine.producers.remove(self._producers)
        await self._binding.close()
        for peer in list(self._peers):
            peer.may_linger = False
            peer.finish()
        if self._peers:
            self._is_empty.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), DRAIN_SECONDS)
        for peer in list(self._peers):
            peer.give_up()
        for task in self._commands:
            task.cancel()  # what it promised is kept or not, never by half; nobody is there to be told
        await rounds()  # connections that were given up are told so
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self.auth is not None:
            await self.auth.close()
        self.door.close()
        name = self._binding.name
        log.info("TCP: closing %s", name, extra={"event": "closing", "address": name})


def _limits(engine: Engine) -> Limits:
    options = engine.options
    return Limits(
        max_msg_size=options.max_msg_size,
        max_body_size=options.max_body_size,
        max_rdy_count=options.max_rdy_count,
        max_req_timeout_ms=int(options.max_req_timeout * 1000),
    )


def _auth_servers(options: ListenerOptions) -> AuthServers | None:
    if not options.auth_http_addresses:
        return None
    from nsqlite.net.auth import AuthServers  # brings aiohttp, which only this needs

    return AuthServers(options)


def _terms(engine: Engine, options: ListenerOptions) -> Terms:
    node = engine.options
    return Terms(
        max_rdy_count=node.max_rdy_count,
        version=VERSION,
        max_msg_timeout_ns=node.max_msg_timeout_ns,
        msg_timeout_ns=node.msg_timeout_ns,
        max_heartbeat_interval_ns=_ns(options.max_heartbeat_interval),
        min_output_buffer_timeout_ns=_ns(options.min_output_buffer_timeout),
        max_output_buffer_timeout_ns=_ns(options.max_output_buffer_timeout),
        output_buffer_timeout_ns=_ns(options.output_buffer_timeout),
        max_output_buffer_size=options.max_output_buffer_size,
        max_deflate_level=options.max_deflate_level,
        has_tls=bool(options.tls_cert),
        deflate=options.deflate,
        snappy=options.snappy and snappy_is_available(),
        auth_required=bool(options.auth_http_addresses),
        topology_region=options.topology_region,
        topology_zone=options.topology_zone,
    )


def _ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)
