"""A connection that breaks when it is told to: reset, or closed in the middle of a frame; or without heartbeats."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from nsqlite.net.peer import Peer
from nsqlite.net.protocol import wire
from nsqlite.net.tcp_server import TcpServer
from nsqlite.testing.clock import Clock as TestClock
from nsqlite.testing.faults import DROP, MESSAGE, Fault, Faults
from nsqlite.testing.faulty_session import FaultySession

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
_SIZE: Final = struct.Struct(">I")
ANSWER_SECONDS: Final = 0.5  # of real time, for clients that owe an answer to a heartbeat


class FaultyPeer(Peer):
    """A peer that meets faults.

    Attributes:
        faults: Which there are.
        number: The how-manyth connection of the node it is, from 1 on.
        session: What the client does.
        is_asked: Whether it has been sent a heartbeat, and has said nothing since.
    """

    session_type = FaultySession  # type: ignore[assignment]  # its peers are these
    session: FaultySession

    def __init__(self, faults: Faults, server: TcpServer) -> None:
        super().__init__(server)
        self.faults = faults
        self.number = faults.next_connection()
        self._fault: Fault | None = None
        self.is_asked = False
        self._asked_at = self._chance_at = math.inf  # of real time
        self._is_in_jumps = isinstance(self.clock, TestClock)
        self._answer: asyncio.Future[None] | None = None

    # -- breaking off ---------------------------------------------------------------------

    def reset(self) -> None:
        """End at once: the client is told by a reset, and reads nothing more."""
        sever(self.transport)
        self.give_up()

    def break_answer(self, fault: Fault) -> None:
        """Let a fault strike at the next answer."""
        self._fault = fault

    def break_without_answer(self) -> None:
        """Let it strike now, unless an answer is still to come."""
        if self._fault is not None and not super().is_busy:
            self._fault = None
            self.reset()

    def reply(self, frame: bytes) -> None:
        """See Peer."""
        fault = self._fault
        if fault is None or frame is wire.HEARTBEAT:
            super().reply(frame)
        else:
            self._fault = None
            self._break(fault, frame)

    def send_messages(self, pieces: Sequence[bytes], *, may_wait: bool) -> None:
        """See Peer. They leave at once: where time stands still, they would wait in the output buffer for ever."""
        if self.faults.concern(MESSAGE):
            whole: list[bytes] = []
            for frame in _frames(pieces):
                fault = self.faults.meet(self.session.place(MESSAGE))
                if fault is not None:
                    super().send_messages(whole, may_wait=False)
                    self._break(fault, frame)
                    return
                whole.append(frame)
        super().send_messages(pieces, may_wait=False)

    def _break(self, fault: Fault, frame: bytes) -> None:
        if fault.kind == DROP:
            self.reset()
        else:
            self.outgoing.answer(frame[: len(frame) // 2])
            self.close()

    # -- heartbeats -----------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """See Peer. Who hears no heartbeat has nothing to answer, and is not taken for dead.

        Nor is, where time jumps, who has not been asked: a client lives on real time, and a jump of an hour is
        none of it.
        """
        is_not_asked = self._is_in_jumps and not self.is_asked
        return super().is_busy or not self.faults.has_heartbeats or is_not_asked

    def send_heartbeat(self) -> None:
        """See Peer."""
        if self.faults.has_heartbeats:
            super().send_heartbeat()
            if self._is_in_jumps and not self.is_asked:  # it has one more interval to answer, however far time jumped
                since_ns = self.clock.monotonic_ns() - self.agreement.heartbeat_interval_ns
                self._lifeline.last_ns = max(self._lifeline.last_ns, since_ns)
            if not self.is_asked:
                self._asked_at, self._chance_at = time.monotonic(), math.inf
            self.is_asked = self.connection.has_magic

    def revive(self) -> None:
        """Begin anew to wait for a sign of life."""
        self._lifeline.last_ns = self.clock.monotonic_ns()

    def heard(self) -> None:
        """The client has said something."""
        self.is_asked = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def answer(self) -> asyncio.Future[None]:
        """Done when the client next says something."""
        self._answer = self.loop.create_future()
        return self._answer

    def would_die(self, in_ns: int) -> bool:
        """Whether it is taken for dead if time jumps so far."""
        return self._lifeline._deadline_ns() <= self.clock.monotonic_ns() + in_ns

    def spare(self, in_ns: int, turned_at: float) -> None:
        """Before time jumps so far: live through it, unless there was real time enough to answer the last heartbeat.

        Args:
            in_ns: How far.
            turned_at: When the loop that lets time jump, in which the client may be, had its last turn for others.
        """
        if self.is_asked and self.would_die(in_ns):
            self._chance_at = min(self._chance_at, max(self._asked_at, turned_at))
            if time.monotonic() - self._chance_at < ANSWER_SECONDS:
                then_ns = self.clock.monotonic_ns() + in_ns
                self._lifeline.last_ns = then_ns - self.agreement.heartbeat_interval_ns


def sever(transport: Any) -> None:
    """End a connection by a reset, whatever is on its way."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):  # it is gone already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    if transport is not None:
        transport.abort()


def _frames(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Each frame by itself: a piece may be a whole run of them."""
    for piece in pieces:
        start = 0
        while start < len(piece):
            (size,) = _SIZE.unpack_from(piece, start)
            stop = start + _SIZE.size + size
            yield piece[start:stop]
            start = stop
