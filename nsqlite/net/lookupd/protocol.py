r"""The protocol that nsqds speak with an nsqlookupd: bytes -> commands, answers -> bytes.

    "  V1"
    PING\n
    IDENTIFY\n u32(size) json
    REGISTER <topic> [<channel>]\n
    UNREGISTER <topic> [<channel>]\n

An answer is u32(size) and so many bytes: OK, the JSON that answers IDENTIFY, or an error, after
which the connection ends. Pure. A connection holds one line or one body, which are bounded
here, and what was read beyond them. Refusals are worded as nsqlookupd words them, single
quotes included.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final

import attrs

from nsqlite.errors import NsqliteError
from nsqlite.names import is_valid_name
from nsqlite.net.protocol import go_json

MAGIC: Final = b"  V1"
MAX_LINE_BYTES: Final = 16 * 1024  # as nsqd's
MAX_IDENTIFY_BYTES: Final = 8 * 1024  # an nsqd sends some 200; its strings are kept while it is connected
_SIZE: Final = struct.Struct(">i")
# What Go's TrimSpace trims; str.strip() would also take four control characters.
_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


class RefusedError(NsqliteError):
    """What a client sent is refused, and its connection is to be closed.

    Attributes:
        answer: What it reads, unframed.
    """

    def __init__(self, answer: str) -> None:
        self.answer = answer.encode("utf-8", "surrogateescape")
        super().__init__(answer)


@attrs.frozen
class Ping:
    """The client is there."""


@attrs.frozen(kw_only=True)
class Identify:
    """The client says who it is; every field has a value.

    Attributes:
        broadcast_address: Where others reach it.
        hostname: What it calls itself; may be empty.
        tcp_port: Not 0, and of 64 bits.
        http_port: The same.
        version: Its own.
    """

    broadcast_address: str
    hostname: str = ""
    tcp_port: int
    http_port: int
    version: str


@attrs.frozen
class Register:
    """The client has a topic, and a channel unless that is empty. The names are valid."""

    topic: str
    channel: str = ""


@attrs.frozen
class Unregister:
    """The client has no longer a channel; with an empty one, no longer the topic. The names are valid."""

    topic: str
    channel: str = ""


Command = Ping | Identify | Register | Unregister


class Expects(Enum):
    """What comes next."""

    MAGIC = "magic"
    LINE = "line"
    SIZE = "size"
    BODY = "body"


_READERS: Final[dict[str, go_json.Reader]] = {
    "remote_address": go_json.text,  # of no use, but another type is refused
    "hostname": go_json.text,
    "broadcast_address": go_json.text,
    "tcp_port": go_json.int64,
    "http_port": go_json.int64,
    "version": go_json.text,
}


def answer(data: bytes) -> bytes:
    """An answer as it is sent."""
    return _SIZE.pack(len(data)) + data


class Parser:
    """One connection's side of the protocol."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0
        self._expects = Expects.MAGIC
        self._size = 0
        self._is_identified = False

    @property
    def buffered_bytes(self) -> int:
        """What was received and is in no command yet."""
        return len(self._data) - self._at

    def receive(self, data: bytes) -> None:
        """Take bytes in; then call `next_command` until it has none."""
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def next_command(self) -> Command | None:
        """The next command, or None until more bytes have come.

        Raises:
            RefusedError: Answer it and close.
        """
        while (taken := self._take()) is not None:
            command = self._step(taken)
            if command is not None:
                return command
        return None

    def finish(self) -> None:
        """Nothing more will come.

        Raises:
            RefusedError: In the middle of an IDENTIFY. Half a line is passed over.
        """
        if self._expects is Expects.SIZE:
            raise RefusedError("E_BAD_BODY IDENTIFY failed to read body size")
        if self._expects is Expects.BODY:
            raise RefusedError("E_BAD_BODY IDENTIFY failed to read body")

    def _take(self) -> bytes | None:
        """What is expected, once it is there as a whole."""
        if self._expects is Expects.LINE:
            return self._take_line()
        size = {Expects.MAGIC: len(MAGIC), Expects.SIZE: _SIZE.size, Expects.BODY: self._size}[self._expects]
        return self._take_bytes(size) if self.buffered_bytes >= size else None

    def _take_line(self) -> bytes | None:
        end = self._data.find(b"\n", self._at, self._at + MAX_LINE_BYTES)
        if end >= 0:
            return self._take_bytes(end + 1 - self._at)
        if self.buffered_bytes >= MAX_LINE_BYTES:
            raise RefusedError(f"E_INVALID a line is longer than {MAX_LINE_BYTES} bytes")
        return None

    def _take_bytes(self, size: int) -> bytes:
        taken = bytes(self._data[self._at : self._at + size])
        self._at += size
        return taken

    def _step(self, taken: bytes) -> Command | None:
        expected, self._expects = self._expects, Expects.LINE
        if expected is Expects.LINE:
            return self._line(taken)
        if expected is Expects.BODY:
            return self._body(taken)
        if expected is Expects.SIZE:
            (self._size,) = _SIZE.unpack(taken)
            _check_size(self._size)
            self._expects = Expects.BODY
        elif taken != MAGIC:
            raise RefusedError("E_BAD_PROTOCOL")
        return None

    def _line(self, line: bytes) -> Command | None:
        name, *params = line.decode("utf-8", "surrogateescape").strip(_SPACE).split(" ")
        if name == "PING":
            return Ping()
        if name == "IDENTIFY":
            if self._is_identified:
                raise RefusedError("E_INVALID cannot IDENTIFY again")
            self._expects = Expects.SIZE
            return None
        kinds: dict[str, type[Register | Unregister]] = {"REGISTER": Register, "UNREGISTER": Unregister}
        if name not in kinds:
            raise RefusedError(f"E_INVALID invalid command {name}")
        if not self._is_identified:
            raise RefusedError("E_INVALID client must IDENTIFY")
        return kinds[name](*_names(name, params))

    def _body(self, body: bytes) -> Identify:
        try:
            fields = go_json.read_fields(go_json.decode(body), _READERS)
        except ValueError as error:
            raise RefusedError("E_BAD_BODY IDENTIFY failed to decode JSON body") from error
        fields.pop("remote_address", None)
        if not all(fields.get(name) for name in ("broadcast_address", "tcp_port", "http_port", "version")):
            raise RefusedError("E_BAD_BODY IDENTIFY missing fields")
        self._is_identified = True
        return Identify(**fields)


def _check_size(size: int) -> None:
    if size < 0:
        raise RefusedError("E_BAD_BODY IDENTIFY failed to read body size")
    if size > MAX_IDENTIFY_BYTES:
        raise RefusedError("E_BAD_BODY IDENTIFY failed to read body")


def _names(command: str, params: list[str]) -> tuple[str, str]:
    """Topic and channel, checked in nsqlookupd's order."""
    if not params:
        raise RefusedError(f"E_INVALID {command} insufficient number of params")
    topic, channel = params[0], params[1] if len(params) > 1 else ""
    if not is_valid_name(topic):
        raise RefusedError(f"E_BAD_TOPIC {command} topic name '{topic}' is not valid")
    if channel and not is_valid_name(channel):
        raise RefusedError(f"E_BAD_CHANNEL {command} channel name '{channel}' is not valid")
    return topic, channel
