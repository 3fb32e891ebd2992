"""Heartbeats, and the deadlines by which a client must give a sign of life.

A client is silent when no whole command came for two heartbeat intervals, and stuck when
its socket has taken nothing for one. Either ends the connection, as in nsqd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nsqlite.clock import Handle
from nsqlite.core.timers import NEVER

if TYPE_CHECKING:
    from nsqlite.net.peer import Peer

SILENT_INTERVALS: Final = 2


class Lifeline:
    """One connection's timer: one alarm, whatever is waited for.

    Attributes:
        last_ns: When the last command was done, and the wait for the next began.
    """

    __slots__ = ("_alarm", "_choked_ns", "_clock", "_heartbeat_ns", "_interval_ns", "_loop", "_peer", "last_ns")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._clock = peer.clock
        self._loop = peer.loop
        self._alarm: Handle | None = None
        self._choked_ns = NEVER
        self.last_ns = 0
        self._interval_ns = 0
        self._heartbeat_ns = NEVER
        self.restart()

    def restart(self) -> None:
        """Begin anew, with the interval that was agreed."""
        self.stop()
        self._interval_ns = self._peer.agreement.heartbeat_interval_ns
        if self._interval_ns:
            self.last_ns = self._clock.monotonic_ns()
            self._heartbeat_ns = self.last_ns + self._interval_ns
            self._arm(self.last_ns)

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def choked(self) -> None:
        """The socket takes no more for now."""
        self._choked_ns = self._clock.monotonic_ns()

    def unchoked(self) -> None:
        """The socket takes more again."""
        self._choked_ns = NEVER
        self.last_ns = self._clock.monotonic_ns()

    def _deadline_ns(self) -> int:
        """When the connection ends, as things are."""
        if self._choked_ns != NEVER:
            return self._choked_ns + self._interval_ns
        if self._peer.is_busy:
            return NEVER
        return self.last_ns + SILENT_INTERVALS * self._interval_ns

    def _arm(self, now_ns: int) -> None:
        at_ns = min(self._heartbeat_ns, max(self._deadline_ns(), now_ns))
        self._alarm = self._clock.call_at(self._loop, at_ns, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._deadline_ns():
            if self._choked_ns != NEVER:
                self._peer.give_up()
            else:
                self._peer.finish()  # half a body is told so, as at the end of the stream
            return
        while self._heartbeat_ns <= now_ns:
            self._heartbeat_ns += self._interval_ns
            if self._heartbeat_ns > now_ns:
                self._peer.send_heartbeat()
        self._arm(now_ns)
