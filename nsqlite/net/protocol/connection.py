"""One client's conversation: what arrives, cut into commands, each checked against the order of the protocol.

    bytes -> receive() ... next_command() -> a command, None for "more must arrive", or a ProtocolError

TRANSITIONS is the whole order: a pair that is not in it is refused. What a client has to
send before its size or its place is known to be right is never waited for, so a hostile
one can make this hold `Limits.max_body_size` and a line, and no more.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from nsqlite.ids import halved_ids
from nsqlite.net.protocol.batch import Batch
from nsqlite.net.protocol.commands import (
    NOT_AN_ID,
    PARSERS,
    Auth,
    BodyRule,
    Cls,
    Command,
    Dpub,
    Fin,
    Identify,
    Limits,
    Mpub,
    MpubBegun,
    Nop,
    Pub,
    Rdy,
    Req,
    Sub,
    Touch,
    id_number,
)
from nsqlite.net.protocol.errors import BadBodyError, BadProtocolError, InvalidError, ProtocolError
from nsqlite.net.protocol.wire import MAGIC


class State(enum.Enum):
    """Where a conversation stands, by the numbers that nsqd's statistics give."""

    INIT = 0
    SUBSCRIBED = 3
    CLOSING = 4


# The whole order of the protocol. A pair that is not here is E_INVALID.
TRANSITIONS: Final[dict[tuple[State, type[Command]], State]] = {
    (State.INIT, Identify): State.INIT,
    (State.INIT, Auth): State.INIT,
    (State.INIT, Sub): State.SUBSCRIBED,
    (State.INIT, Pub): State.INIT,
    (State.INIT, Mpub): State.INIT,
    (State.INIT, Dpub): State.INIT,
    (State.INIT, Nop): State.INIT,
    (State.SUBSCRIBED, Pub): State.SUBSCRIBED,
    (State.SUBSCRIBED, Mpub): State.SUBSCRIBED,
    (State.SUBSCRIBED, Dpub): State.SUBSCRIBED,
    (State.SUBSCRIBED, Nop): State.SUBSCRIBED,
    (State.SUBSCRIBED, Rdy): State.SUBSCRIBED,
    (State.SUBSCRIBED, Fin): State.SUBSCRIBED,
    (State.SUBSCRIBED, Req): State.SUBSCRIBED,
    (State.SUBSCRIBED, Touch): State.SUBSCRIBED,
    (State.SUBSCRIBED, Cls): State.CLOSING,
    (State.CLOSING, Pub): State.CLOSING,
    (State.CLOSING, Mpub): State.CLOSING,
    (State.CLOSING, Dpub): State.CLOSING,
    (State.CLOSING, Nop): State.CLOSING,
    (State.CLOSING, Rdy): State.CLOSING,  # taken and ignored, whatever it says
    (State.CLOSING, Fin): State.CLOSING,  # what is in flight may still be answered
    (State.CLOSING, Req): State.CLOSING,
    (State.CLOSING, Touch): State.CLOSING,
}

MAX_LINE_BYTES: Final = 16 * 1024
FIN_BYTES: Final = 21
_MAX_FINS: Final = 4096
_ID_LIMIT: Final = 1 << 64  # from here on an id has seventeen digits
_SIZE: Final = struct.Struct(">i")
_HEX: Final = b"0123456789abcdef"


class LineTooLongError(ProtocolError):
    """A line that nsqd closes the connection for without a word."""

    code = ""


class Connection:
    """What one client has sent and not been answered for. Knows no socket.

    Attributes:
        state: Where the conversation stands. A command that is returned has moved it already.
        has_heartbeats: Whether IDENTIFY left them on; without them there is no SUB.
        has_magic: Whether it has begun, so that frames may be sent.
        is_tls_missing: Whether only IDENTIFY is taken, because TLS is required and not there yet.
    """

    def __init__(self, limits: Limits, *, is_tls_missing: bool = False) -> None:
        self.state = State.INIT
        self.has_heartbeats = True
        self.is_tls_missing = is_tls_missing
        self._limits = limits
        self._data: bytes | bytearray = b""
        self._at = 0
        self.has_magic = False
        self._is_ended = False
        self._opened: Command | None = None
        self._batch: Batch | None = None
        self._fins_at_once = _MAX_FINS

    # -- bytes in -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what has arrived. O(len(data)), however little of a command it is."""
        if self._at == len(self._data):
            self._data, self._at = data, 0
            return
        held = self._data
        if isinstance(held, bytes):
            self._data = held = bytearray(memoryview(held)[self._at :])
        else:
            del held[: self._at]
        self._at = 0
        held += data

    def receive_eof(self) -> None:
        """Nothing more will arrive: what is incomplete is now an error."""
        self._is_ended = True

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the rest of their command, or for their turn."""
        return len(self._data) - self._at

    def discard(self) -> None:
        """Drop what has arrived: nsqd does, when a connection changes to TLS or compression."""
        self._data, self._at = b"", 0

    def _cut(self, count: int) -> bytes:
        start = self._at
        self._at = stop = start + count
        cut = self._data[start:stop]
        return cut if isinstance(cut, bytes) else bytes(cut)

    # -- commands out ---------------------------------------------------------------------

    def next_command(self) -> Command | None:
        """The next command; None if more must arrive first. Hot.

        Raises:
            ProtocolError: What the client is to be told; if it is fatal nothing may follow.
        """
        if self._opened is not None:
            return self._read_body(self._opened)
        if not self.has_magic and not self._read_magic():
            return None
        at, data = self._at, self._data
        if data.startswith(b"FIN ", at) and self.state is not State.INIT and len(data) - at >= 2 * FIN_BYTES:
            fins = self._read_fins()
            if fins is not None:
                return fins
        newline = data.find(b"\n", at, at + MAX_LINE_BYTES)
        if newline < 0:
            if len(data) - at >= MAX_LINE_BYTES:
                raise LineTooLongError
            return None
        line = self._cut(newline - at)
        self._at = newline + 1
        return self._begin(line[:-1] if line.endswith(b"\r") else line)

    def _read_magic(self) -> bool:
        if self.buffered_bytes < len(MAGIC):
            return False
        if self._cut(len(MAGIC)) != MAGIC:
            raise BadProtocolError
        self.has_magic = True
        return True

    def _read_fins(self) -> Fin | None:
        """All plain FIN lines that stand here, at once; None leaves them to be read one by one.

        Hot: 20 ns a line while ids follow one another, 60 ns otherwise, and by no loop of ours
        (benchmarks/net). What is looked at ahead in vain is not looked at so far ahead again.
        """
        at, data = self._at, self._data
        count = min((len(data) - at) // FIN_BYTES, self._fins_at_once)
        text = data[at : at + count * FIN_BYTES]
        number = id_number(bytes(text[4:20]))
        if number == NOT_AN_ID:
            return None
        same = _lines_in_common(text, _fin_lines(number, min(count, _ID_LIMIT - number)))
        if same > 1:
            self._at = at + same * FIN_BYTES
            self._fins_at_once = min(2 * same + 2, _MAX_FINS)
            return Fin(range(number, number + same))
        if (
            text[3::FIN_BYTES] != b" " * count
            or text[20::FIN_BYTES] != b"\n" * count
            or text.translate(None, _HEX) != b"FIN \n" * count
        ):
            count = self._count_fins(count)
            text = text[: count * FIN_BYTES]
        self._fins_at_once = min(2 * count + 2, _MAX_FINS)
        if count < 2:
            return None
        self._at = at + count * FIN_BYTES
        ids = bytes.fromhex(text.replace(b"FIN ", b"").decode())  # skips the line ends
        return Fin(struct.unpack(f">{count}Q", ids))

    def _count_fins(self, most: int) -> int:
        """How many plain FIN lines stand here before something else comes, at most `most`."""
        at, data = self._at, self._data
        for index in range(most):
            line = data[at : at + FIN_BYTES]
            if not (line.startswith(b"FIN ") and line.endswith(b"\n")) or line[4:-1].strip(_HEX):
                return index
            at += FIN_BYTES
        return most

    def _begin(self, line: bytes) -> Command | None:
        """Check a line's command and words; what has a body waits for it."""
        name, *words = line.split(b" ")
        known = PARSERS.get(name)
        if self.is_tls_missing and name != b"IDENTIFY":
            raise InvalidError(b"cannot " + name + b" in current state (TLS required)")
        if known is None:
            raise InvalidError(b"invalid command " + name)
        kind, parse = known
        state = TRANSITIONS.get((self.state, kind))
        if state is None:
            raise InvalidError(b"cannot " + name + b" in current state")
        if kind is Sub and not self.has_heartbeats:
            raise InvalidError("cannot SUB with heartbeats disabled")
        if kind is Rdy and self.state is State.CLOSING:
            return Nop()
        command = parse(words, self._limits)
        self.state = state
        if type(command) is MpubBegun:
            self._opened, self._batch = command, None
            return command
        if command.body_rule is None:
            return command
        self._opened = command
        return self._read_body(command)

    # -- bodies ---------------------------------------------------------------------------

    def _read_body(self, command: Command) -> Command | None:
        if type(command) is MpubBegun:
            return self._read_batch(command)
        rule: BodyRule | None = command.body_rule
        assert rule is not None, "only what has a body is opened"
        if self.buffered_bytes < _SIZE.size:
            self._wait(rule.error, f"{rule.name} failed to read {rule.noun} size")
            return None
        (size,) = _SIZE.unpack_from(self._data, self._at)
        limit = getattr(self._limits, rule.limit)
        if size > limit:
            raise rule.error(f"{rule.name} {rule.big} too big {size} > {limit}")
        if size <= 0:
            raise rule.error(f"{rule.name} invalid {rule.noun} size {size}")
        if self.buffered_bytes - _SIZE.size < size:
            self._wait(rule.error, f"{rule.name} failed to read {rule.noun}")
            return None
        self._at += _SIZE.size
        self._opened = None
        command.body = self._cut(size)  # type: ignore[union-attr]  # a command with a rule has a body
        return command

    def _read_batch(self, command: MpubBegun) -> Command | None:
        if self._batch is None:
            if self.buffered_bytes < _SIZE.size:
                self._wait(BadBodyError, "MPUB failed to read body size")
                return None
            (size,) = _SIZE.unpack_from(self._data, self._at)
            if size <= 0:
                raise BadBodyError(f"MPUB invalid body size {size}")
            if size > self._limits.max_body_size:
                raise BadBodyError(f"MPUB body too big {size} > {self._limits.max_body_size}")
            self._at += _SIZE.size
            self._batch = Batch(self._limits)
        batch = self._batch
        bodies = batch.read(self._data, self._at)
        if bodies is None:
            if self._is_ended:
                raise batch.missing(self._data, self._at)
            return None
        self._at += batch.size_bytes
        self._opened = self._batch = None
        return Mpub(command.topic, bodies)

    def _wait(self, error: type[ProtocolError], text: str) -> None:
        """Wait for more; at the end of the stream that is what was wrong."""
        if self._is_ended:
            raise error(text)

    def check(self) -> None:
        """Assert what must hold between calls."""
        assert 0 <= self._at <= len(self._data)
        assert self._batch is None or type(self._opened) is MpubBegun
        assert self.has_magic or self.state is State.INIT


def _fin_lines(first: int, count: int) -> bytes:
    """FIN lines for `count` ids from `first` on, put together by one join."""
    lines = b""
    for high, lows in halved_ids(first, count):
        head = b"FIN " + high
        lines += head + (b"\n" + head).join(lows) + b"\n"
    return lines


def _lines_in_common(text: bytes | bytearray, other: bytes) -> int:
    """How many lines two texts of FIN lines have in common from the front. O(bytes) if all of them."""
    if text == other:
        return len(other) // FIN_BYTES
    low, high = 0, len(other) // FIN_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        if text[low * FIN_BYTES : middle * FIN_BYTES] == other[low * FIN_BYTES : middle * FIN_BYTES]:
            low = middle
        else:
            high = middle
    return low
