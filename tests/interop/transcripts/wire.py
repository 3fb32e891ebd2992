"""The bytes of commands, and of the conversations that many transcripts begin with."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.interop.transcripts.steps import OK, Expect, ExpectEof, Json, Message, Send, Server, Step, Transcript, error

UNKNOWN_ID = b"0123456789abcdef"
# Compressible, so that a peer which compresses does; and longer than one read.
LONG = b"compress me, " * 3000


def u32(number: int) -> bytes:
    """Pack a signed or unsigned 32-bit integer."""
    return struct.pack(">I", number & 0xFFFFFFFF)


def sized(body: bytes) -> bytes:
    """Put its size before a body."""
    return u32(len(body)) + body


def pub(topic: str, body: bytes) -> bytes:
    """Publish."""
    return f"PUB {topic}\n".encode() + sized(body)


def dpub(topic: str, milliseconds: int, body: bytes) -> bytes:
    """Publish with a delay."""
    return f"DPUB {topic} {milliseconds}\n".encode() + sized(body)


def batch(*bodies: bytes) -> bytes:
    """Count and bodies, as MPUB takes them after its outer size."""
    return u32(len(bodies)) + b"".join(map(sized, bodies))


def mpub(topic: str, *bodies: bytes) -> bytes:
    """Publish several."""
    return f"MPUB {topic}\n".encode() + sized(batch(*bodies))


def identify(**values: Any) -> bytes:
    """IDENTIFY with a JSON body."""
    return b"IDENTIFY\n" + sized(json.dumps(values).encode())


def auth(secret: bytes) -> bytes:
    """AUTH with a secret."""
    return b"AUTH\n" + sized(secret)


def published(topic: str, *bodies: bytes, by: str = "A") -> tuple[Step, ...]:
    """Publish bodies one after another; each is answered."""
    return (Send(b"".join(pub(topic, body) for body in bodies), by), *(Expect(OK, by) for _ in bodies))


def identified(by: str = "A", **values: Any) -> tuple[Step, ...]:
    """IDENTIFY without feature negotiation, which is answered OK."""
    return Send(identify(**values), by), Expect(OK, by)


def subscribed(topic: str, channel: str = "c", *, rdy: int | None = None, by: str = "A") -> tuple[Step, ...]:
    """SUB, which is answered OK, and RDY if asked for."""
    steps = Send(f"SUB {topic} {channel}\n".encode(), by), Expect(OK, by)
    return steps if rdy is None else (*steps, Send(f"RDY {rdy}\n".encode(), by))


def holding(topic: str, body: bytes = b"x", *, keep: str = "m", by: str = "A") -> tuple[Step, ...]:
    """Publish one message and take it with RDY 1, as channel "c"."""
    return (
        *published(topic, body, by=by),
        *subscribed(topic, rdy=1, by=by),
        Expect(Message(body, keep=keep), by),
    )


def negotiated(values: dict[str, Any], **sent: Any) -> tuple[Step, ...]:
    """IDENTIFY with feature negotiation, and what of its answer matters."""
    return Send(identify(feature_negotiation=True, **sent)), Expect(Json(values))


def conversation(topic: str) -> tuple[Step, ...]:
    """Publish, and consume what was published: both directions, more than one frame."""
    return (
        *published(topic, b"x"),
        Send(mpub(topic, LONG, b"y")),
        Expect(OK),
        *subscribed(topic, rdy=1),
        Expect(Message(b"x", keep="x")),
        Send(b"FIN {x}\n"),
        Expect(Message(LONG, keep="long")),
        Send(b"FIN {long}\n"),
        Expect(Message(b"y")),
    )


def refusal(
    check: int,
    name: str,
    sent: bytes,
    payload: str,
    *,
    before: tuple[Step, ...] = (),
    rule: str = "",
    server: Server = Server(),  # noqa: B008  # frozen
) -> Transcript:
    """A transcript in which bytes are answered by one error, and the end of the connection."""
    steps = (*before, Send(sent), Expect(error(payload)), ExpectEof())
    return Transcript(check, name, rule or f"{payload[:60]!r} is the last that a client hears.", steps, server)


def refusals(check: int, *rows: tuple[str, bytes, str], before: tuple[Step, ...] = ()) -> tuple[Transcript, ...]:
    """Several refusals of one check: name, bytes, error."""
    return tuple(refusal(check, name, sent, payload, before=before) for name, sent, payload in rows)
