"""What is fuzzed: each target takes any bytes, and fails where the protocol's promises do not hold.

Pure functions, so that the suite replays a corpus without a fuzzer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence

from nsqlite.net.layers import Layers
from nsqlite.net.protocol import batch, commands, negotiation
from nsqlite.net.protocol.commands import Command, Fin, Limits
from nsqlite.net.protocol.compression import MAX_PLAIN_BYTES, Deflate, Layer, LayerError, Snappy
from nsqlite.net.protocol.connection import MAX_LINE_BYTES, Connection, State
from nsqlite.net.protocol.errors import ProtocolError
from nsqlite.net.protocol.wire import MAGIC

LIMITS = Limits(max_msg_size=100, max_body_size=1000, max_rdy_count=2500, max_req_timeout_ms=3_600_000)
STATES = {State.INIT: b"", State.SUBSCRIBED: b"SUB t c\n", State.CLOSING: b"SUB t c\nCLS\n"}
SIZE_BYTES = 4
ONE_BY_ONE_BYTES = 500
SECOND_NS = 1_000_000_000
Story = list[object]


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """Cut bytes as a network might: seed 0 not at all, 1 everywhere, others by chance."""
    if seed == 0:
        yield data
        return
    dice = random.Random(seed)
    longest = 1 if seed == 1 else dice.choice([2, 5, 21, 64, 300])
    at = 0
    while at < len(data):
        size = dice.randint(1, longest)
        yield data[at : at + size]
        at += size


# -- codec -------------------------------------------------------------------------------------------------------------


def codec(data: bytes) -> None:
    """Bytes to commands, in any state and any pieces: refusals are the protocol's, and what is held is bounded.

    Nor do the ways that are there for speed make a difference. The first byte says in which
    state, and whether the stream ends; the second how it is cut.
    """
    if len(data) < 2:
        return
    state = list(State)[data[0] % 3]
    is_ended = bool(data[0] & 0x80)
    plain = told(PlainConnection(LIMITS), data[2:], 0, state, is_ended=is_ended)
    for seed in (0, 1 if len(data) < ONE_BY_ONE_BYTES else 2, 2 + data[1]):
        again = told(Connection(LIMITS), data[2:], seed, state, is_ended=is_ended)
        assert again == plain, f"cut by {seed}:\n{again}\none by one, uncut:\n{plain}"


class PlainConnection(Connection):
    """A conversation that reads every FIN and every message of a batch by itself."""

    def _read_fins(self) -> None:
        return None

    def _read_batch(self, command: commands.MpubBegun) -> Command | None:
        worth, batch.WORTH_COMPARING = batch.WORTH_COMPARING, LIMITS.max_body_size
        try:
            return super()._read_batch(command)
        finally:
            batch.WORTH_COMPARING = worth


def told(connection: Connection, data: bytes, seed: int, state: State, *, is_ended: bool) -> Story:
    """What a conversation makes of bytes."""
    connection.receive(MAGIC + STATES[state])
    drain(connection)
    assert connection.state is state
    story: Story = []
    for piece in pieces(data, seed):
        connection.receive(piece)
        if not say(story, connection):
            return story
        held = connection.buffered_bytes
        assert held <= (LIMITS.max_body_size + SIZE_BYTES if connection._opened is not None else MAX_LINE_BYTES)
    if is_ended:
        connection.receive_eof()
        say(story, connection)
    return story


def say(story: Story, connection: Connection) -> bool:
    """Add to a story; whether it may go on."""
    found, refusal = drain(connection)
    for command in found:
        story += spelled(command)
    if refusal is not None:
        assert refusal.is_fatal
        story.append((type(refusal).__name__, refusal.payload))
    return refusal is None


def drain(connection: Connection) -> tuple[list[Command], ProtocolError | None]:
    """All that a conversation has to say by now."""
    found: list[Command] = []
    while True:
        connection.check()
        try:
            command = connection.next_command()
        except ProtocolError as refusal:
            return found, refusal
        if command is None:
            return found, None
        found.append(command)


def spelled(command: Command) -> list[object]:
    """A command, where several FINs together are the same as one after another."""
    if not isinstance(command, Fin):
        return [command]
    assert command.numbers
    if len(command.numbers) == 1 and command.raw:
        assert commands.id_number(command.raw) == command.numbers[0]
        return [("FIN", command.raw)]
    assert commands.NOT_AN_ID not in command.numbers
    return [("FIN", b"%016x" % number) for number in command.numbers]


# -- identify ----------------------------------------------------------------------------------------------------------

TERMS = negotiation.Terms(
    max_rdy_count=2500,
    max_msg_timeout_ns=900 * SECOND_NS,
    msg_timeout_ns=60 * SECOND_NS,
    max_heartbeat_interval_ns=60 * SECOND_NS,
    min_output_buffer_timeout_ns=SECOND_NS // 40,
    max_output_buffer_timeout_ns=30 * SECOND_NS,
    output_buffer_timeout_ns=SECOND_NS // 4,
    max_output_buffer_size=65536,
    max_deflate_level=6,
    has_tls=True,
    deflate=True,
    snappy=True,
    auth_required=False,
    topology_region="r<&>",
    topology_zone="z",
)


def identify(data: bytes) -> None:
    """A body of IDENTIFY is refused in the protocol's words, or comes to values within their ranges."""
    try:
        agreed = negotiation.negotiate(negotiation.parse_identify(data), TERMS)
    except ProtocolError:
        return
    assert agreed.heartbeat_interval_ns == 0 or SECOND_NS <= agreed.heartbeat_interval_ns <= 60 * SECOND_NS
    assert agreed.output_buffer_size == 1 or 64 <= agreed.output_buffer_size <= 65536
    assert agreed.output_buffer_timeout_ns == 0 or SECOND_NS // 40 <= agreed.output_buffer_timeout_ns <= 30 * SECOND_NS
    assert SECOND_NS <= agreed.msg_timeout_ns <= 900 * SECOND_NS
    assert 0 <= agreed.sample_rate <= 99
    assert 1 <= agreed.deflate_level <= 6
    assert not (agreed.snappy and agreed.deflate)
    assert agreed.is_negotiated or not (agreed.tls or agreed.snappy or agreed.deflate)
    for text in (agreed.client_id, agreed.hostname, agreed.user_agent, agreed.topology_region, agreed.topology_zone):
        text.encode()  # whatever came, it can be shown
    answer = negotiation.response(agreed, TERMS)
    assert answer == b"OK" or json.loads(answer)["sample_rate"] == agreed.sample_rate


# -- layers ------------------------------------------------------------------------------------------------------------

STACKS: Sequence[Sequence[Callable[[], Layer]]] = (
    (lambda: Deflate(6),),
    (Snappy,),
    (Snappy, lambda: Deflate(1)),
    (lambda: Deflate(1), Snappy),
)
READ_BYTES = 700


def layers(data: bytes) -> None:
    """Garbage is a LayerError, and what is plain comes in bounded pieces, however it was cut.

    The first byte says which layers, and whether the rest is packed first and then spoilt at
    the place that the second names, or not at all; the third how it is cut.
    """
    if len(data) < 3:
        return
    stack, body = STACKS[data[0] % 4], data[3:]
    sent = body
    if data[0] & 0x40:
        sent = stacked(stack).encode(body)
        if data[1] and sent:
            at = data[1] * 7 % len(sent)
            sent = sent[:at] + bytes([sent[at] ^ (1 << data[1] % 8)]) + sent[at + 1 :]
        else:
            assert unpacked(sent, 2 + data[2], stack) == (body, "")
    found = unpacked(sent, 0, stack)
    for seed in (1 if len(sent) < ONE_BY_ONE_BYTES else 2, 2 + data[2]):
        again = unpacked(sent, seed, stack)
        if {found[1], again[1]} <= {"", "end"}:
            assert again == found
        else:  # zlib keeps to itself what it had unpacked of a piece when it came to the garbage in it
            shorter, longer = sorted((found[0], again[0]), key=len)
            assert longer.startswith(shorter)
            assert {found[1], again[1]} <= {"error", "enough"}


def stacked(stack: Sequence[Callable[[], Layer]]) -> Layers:
    """Layers on one another."""
    made = Layers()
    for each in stack:
        made.add(each())
    return made


def unpacked(data: bytes, seed: int, stack: Sequence[Callable[[], Layer]]) -> tuple[bytes, str]:
    """What comes out before the end or the error, and which."""
    made, plain, fed = stacked(stack), bytearray(), 0
    for piece in pieces(data, seed):
        made.feed(piece)
        fed += len(piece)
        try:
            while found := made.read(READ_BYTES):
                assert len(found) <= READ_BYTES
                plain += found
                assert made.buffered_bytes <= fed + len(stack) * MAX_PLAIN_BYTES
                if len(plain) > 1_000_000:
                    return bytes(plain[:1_000_000]), "enough"
        except LayerError as error:
            return bytes(plain), "end" if error.is_end else "error"
    return bytes(plain), ""


TARGETS: dict[str, Callable[[bytes], None]] = {"codec": codec, "identify": identify, "layers": layers}
