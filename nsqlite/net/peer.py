"""One connection: what arrives goes through the layers to the session, and what came of it leaves.

    socket -> Layers -> Connection -> Session
    socket <- Layers <- Outgoing <- frames

A peer reads on only while it can work on what it reads: a command that waits, or a socket
that does not take answers, stops the reading. So a connection holds at most one command
(`max_body_size`), what was read ahead (READ_AHEAD_BYTES and what one read gave), what the
socket has not taken (WRITE_HIGH_BYTES and one budget of messages), and its answers to one turn
(up to four times what it read for it: a FIN is shorter than its refusal). While a batch waits
for its sync its bodies and frames are held, too: twenty times itself if its messages are tiny.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from nsqlite.clock import Handle
from nsqlite.errors import ClosedError, NodeFailedError, NsqliteError
from nsqlite.net.layers import Layers
from nsqlite.net.lifeline import Lifeline
from nsqlite.net.outgoing import Outgoing
from nsqlite.net.protocol import wire
from nsqlite.net.protocol.commands import MpubBegun
from nsqlite.net.protocol.compression import LayerError
from nsqlite.net.protocol.connection import Connection, LineTooLongError, State
from nsqlite.net.protocol.errors import IdentifyFailedError, ProtocolError
from nsqlite.net.protocol.negotiation import Agreement, unidentified
from nsqlite.net.session import Session
from nsqlite.net.upgrade import Upgrade
from nsqlite.options import SECOND_NS

if TYPE_CHECKING:
    from nsqlite.net.tcp_server import TcpServer
    from nsqlite.net.tls import TlsDescription

READ_AHEAD_BYTES: Final = 256 * 1024
CHUNK_BYTES: Final = 64 * 1024
COMMANDS_A_TURN: Final = 256
CHUNK_COST: Final = 64  # commands that as much of a turn: what unpacks to much does not keep the others waiting
WRITE_HIGH_BYTES: Final = 256 * 1024
LINGER_NS: Final = SECOND_NS
REST_SECONDS: Final = 0.001  # of real time: it is about the socket, not about messages
log: Final = logging.getLogger("nsqlite")


class Peer(asyncio.Protocol):
    """One client's connection.

    Attributes:
        agreement: What IDENTIFY settled, or what holds without it.
        is_choked: Whether the socket does not take what is written.
        may_pump: Whether something in this round may have made room for messages.
        may_linger: Whether a client that is still writing gets a moment to read why it is left.
        tls_description: Once the connection is encrypted.
    """

    session_type: Callable[[TcpServer, Peer], Session] = Session  # nsqlite.testing has another one

    def __init__(self, server: TcpServer) -> None:
        self.transport: Any = None
        self.server = server
        self.clock = server.engine.clock
        self.loop = server.door.loop
        self.is_choked = False
        self.may_pump = False
        self.may_linger = True
        self.tls_description: TlsDescription | None = None
        self._holds = 0
        self._has_eof = False
        self._is_draining = False
        self._is_closing = False
        self._is_lost = False
        self._is_scheduled = False
        self._is_reading_paused = False
        self._is_resting = False
        self._upgrade: Upgrade | None = None
        self._linger: Handle | None = None

    # -- asyncio's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = transport
        name = transport.get_extra_info("peername")
        is_ip = isinstance(name, tuple)
        self.remote_ip: str = name[0] if is_ip else ""
        self.remote_address = f"{name[0]}:{name[1]}" if is_ip else "@"
        self.agreement: Agreement = unidentified(self.server.terms, self.remote_ip)
        self.connection = Connection(self.server.limits, is_tls_missing=self.server.is_tls_required)
        self.layers = Layers()
        self.outgoing = Outgoing(self, transport, self.layers)
        self.session = self.session_type(self.server, self)
        self._lifeline = Lifeline(self)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if not self.server.admit(self):
            self.give_up()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. Hot."""
        if self._is_closing:
            return
        if self.layers:
            self.layers.feed(data)
            if self._upgrade is not None:
                self._upgrade.proceed()
        else:
            self.connection.receive(data)
        if self._is_scheduled:
            self._throttle()  # now: uvloop reads a socket up to 32 times before anything that is scheduled runs
        else:
            self.go_on()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. What came before is carried out and answered."""
        self._has_eof = True
        if self._is_closing:
            self.transport.close()
        else:
            self.finish()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_lost = self._is_closing = self.is_choked = True
        self.session.leave()
        self._lifeline.stop()
        self.outgoing.shut()
        if self._upgrade is not None:
            self._upgrade.stop()
        if self._linger is not None:
            self._linger.cancel()
        self.server.forget(self)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.is_choked = True
        self._lifeline.choked()
        if self.session.subscription is not None:
            self.session.subscription.stop_waiting()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._is_closing:
            return
        self.is_choked = False
        self._lifeline.unchoked()
        self.may_pump = True
        self.go_on()

    # -- commands -------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way; the next one waits."""
        return self._holds > 0

    @property
    def is_closing(self) -> bool:
        """Whether no command is carried out any more."""
        return self._is_closing

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self.connection.state

    def go_on(self) -> None:
        """Carry out the commands that are here, as far as may be, and send what came of it. Hot."""
        self._is_scheduled = False
        try:
            is_idle = self._carry_out()
        except LineTooLongError:
            self.close()  # as nsqd: without a word
            return
        except LayerError as error:
            self.garbled(error)
            return
        except NsqliteError as error:
            self.failed(error)
            return
        if self.may_pump and self.session.subscription is not None:
            self.may_pump = False
            self.session.subscription.pump()
            if self.session.subscription.is_full:
                self._rest()
        if self.outgoing.has_answers:
            self.outgoing.flush()
        if is_idle and self._is_draining:
            self.close()
        self._throttle()

    def _carry_out(self) -> bool:
        """Commands until one must wait, or all of this turn; whether no more is here."""
        connection, handle = self.connection, self.session.handle
        left = COMMANDS_A_TURN
        is_idle = is_alive = False
        while left > 0 and not (is_idle or self._holds or self.is_choked or self._is_closing):
            try:
                command = connection.next_command()
                if command is not None:
                    handle(command)
            except LineTooLongError:
                raise
            except ProtocolError as refusal:
                self.refuse(refusal)
                is_alive = True
                left -= 1
                continue
            if command is not None:
                is_alive = is_alive or type(command) is not MpubBegun  # whose body must come within the same time
                left -= 1
            elif self._read_layers():
                left -= CHUNK_COST
            else:
                is_idle = True
        if is_alive:
            self._lifeline.last_ns = self.clock.monotonic_ns()
        if left <= 0:
            self._take_turns()
        return is_idle

    def _take_turns(self) -> None:
        """Let the other connections go first."""
        self._is_scheduled = True
        self.loop.call_soon(self.go_on)

    def _read_layers(self) -> bool:
        if not self.layers or self._upgrade is not None:
            return False
        data = self.layers.read(CHUNK_BYTES)
        if data:
            self.connection.receive(data)
        return bool(data)

    def hold(self) -> None:
        """Let the next command wait until as many `release`s."""
        self._holds += 1

    def release(self) -> None:
        """Let the next command go, if nothing else holds it."""
        self._holds -= 1
        if not self._holds and not self._is_scheduled:
            self._lifeline.last_ns = self.clock.monotonic_ns()
            self.go_on()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a command that waits for something; the next one waits for it."""
        self.hold()
        self.server.begin(self._finish(work), may_be_cancelled=True)

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ProtocolError as refusal:
            self.refuse(refusal)
        except NsqliteError as error:
            self.failed(error)
        finally:
            self.release()

    def _throttle(self) -> None:
        """Read no further ahead than one can work."""
        if self._is_closing:
            return
        held = self.layers.buffered_bytes if self.layers else self.connection.buffered_bytes
        is_stuck = held > READ_AHEAD_BYTES and bool(self._holds or self.is_choked or self._is_scheduled)
        is_stuck = is_stuck or self._is_resting
        if is_stuck != self._is_reading_paused:
            self._is_reading_paused = is_stuck
            if is_stuck:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _rest(self) -> None:
        """Read no answers for a moment: those of a millisecond are one read, one turn and one write.

        A consumer whose hands are full has enough to do; without this, who flushes each answer
        costs a round of the loop for each (benchmarks/net/reading.py).
        """
        if not self._is_resting and not self._is_draining:
            self._is_resting = True
            self.loop.call_later(REST_SECONDS, self._rested)

    def _rested(self) -> None:
        self._is_resting = False
        self._throttle()

    # -- what the session asks for --------------------------------------------------------

    def reply(self, frame: bytes) -> None:
        """Send a frame with this round."""
        self.outgoing.answer(frame)

    def agree(self, agreement: Agreement, reply: bytes) -> None:
        """Answer an IDENTIFY, and change to what was agreed.

        Raises:
            IdentifyFailedError: The connection has changed already: each layer costs memory, so there is one of each.
        """
        is_upgrade = agreement.tls or agreement.snappy or agreement.deflate
        if is_upgrade and self.layers:
            raise IdentifyFailedError("IDENTIFY failed upgraded already")
        self.agreement = agreement
        self.connection.has_heartbeats = agreement.heartbeat_interval_ns > 0
        self._lifeline.restart()
        self.reply(wire.frame(wire.RESPONSE, reply))
        if is_upgrade:
            self.outgoing.flush()
            self.connection.discard()
            self._upgrade = Upgrade(self, self._upgraded)
            self._upgrade.proceed()

    def _upgraded(self, description: TlsDescription | None) -> None:
        """All layers are there."""
        self._upgrade = None
        self.tls_description = description
        if description is not None:
            self.connection.is_tls_missing = False

    def refuse(self, refusal: ProtocolError) -> None:
        """Tell the client what was wrong; close if it is not to go on."""
        if self._is_closing:
            return
        self.reply(wire.frame(wire.ERROR, refusal.payload))
        if refusal.is_fatal:
            self.close()

    def send_messages(self, pieces: Sequence[bytes], *, may_wait: bool) -> None:
        """Send messages when the output buffer is full or old, or at once."""
        self.outgoing.add_messages(pieces, may_wait=may_wait)

    def send_heartbeat(self) -> None:
        """Say that the server lives."""
        if self.connection.has_magic and not self.is_choked and self._upgrade is None:
            self.reply(wire.HEARTBEAT)
            self.outgoing.flush()

    # -- the end --------------------------------------------------------------------------

    def finish(self) -> None:
        """Expect nothing more: carry out what was read, answer it, and close."""
        if self._upgrade is not None or (self._is_closing and not self.may_linger):
            self.give_up()  # there is nobody to shake hands with, and nothing was said that could be answered
            return
        self._is_draining = True
        self.connection.receive_eof()
        if not self._is_scheduled:
            self.go_on()

    def close(self) -> None:
        """Send what waits and end.

        A client that is still writing has a moment to read it: closing at once would make the
        system throw away, on both sides, what is on its way.
        """
        if self._is_closing:
            return
        self.outgoing.flush()
        self.outgoing.shut()
        self._is_closing = self.is_choked = True
        self.session.leave()
        self.connection.discard()
        self._lifeline.stop()
        if self._has_eof or not self.may_linger:
            self.transport.close()
        else:
            if self._is_reading_paused:
                self.transport.resume_reading()
            try:
                self.transport.write_eof()
            except OSError:  # it was reset, and the loop has not told us yet
                self.give_up()
        self._linger = self.clock.call_at(self.loop, self.clock.monotonic_ns() + LINGER_NS, self.give_up)

    def failed(self, error: NsqliteError) -> None:
        """End, because a command could not be carried out; that the node is closed is no news."""
        if not isinstance(error, (ClosedError, NodeFailedError)):
            log.warning("%s: %s", self.remote_address, error, extra={"event": "command_failed"})
        self.close()

    def garbled(self, error: LayerError) -> None:
        """End, because TLS or compression is broken or over: no command could be read any more."""
        if not error.is_end:
            log.debug("%s: %s", self.remote_address, error, extra={"event": "connection_garbled"})
        self.close()

    def give_up(self) -> None:
        """End at once, whatever is on its way."""
        self._is_closing = self.is_choked = True
        self.session.leave()
        if not self._is_lost:
            self.transport.abort()
