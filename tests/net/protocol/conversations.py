"""What a client may say, as bytes, and the conversation that hears it."""

import struct
from collections.abc import Iterable, Sequence

from nsqlite.net.protocol.commands import Command, Limits
from nsqlite.net.protocol.connection import Connection, State
from nsqlite.net.protocol.errors import ProtocolError
from nsqlite.net.protocol.wire import MAGIC

LIMITS = Limits(max_msg_size=100, max_body_size=1000, max_rdy_count=2500, max_req_timeout_ms=3_600_000)
ID = b"0123456789abcdef"

# One good line, with its body, for each command.
SAMPLES: dict[str, bytes] = {
    "IDENTIFY": b"IDENTIFY\n\x00\x00\x00\x02{}",
    "AUTH": b"AUTH\n\x00\x00\x00\x01s",
    "SUB": b"SUB t c\n",
    "PUB": b"PUB t\n\x00\x00\x00\x01x",
    "MPUB": b"MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01x",
    "DPUB": b"DPUB t 5\n\x00\x00\x00\x01x",
    "RDY": b"RDY 5\n",
    "FIN": b"FIN " + ID + b"\n",
    "REQ": b"REQ " + ID + b" 5\n",
    "TOUCH": b"TOUCH " + ID + b"\n",
    "CLS": b"CLS\n",
    "NOP": b"NOP\n",
}


def sized(body: bytes) -> bytes:
    """A body with its size in front."""
    return struct.pack(">I", len(body)) + body


def batch(bodies: Sequence[bytes]) -> bytes:
    """The body of an MPUB, its size in front."""
    return sized(struct.pack(">I", len(bodies)) + b"".join(map(sized, bodies)))


def connection(state: State = State.INIT, limits: Limits = LIMITS) -> Connection:
    """A conversation in some state, its magic behind it."""
    made = Connection(limits)
    made.receive(MAGIC)
    if state is not State.INIT:
        made.receive(SAMPLES["SUB"])
    if state is State.CLOSING:
        made.receive(SAMPLES["CLS"])
    commands_of(made)
    assert made.state is state
    return made


def commands_of(made: Connection) -> list[Command | ProtocolError]:
    """All that a conversation has to say by now; a refusal that ends it is the last."""
    said: list[Command | ProtocolError] = []
    while True:
        made.check()
        try:
            command = made.next_command()
        except ProtocolError as refusal:
            return [*said, refusal]
        if command is None:
            return said
        said.append(command)


def hear(
    pieces: Iterable[bytes], state: State = State.INIT, *, is_ended: bool = False
) -> list[Command | ProtocolError]:
    """What a conversation makes of bytes that come in these pieces."""
    made = connection(state)
    said: list[Command | ProtocolError] = []
    for piece in pieces:
        made.receive(piece)
        said += commands_of(made)
        if said and isinstance(said[-1], ProtocolError):
            return said
    if is_ended:
        made.receive_eof()
        said += commands_of(made)
    return said


def payload(said: Sequence[Command | ProtocolError]) -> bytes:
    """The error frame's data that a conversation ends with."""
    assert isinstance(said[-1], ProtocolError), said
    return said[-1].payload
