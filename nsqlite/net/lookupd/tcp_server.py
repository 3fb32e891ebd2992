"""The TCP server of an nsqlookupd: nsqds connect, identify, and say what they have.

A connection holds at most one line or one body of IDENTIFY (see `protocol`), what one read of
the socket gave, and WRITE_HIGH_BYTES of answers that the socket has not taken: then it is not
read any more. What an nsqd registers is bounded by the registry.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from nsqlite.clock import Clock, Handle
from nsqlite.net.binding import Binding, rounds, shown
from nsqlite.net.connection_limit import ConnectionLimit
from nsqlite.net.lookupd import protocol
from nsqlite.net.lookupd.protocol import Command, Identify, Ping, RefusedError, Register
from nsqlite.net.lookupd.registry import Producer, Registry, TooManyRegistrationsError
from nsqlite.options import SECOND_NS

COMMANDS_A_TURN: Final = 256
WRITE_HIGH_BYTES: Final = 64 * 1024
FIRST_COMMAND_NS: Final = 60 * SECOND_NS  # for a connection that never says anything; nsqlookupd keeps it for ever
LINGER_NS: Final = SECOND_NS
KEEPALIVE_SECONDS: Final = 15  # as Go's: an nsqd whose machine is gone is forgotten after ten of these
MAX_SHOWN: Final = 200
log: Final = logging.getLogger("nsqlite")


class LookupdTcpServer:
    """All connections of one nsqlookupd; lives in one loop.

    Attributes:
        registry: What they write to.
        clock: What time it is.
        greeting: Makes the answer to IDENTIFY.
    """

    def __init__(self, registry: Registry, clock: Clock, greeting: Callable[[], bytes], max_connections: int) -> None:
        self.registry = registry
        self.clock = clock
        self.greeting = greeting
        self._peers: set[LookupdPeer] = set()
        self._binding = Binding()
        self._limit = ConnectionLimit(max_connections)
        self._is_registry_told = False
        self._is_closing = False

    @property
    def address(self) -> tuple[str, int] | str:
        """(host, real port)."""
        return self._binding.address

    async def start(self, address: str) -> None:
        """Bind and accept.

        Raises:
            ListenError: The address cannot be had.
        """
        await self._binding.start(lambda: LookupdPeer(self), address)
        name = self._binding.name
        log.info("TCP: listening on %s", name, extra={"event": "listening", "address": name})

    def admit(self, peer: LookupdPeer) -> bool:
        """Whether a new connection may stay."""
        if self._is_closing:
            return False  # it came at the last moment
        if not self._limit.has_room(len(self._peers)):
            return False
        self._peers.add(peer)
        return True

    def leave(self, peer: LookupdPeer) -> None:
        """Let a lost connection go."""
        self._peers.discard(peer)
        self._limit.left(len(self._peers))

    def registry_is_full(self, error: TooManyRegistrationsError) -> None:
        """Say so, once: whoever is refused will come again and again."""
        if not self._is_registry_told:
            self._is_registry_told = True
            log.warning("refusing registrations: %s", error, extra={"event": "registry_full"})

    async def close(self) -> None:
        """Accept nothing more, and end all connections; what they have sent may go unread."""
        if not self._binding.is_open:
            return
        self._is_closing = True
        await self._binding.close()
        for peer in list(self._peers):
            peer.close()
        await rounds()
        for peer in list(self._peers):
            peer.give_up()  # it does not read what it was answered
        await rounds()  # they are told so
        name = self._binding.name
        log.info("TCP: closing %s", name, extra={"event": "closing", "address": name})


class LookupdPeer(asyncio.Protocol):
    """One connection: of an nsqd, usually."""

    def __init__(self, server: LookupdTcpServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._parser = protocol.Parser()
        self._producer: Producer | None = None
        self._name = ""
        self._timer: Handle | None = None
        self._has_spoken = False
        self._has_eof = False
        self._is_choked = False
        self._is_scheduled = False
        self._is_closing = False

    # -- asyncio's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self._name = shown(transport.get_extra_info("peername")[:2])
        _keep_alive(transport.get_extra_info("socket"))
        if self._server.admit(self):
            self._time_out_in(FIRST_COMMAND_NS)
        else:
            self.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_closing:
            return
        self._parser.receive(data)
        self._transport.pause_reading()  # until all of it is worked on
        if not self._is_scheduled:
            self._go_on()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. What came before is carried out and answered."""
        self._has_eof = True
        if self._is_closing:
            self.close()
        elif not self._is_scheduled:
            self._go_on()
        return True

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_choked = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_choked = False
        if not self._is_scheduled and not self._is_closing:
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_closing = True
        self._stop_timer()
        self._server.leave(self)
        if self._producer is not None:
            log.info("CLIENT(%s): gone, with all it had registered", self._name, extra={"event": "producer_lost"})
            self._server.registry.forget(self._producer)
            self._producer = None

    # -- commands -------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Work on what was read, for one turn of the loop."""
        self._is_scheduled = False
        if self._is_closing or self._is_choked or self._transport.is_closing():
            return  # `resume_writing` goes on
        answers: list[bytes] = []
        try:
            is_done = self._carry_out(answers)
            if is_done and self._has_eof:
                self._parser.finish()
        except RefusedError as error:
            self._refuse(error, answers)
            return
        self._transport.write(b"".join(answers))
        if not is_done:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)  # others have their turn first
        elif self._has_eof:
            self.close()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _carry_out(self, answers: list[bytes]) -> bool:
        """Carry out some commands; whether it was all there are."""
        for _ in range(COMMANDS_A_TURN):
            command = self._parser.next_command()
            if command is None:
                return True
            answers.append(protocol.answer(self._execute(command)))
        return False

    def _execute(self, command: Command) -> bytes:
        """Carry out a command; its answer."""
        if not self._has_spoken:
            self._has_spoken = True
            self._stop_timer()
        if isinstance(command, Identify):
            return self._identify(command)
        producer, registry = self._producer, self._server.registry
        if isinstance(command, Ping):
            if producer is not None:
                registry.ping(producer, self._server.clock.monotonic_ns(), self._server.clock.wall_ns())
            return b"OK"
        assert producer is not None, "the parser refuses who has not identified"
        if isinstance(command, Register):
            try:
                registry.register(producer, command.topic, command.channel)
            except TooManyRegistrationsError as error:
                self._server.registry_is_full(error)
                return f"E_INVALID REGISTER {error}".encode()  # goes on: an nsqd would come back with the same
        else:
            registry.unregister(producer, command.topic, command.channel)
        return b"OK"

    def _identify(self, command: Identify) -> bytes:
        self._producer = producer = Producer(
            remote_address=self._name,
            hostname=command.hostname,
            broadcast_address=command.broadcast_address,
            tcp_port=command.tcp_port,
            http_port=command.http_port,
            version=command.version,
        )
        clock = self._server.clock
        self._server.registry.identify(producer, clock.monotonic_ns(), clock.wall_ns())
        log.info(
            "CLIENT(%s): IDENTIFY Address:%s TCP:%d HTTP:%d Version:%s",
            self._name,
            _shown(producer.broadcast_address),
            producer.tcp_port,
            producer.http_port,
            _shown(producer.version),
            extra={"event": "producer_identified"},
        )
        return self._server.greeting()

    # -- the end --------------------------------------------------------------------------

    def _refuse(self, error: RefusedError, answers: list[bytes]) -> None:
        """Say why, and leave the client a moment to read it: closing at once would take the answers back."""
        self._is_closing = True
        log.warning("CLIENT(%s): %s", self._name, _shown(str(error)), extra={"event": "refused"})
        self._transport.write(b"".join([*answers, protocol.answer(error.answer)]))
        if self._has_eof:
            self.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._time_out_in(LINGER_NS)

    def close(self) -> None:
        """End it; what was answered is still sent, if the client takes it."""
        self._is_closing = True
        self._transport.close()
        self._time_out_in(LINGER_NS)

    def give_up(self) -> None:
        """End it at once."""
        self._transport.abort()

    def _time_out_in(self, duration_ns: int) -> None:
        self._stop_timer()
        clock = self._server.clock
        self._timer = clock.call_at(self._loop, clock.monotonic_ns() + duration_ns, self.give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _shown(text: str) -> str:
    """What a client said, in one line of a log."""
    return text[:MAX_SHOWN] if text.isprintable() else ascii(text[:MAX_SHOWN])


def _keep_alive(connection: Any) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_SECONDS)
