"""A connection's output buffer: answers leave at once, messages when there are enough of them or after a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nsqlite.clock import Handle
from nsqlite.net.layers import Layers
from nsqlite.net.protocol.compression import LayerError

if TYPE_CHECKING:
    from nsqlite.net.peer import Peer


class Outgoing:
    """What is to be written to one socket.

    Attributes:
        has_answers: Whether something is in it that leaves with this round of the loop.
        is_shut: Whether nothing leaves any more.
    """

    __slots__ = ("_alarm", "_layers", "_peer", "_pieces", "_size_bytes", "_transport", "has_answers", "is_shut")

    def __init__(self, peer: Peer, transport: Any, layers: Layers) -> None:
        self._peer = peer
        self._transport = transport
        self._layers = layers
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._alarm: Handle | None = None
        self.has_answers = False
        self.is_shut = False

    def answer(self, frame: bytes) -> None:
        """Have a frame leave with this round, and with it the messages that wait."""
        self._pieces.append(frame)
        self.has_answers = True

    def add_messages(self, pieces: Sequence[bytes], *, may_wait: bool) -> None:
        """Have messages leave when the buffer is full or old, or at once. Hot."""
        self._pieces += pieces
        self._size_bytes += sum(map(len, pieces))
        agreement = self._peer.agreement
        if not may_wait or self._size_bytes >= agreement.output_buffer_size:
            self.flush()
        elif self._alarm is None and agreement.output_buffer_timeout_ns:
            clock = self._peer.clock
            at_ns = clock.monotonic_ns() + agreement.output_buffer_timeout_ns
            self._alarm = clock.call_at(self._peer.loop, at_ns, self._ring)

    def _ring(self) -> None:
        """Flush, perhaps what came later than the alarm was set for: no message waits longer than agreed."""
        self._alarm = None
        self.flush()

    def flush(self) -> None:
        """Give the socket all that is here."""
        pieces = self._pieces
        if not pieces or self.is_shut:
            return
        self._pieces, self._size_bytes, self.has_answers = [], 0, False
        if self._layers:
            self._flush_through_layers(pieces)
        elif len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)

    def _flush_through_layers(self, pieces: Sequence[bytes]) -> None:
        try:
            self._transport.write(self._layers.encode(b"".join(pieces)))
        except LayerError as error:
            self._peer.garbled(error)

    def shut(self) -> None:
        """Let nothing leave any more."""
        self.is_shut = True
        self._pieces.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
