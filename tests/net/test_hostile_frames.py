"""Peers that send what is no conversation: each costs a bounded buffer, and nobody else's time."""

import struct
from collections.abc import Iterator

import pytest

import nsqlite
from nsqlite.net.peer import READ_AHEAD_BYTES
from tests.interop.transcripts.wire import batch, dpub, identify, mpub, pub, sized, u32
from tests.net.rig import ERROR, HEARTBEAT, OK, RESPONSE, Rig, rigged

ONE_READ_BYTES = 256 * 1024  # what a loop takes off a socket at once
MAX_BODY_BYTES = nsqlite.Options().max_body_size
TWO_GIB = u32(0x7FFFFFFF)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A listener on a node in memory, in either loop."""
    with rigged(uvloop=request.param) as made:
        yield made


@pytest.mark.parametrize("said", [b"", b" ", b"  V"])
def test_silence_before_the_magic_ends(rig: Rig, said: bytes) -> None:
    """Where nsqd waits for ever, two heartbeat intervals are all that a client has for its magic."""
    client = rig.connect(magic=False)
    client.send(said)
    rig.advance(59)
    assert len(rig.peers()) == 1
    rig.is_served()

    rig.advance(1)

    assert client.rest() == b""
    assert rig.lines == []


@pytest.mark.parametrize(
    "half,payload",
    [
        (b"NO", None),
        (b"PUB t", None),
        (b"PUB t\n\x00", b"E_BAD_MESSAGE PUB failed to read message body size"),
        (b"PUB t\n\x00\x00\x00\x02x", b"E_BAD_MESSAGE PUB failed to read message body"),
        (b"IDENTIFY\n\x00\x00\x00\x02{", b"E_BAD_BODY IDENTIFY failed to read body"),
        (b"MPUB t\n\x00\x00\x00\x02", b"E_BAD_BODY MPUB failed to read message count"),
    ],
)
def test_half_a_frame_is_not_waited_for_longer_than_for_a_whole_one(
    rig: Rig, half: bytes, payload: bytes | None
) -> None:
    """A byte now and then is no sign of life: only a whole command is."""
    rig.node.topic("t").channel("c")
    client = rig.connect()
    client.send(half[:1])
    rig.advance(30)
    client.send(half[1:])
    assert client.frame() == HEARTBEAT
    rig.is_served()

    rig.advance(30)

    found = client.rest().removeprefix(b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_")
    assert found == (b"" if payload is None else u32(len(payload) + 4) + u32(ERROR) + payload)
    assert rig.lines == []


@pytest.mark.parametrize("line", [b"PUB t\n", b"DPUB t 1\n", b"IDENTIFY\n", b"AUTH\n", b"MPUB t\n"])
def test_two_gib_are_refused_before_a_byte_of_them_is_held(rig: Rig, line: bytes) -> None:
    """A size beyond the limit ends the connection though nothing of the body has come."""
    client = rig.connect()
    kind, payload = client.ask(line + TWO_GIB)

    assert (kind, b"too big 2147483647 >" in payload) == (ERROR, True)
    assert client.rest() == b""
    rig.is_served()
    assert rig.lines == []


def test_what_follows_a_fatal_error_is_not_held(rig: Rig) -> None:
    """A client that goes on writing after its error is read, so that it can hear it, and forgotten."""
    client = rig.connect()
    client.send(b"PUB t\n" + TWO_GIB)
    rig.settle()
    for _ in range(20):
        client.try_send(b"x" * 1_000_000)
        rig.settle()
        assert rig.held_bytes() == 0
    kind, _ = client.frame()
    assert kind == ERROR

    rig.advance(1)

    assert rig.peers() == []


def test_line_without_end_is_cut_off(rig: Rig) -> None:
    """A line of 16 KiB ends the connection without a word, as in nsqd."""
    client = rig.connect()
    client.send(pub("t", b"x") + b"P" * 16_384)

    assert client.frame() == OK
    assert client.rest() == b""
    rig.is_served()


def test_body_that_comes_slowly_costs_what_has_come(rig: Rig) -> None:
    """The largest batch, all but its last byte, is held once: its bodies are cut out when it is whole."""
    bodies = [b"x" * 20, b"y" * 21] * 100_000
    whole = mpub("t", *bodies)
    client = rig.connect()
    client.send(whole[:-1])
    rig.until(lambda: rig.only_peer().connection.buffered_bytes >= len(whole) - 20)
    rig.is_served()

    assert MAX_BODY_BYTES * 0.7 < rig.held_bytes() <= MAX_BODY_BYTES + READ_AHEAD_BYTES + ONE_READ_BYTES
    assert not hasattr(rig.only_peer().connection._batch, "_bodies")
    assert rig.node.topic("t").depth == 0
    assert client.ask(whole[-1:]) == OK
    assert rig.node.topic("t").depth == len(bodies)


@pytest.mark.parametrize(
    "body,payload",
    [
        (u32(5) + u32(1), b"E_BAD_MESSAGE MPUB failed to read message(0) body size"),
        (u32(9) + u32(0), b"E_BAD_BODY MPUB invalid message count 0"),
        (u32(9) + u32(-1), b"E_BAD_BODY MPUB invalid message count -1"),
        (u32(9) + u32(1_048_576), b"E_BAD_BODY MPUB invalid message count 1048576"),
        (u32(9) + u32(1) + u32(0), b"E_BAD_MESSAGE MPUB invalid message(0) body size 0"),
        (u32(9) + u32(1) + TWO_GIB, b"E_BAD_MESSAGE MPUB message too big 2147483647 > 1048576"),
        (
            u32(9) + u32(6) + sized(b"x" * 1_000_000) * 5 + u32(1_000_000),
            b"E_BAD_BODY MPUB body too big 6000028 > 5242880",
        ),
        (u32(9) + u32(7) + sized(b"xy") * 6 + u32(9) + b"z", b"E_BAD_MESSAGE MPUB failed to read message body"),
    ],
)
def test_batch_that_lies_publishes_nothing(rig: Rig, body: bytes, payload: bytes) -> None:
    """Whatever its sizes claim, a batch is published whole or not at all."""
    client = rig.connect()
    client.send(b"MPUB t\n" + body)
    client.half_close()

    assert client.frame() == (ERROR, payload)
    assert client.rest() == b""
    assert rig.node.topic("t").depth == 0
    rig.is_served()


def test_batch_that_lies_about_its_whole_is_taken_as_in_nsqd(rig: Rig) -> None:
    """The size in front is only checked for its range; the sizes inside decide."""
    client = rig.connect()

    assert client.ask(b"MPUB t\n" + u32(1) + batch(b"a", b"b") + pub("t", b"c")) == OK
    assert client.frame() == OK
    assert rig.node.topic("t").depth == 3


def test_flood_of_tiny_commands_keeps_nobody_waiting(rig: Rig) -> None:
    """Half a million commands are carried out some hundred at a time, and the others have their turn."""
    flood = b"NOP\n" * 500_000
    client = rig.connect()
    sent = 0
    while sent < len(flood):
        sent += client.try_send(flood[sent : sent + (1 << 20)])
        rig.is_served()
        peers = [peer for peer in rig.peers() if peer.state.value == 0]
        assert sum(peer.connection.buffered_bytes for peer in peers) <= READ_AHEAD_BYTES + ONE_READ_BYTES

    assert client.ask(pub("t", b"x")) == OK
    assert rig.lines == []


CONVERSATION = (
    identify(client_id="c", feature_negotiation=True)
    + pub("a", b"one")
    + mpub("a", b"two", b"three")
    + dpub("a", 100, b"four")
    + b"SUB a c\nRDY 1\nFIN 0123456789abcdef\nREQ 0123456789abcdef 5\nTOUCH 0123456789abcdef\n"
    + pub("a", b"five")
    + b"NOP\nCLS\nNOP\n"
)
ENDS = [
    (len(identify(client_id="c", feature_negotiation=True) + pub("a", b"one")), 1),
    (len(identify(client_id="c", feature_negotiation=True) + pub("a", b"one") + mpub("a", b"two", b"three")), 3),
    (CONVERSATION.index(b"SUB"), 4),
    (CONVERSATION.index(b"NOP"), 5),
]


@pytest.mark.parametrize("ending", ["close", "half_close", "reset"])
def test_disconnect_at_every_byte_leaves_nothing_behind(rig: Rig, ending: str) -> None:
    """Wherever a conversation breaks off, what was said until then is done, and no more."""
    published = 0
    for cut in range(len(CONVERSATION) + 1):
        client = rig.connect()
        client.send(CONVERSATION[:cut])
        getattr(client, ending)()
        published += max((count for end, count in ENDS if cut >= end), default=0)
        if ending == "half_close":
            client.rest()
            client.close()
    rig.until(lambda: not rig.peers())

    found = {topic.topic_name: topic for topic in rig.node.stats().topics}
    count = found["a"].message_count
    assert count == published if ending != "reset" else count <= published
    assert all(channel.client_count == 0 for channel in found["a"].channels)
    rig.is_served()
    assert rig.lines == []


def test_identify_may_not_ask_for_memory_again_and_again(rig: Rig) -> None:
    """The answer to IDENTIFY counts; a hundred of them change nothing but what was agreed."""
    client = rig.connect()
    for number in range(100):
        kind, _ = client.ask(identify(client_id="x" * 1000, heartbeat_interval=1000 + number))
        assert kind == RESPONSE
    rig.is_served()

    rig.advance(1.1)
    assert client.frame() == HEARTBEAT
    (alarm,) = [each for each in rig.clock._alarms if each[2] is rig.only_peer()._lifeline._alarm]
    assert not alarm[2].is_cancelled


def test_sizes_are_signed(rig: Rig) -> None:
    """A size above 2 GiB is a negative one, as in nsqd, and refused like it."""
    client = rig.connect()

    assert client.ask(b"PUB t\n" + struct.pack(">I", 0xFFFFFFFF)) == (
        ERROR,
        b"E_BAD_MESSAGE PUB invalid message body size -1",
    )
    assert client.rest() == b""
