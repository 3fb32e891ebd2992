"""Commands as values, and how each is read from its line.

The words of a line are what lies between single spaces, the command's name left out.
Surplus words are ignored, as nsqd ignores them. What follows a line is described by the
command's `body_rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Final

import attrs

from nsqlite.names import MAX_NAME_BYTES, is_valid_name
from nsqlite.net.protocol.errors import (
    BadBodyError,
    BadChannelError,
    BadMessageError,
    BadTopicError,
    InvalidError,
    ProtocolError,
)
from nsqlite.net.protocol.quoting import quote

ID_BYTES: Final = 16
NOT_AN_ID: Final = -1
_HEX: Final = b"0123456789abcdef"
_UINT64: Final = (1 << 64) - 1
_INT64_SIGN: Final = 1 << 63


@attrs.frozen
class Limits:
    """What a server takes.

    Attributes:
        max_msg_size: Bytes of one message.
        max_body_size: Bytes of the body of an IDENTIFY, AUTH or MPUB.
        max_rdy_count: Highest RDY.
        max_req_timeout_ms: Longest delay of DPUB and REQ, in milliseconds.
    """

    max_msg_size: int
    max_body_size: int
    max_rdy_count: int
    max_req_timeout_ms: int


@attrs.frozen
class BodyRule:
    """How the sized body behind a line is checked, and how nsqd words what is wrong with it.

    Attributes:
        name: The command.
        error: What is raised.
        noun: What nsqd calls the body.
        big: What it calls the body when it is too big.
        limit: The field of Limits that bounds it.
    """

    name: str
    error: type[ProtocolError]
    noun: str
    big: str
    limit: str


@attrs.define
class Identify:
    """Who the client is and what it wants, as JSON."""

    body: bytes = b""
    body_rule: ClassVar = BodyRule("IDENTIFY", BadBodyError, "body", "body", "max_body_size")


@attrs.define
class Auth:
    """A secret for the auth server."""

    body: bytes = b""
    body_rule: ClassVar = BodyRule("AUTH", BadBodyError, "body", "body", "max_body_size")


@attrs.define
class Sub:
    """Consume a channel from now on."""

    topic: str
    channel: str
    body_rule: ClassVar = None


@attrs.define
class Pub:
    """Publish one message."""

    topic: str
    body: bytes = b""
    body_rule: ClassVar = BodyRule("PUB", BadMessageError, "message body", "message", "max_msg_size")


@attrs.define
class Dpub:
    """Publish one message that waits."""

    topic: str
    delay_ms: int
    body: bytes = b""
    body_rule: ClassVar = BodyRule("DPUB", BadMessageError, "message body", "message", "max_msg_size")


@attrs.define
class MpubBegun:
    """An MPUB's line; its topic is authorised and made before a byte of its body is read."""

    topic: str
    body_rule: ClassVar = None


@attrs.define
class Mpub:
    """Publish a batch, all or nothing."""

    topic: str
    bodies: Sequence[bytes]
    body_rule: ClassVar = None


@attrs.define
class Rdy:
    """Hold at most so many messages at once."""

    count: int
    body_rule: ClassVar = None


@attrs.define
class Fin:
    """Finish messages: as many FIN lines as came in one piece.

    Attributes:
        numbers: Ids as numbers, a range if they follow one another; NOT_AN_ID where it can be none of ours.
        raw: The id as it came, if it is only one.
    """

    numbers: Sequence[int]
    raw: bytes = b""
    body_rule: ClassVar = None


@attrs.define
class Req:
    """Give a message back, to come again after a delay."""

    number: int
    raw: bytes
    delay_ms: int
    body_rule: ClassVar = None


@attrs.define
class Touch:
    """Ask for more time for a message."""

    number: int
    raw: bytes
    body_rule: ClassVar = None


@attrs.define
class Cls:
    """Send no more messages."""

    body_rule: ClassVar = None


@attrs.define
class Nop:
    """Nothing, but a sign of life."""

    body_rule: ClassVar = None


Command = Identify | Auth | Sub | Pub | Dpub | MpubBegun | Mpub | Rdy | Fin | Req | Touch | Cls | Nop


# -- lines ---------------------------------------------------------------------------------


def _identify(_words: Sequence[bytes], _limits: Limits) -> Identify:
    return Identify()


def _auth(words: Sequence[bytes], _limits: Limits) -> Auth:
    if words:
        raise InvalidError("AUTH invalid number of parameters")
    return Auth()


def _sub(words: Sequence[bytes], _limits: Limits) -> Sub:
    _require(words, 2, "SUB", "parameters")
    topic = _topic(words[0], b"SUB")
    channel = _valid_name(words[1]) if len(words[1]) <= MAX_NAME_BYTES else None
    if channel is None:
        raise BadChannelError(b"SUB channel name " + quote(words[1]) + b" is not valid")
    return Sub(topic, channel)


def _pub(words: Sequence[bytes], _limits: Limits) -> Pub:
    _require(words, 1, "PUB", "parameters")
    return Pub(_topic(words[0], b"PUB"))


def _mpub(words: Sequence[bytes], _limits: Limits) -> MpubBegun:
    _require(words, 1, "MPUB", "parameters")
    return MpubBegun(_topic(words[0], b"E_BAD_TOPIC MPUB"))  # nsqd's own slip: the code stands there twice


def _dpub(words: Sequence[bytes], limits: Limits) -> Dpub:
    _require(words, 2, "DPUB", "parameters")
    topic = _topic(words[0], b"DPUB")
    delay_ms = parse_number(words[1])
    if delay_ms is None:
        raise InvalidError(b"DPUB could not parse timeout " + words[1])
    if delay_ms > limits.max_req_timeout_ms:
        raise InvalidError(f"DPUB timeout {delay_ms} out of range 0-{limits.max_req_timeout_ms}")
    return Dpub(topic, delay_ms)


def _rdy(words: Sequence[bytes], limits: Limits) -> Rdy:
    if not words:
        return Rdy(1)
    count = parse_number(words[0])
    if count is None:
        raise InvalidError(b"RDY could not parse count " + words[0])
    if count > limits.max_rdy_count:
        signed = count - 2 * _INT64_SIGN if count >= _INT64_SIGN else count
        raise InvalidError(f"RDY count {signed} out of range 0-{limits.max_rdy_count}")
    return Rdy(count)


def _fin(words: Sequence[bytes], _limits: Limits) -> Fin:
    _require(words, 1, "FIN", "params")
    return Fin((_id(words[0]),), words[0])


def _req(words: Sequence[bytes], limits: Limits) -> Req:
    _require(words, 2, "REQ", "params")
    number = _id(words[0])
    delay_ms = parse_number(words[1])
    if delay_ms is None:
        raise InvalidError(b"REQ could not parse timeout " + words[1])
    return Req(number, words[0], min(delay_ms, limits.max_req_timeout_ms))


def _touch(words: Sequence[bytes], _limits: Limits) -> Touch:
    _require(words, 1, "TOUCH", "params")
    return Touch(_id(words[0]), words[0])


def _cls(_words: Sequence[bytes], _limits: Limits) -> Cls:
    return Cls()


def _nop(_words: Sequence[bytes], _limits: Limits) -> Nop:
    return Nop()


PARSERS: Final[dict[bytes, tuple[type[Command], Callable[[Sequence[bytes], Limits], Command]]]] = {
    b"IDENTIFY": (Identify, _identify),
    b"AUTH": (Auth, _auth),
    b"SUB": (Sub, _sub),
    b"PUB": (Pub, _pub),
    b"MPUB": (Mpub, _mpub),
    b"DPUB": (Dpub, _dpub),
    b"RDY": (Rdy, _rdy),
    b"FIN": (Fin, _fin),
    b"REQ": (Req, _req),
    b"TOUCH": (Touch, _touch),
    b"CLS": (Cls, _cls),
    b"NOP": (Nop, _nop),
}


def parse_number(raw: bytes) -> int | None:
    """ASCII digits as nsqd reads them: nothing is 0, more than 64 bits wrap around; None for anything else."""
    if not raw:
        return 0
    if not raw.isdigit():
        return None
    value = 0
    for start in range(0, len(raw), 4000):  # Python refuses to convert more digits than that at once
        part = raw[start : start + 4000]
        value = (value * pow(10, len(part), 1 << 64) + int(part)) & _UINT64
    return value


def id_number(raw: bytes) -> int:
    """An id of sixteen bytes as a number; NOT_AN_ID if it is not written as ours are."""
    return NOT_AN_ID if raw.strip(_HEX) else int(raw, 16)


def _id(raw: bytes) -> int:
    if len(raw) != ID_BYTES:
        raise InvalidError("invalid message ID")
    return id_number(raw)


def _topic(raw: bytes, prefix: bytes) -> str:
    name = _valid_name(raw) if len(raw) <= MAX_NAME_BYTES else None
    if name is None:
        raise BadTopicError(prefix + b" topic name " + quote(raw) + b" is not valid")
    return name


@lru_cache(maxsize=1024)
def _valid_name(raw: bytes) -> str | None:
    """The name, or None if it is none. A publisher sends the same few again and again (benchmarks/net)."""
    name = raw.decode(errors="replace")
    return name if is_valid_name(name) else None


def _require(words: Sequence[bytes], count: int, name: str, noun: str) -> None:
    if len(words) < count:
        raise InvalidError(f"{name} insufficient number of {noun}")
