"""The conversation: its order, its bytes in any pieces, and what it never waits for."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol import commands
from nsqlite.net.protocol.commands import PARSERS, Fin, Mpub, MpubBegun, Nop, Pub, Rdy
from nsqlite.net.protocol.connection import MAX_LINE_BYTES, TRANSITIONS, Connection, LineTooLongError, State
from nsqlite.net.protocol.errors import InvalidError, ProtocolError
from nsqlite.net.protocol.wire import MAGIC
from tests.net.protocol.conversations import (
    ID,
    LIMITS,
    SAMPLES,
    batch,
    commands_of,
    connection,
    hear,
    payload,
    sized,
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", SAMPLES)
def test_command_moves_as_the_table_says(state: State, name: str) -> None:
    """Every command in every state goes where the table says, or is refused by name."""
    made = connection(state)
    expected = TRANSITIONS.get((state, PARSERS[name.encode()][0]))

    made.receive(SAMPLES[name])
    said = commands_of(made)

    if expected is None:
        assert payload(said) == f"E_INVALID cannot {name} in current state".encode()
        assert made.state is state
    else:
        assert not isinstance(said[-1], ProtocolError)
        assert made.state is expected


def test_samples_are_all_commands() -> None:
    """The product above leaves no command out."""
    assert {name.encode() for name in SAMPLES} == set(PARSERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_refused_command_does_not_wait_for_its_body(name: str) -> None:
    """What is out of order is refused with its line, before a byte of a body has come."""
    line = SAMPLES[name].split(b"\n")[0] + b"\n"
    for state in State:
        if (state, PARSERS[name.encode()][0]) not in TRANSITIONS:
            assert isinstance(hear([line], state)[-1], InvalidError)


def test_magic_comes_first() -> None:
    """Four wrong bytes are refused; fewer are waited for."""
    made = Connection(LIMITS)
    made.receive(b"GET")
    assert commands_of(made) == []

    made.receive(b" / HTTP/1.0\r\n")

    assert payload(commands_of(made)) == b"E_BAD_PROTOCOL"


@pytest.mark.parametrize(
    "line,answer",
    [
        (b"ASDF\n", b"E_INVALID invalid command ASDF"),
        (b"\n", b"E_INVALID invalid command "),
        (b"nop\n", b"E_INVALID invalid command nop"),
        (b" NOP\n", b"E_INVALID invalid command "),
        (b"A" * (MAX_LINE_BYTES - 1) + b"\n", b"E_INVALID invalid command " + b"A" * (MAX_LINE_BYTES - 1)),
    ],
)
def test_unknown_command_is_refused_by_its_first_word(line: bytes, answer: bytes) -> None:
    """Commands are matched byte for byte."""
    assert payload(hear([line])) == answer


def test_line_too_long_ends_without_a_word() -> None:
    """A line of 16 KiB that has not ended is as far as anybody waits, in whatever pieces it comes."""
    said = hear([b"A" * 5000] * 4)

    assert isinstance(said[-1], LineTooLongError)


def test_tls_gate_lets_nothing_through_but_identify() -> None:
    """Where TLS is required and missing, even a command that does not exist is refused for that."""
    for name in (b"NOP", b"FOO", b"SUB"):
        made = Connection(LIMITS, is_tls_missing=True)
        made.receive(MAGIC + name + b" a b\n")
        assert payload(commands_of(made)) == b"E_INVALID cannot " + name + b" in current state (TLS required)"
    made = Connection(LIMITS, is_tls_missing=True)
    made.receive(MAGIC + SAMPLES["IDENTIFY"])

    assert commands_of(made) == [commands.Identify(b"{}")]


def test_sub_needs_heartbeats() -> None:
    """Who switched heartbeats off may publish, not subscribe."""
    made = connection()
    made.has_heartbeats = False

    made.receive(SAMPLES["PUB"] + SAMPLES["SUB"])

    assert payload(commands_of(made)) == b"E_INVALID cannot SUB with heartbeats disabled"


def test_rdy_after_cls_is_ignored_unread() -> None:
    """After CLS a RDY may say anything."""
    assert hear([b"RDY 5\nRDY 99999\nRDY x\n"], State.CLOSING) == [Nop(), Nop(), Nop()]


def test_carriage_return_is_dropped_once() -> None:
    """One CR before the line's end belongs to the line's end."""
    assert hear([b"NOP a b\r\nPUB t1\r\n" + sized(b"x")]) == [Nop(), Pub("t1", b"x")]
    assert payload(hear([b"NOP\r\r\n"])) == b"E_INVALID invalid command NOP\r"


# -- stretches of FIN ----------------------------------------------------------------------


def fin(number: int) -> bytes:
    """A FIN line."""
    return b"FIN %016x\n" % number


def numbers_of(said: list[commands.Command | ProtocolError]) -> list[int]:
    """The ids that were finished."""
    return [number for each in said if isinstance(each, Fin) for number in each.numbers]


def test_fins_that_come_together_are_one_command() -> None:
    """Plain FIN lines in one read are read in one step."""
    lines = b"".join(map(fin, range(1000, 1500)))

    assert hear([lines], State.SUBSCRIBED) == [Fin(range(1000, 1500))]


@pytest.mark.parametrize("other", [b"NOP\n", b"RDY 7\n", b"FIN 0123456789ABCDEF\n", b"FIN " + ID + b"\r\n"])
@pytest.mark.parametrize("at", [0, 1, 2, 30])
def test_fins_around_something_else_are_all_read(other: bytes, at: int) -> None:
    """Whatever stands between FIN lines, none is lost and none is invented."""
    lines = list(map(fin, range(1000, 1030)))
    expected = list(range(1000, 1030))
    lines.insert(at, other)
    if other.startswith(b"FIN"):
        expected.insert(at, int(ID, 16) if other.endswith(b"\r\n") else commands.NOT_AN_ID)

    said = hear([b"".join(lines)], State.SUBSCRIBED)

    assert numbers_of(said) == expected


def test_fin_with_digits_astray_is_no_stretch() -> None:
    """Lines that only look like FINs from afar are read one by one, and refused."""
    astray = b"FIN 0123456789abcde\n" + b"0FIN 123456789abcdef0\n"

    said = hear([fin(7) + astray], State.SUBSCRIBED)

    assert numbers_of(said) == [7]
    assert payload(said) == b"E_INVALID invalid message ID"


@given(st.lists(st.sampled_from([fin(1), fin(2), b"NOP\n", b"FIN zzzzzzzzzzzzzzzz\n", b"RDY\n"]), max_size=60))
def test_fins_in_stretches_are_the_fins_one_by_one(lines: list[bytes]) -> None:
    """A stretch finishes exactly what its lines would have finished alone."""
    one_by_one = [command for line in lines for command in hear([line], State.SUBSCRIBED)]

    together = hear([b"".join(lines)], State.SUBSCRIBED)

    assert numbers_of(together) == numbers_of(one_by_one)
    assert [each for each in together if not isinstance(each, Fin)] == [
        each for each in one_by_one if not isinstance(each, Fin)
    ]


# -- bytes in any pieces -------------------------------------------------------------------

_bodies = st.binary(min_size=1, max_size=20)
_lines = st.one_of(
    st.sampled_from([SAMPLES[name] for name in ("NOP", "FIN", "REQ", "TOUCH", "RDY")]),
    _bodies.map(lambda body: b"PUB t\n" + sized(body)),
    _bodies.map(lambda body: b"DPUB t 7\n" + sized(body)),
    st.lists(_bodies, min_size=1, max_size=8).map(lambda bodies: b"MPUB t\n" + batch(bodies)),
    st.tuples(_bodies, st.integers(1, 8)).map(lambda each: b"MPUB t\n" + batch([each[0]] * each[1])),
    st.binary(min_size=1, max_size=30).map(lambda junk: junk + b"\n"),
)


@given(st.lists(_lines, max_size=12).map(b"".join), st.lists(st.integers(0, 600), max_size=20), st.booleans())
def test_pieces_do_not_matter(stream: bytes, cuts: list[int], is_ended: bool) -> None:
    """However the stream is cut, the same is heard; FINs may only be told in other groups."""
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(places)]

    assert story(hear(pieces, State.SUBSCRIBED, is_ended=is_ended)) == story(
        hear([stream], State.SUBSCRIBED, is_ended=is_ended)
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_every_split_of_a_command_is_the_command(name: str) -> None:
    """Cut at any one place, and cut at every place, it is heard as if it had come whole."""
    stream = SAMPLES[name] * 2 if (State.SUBSCRIBED, PARSERS[name.encode()][0]) in TRANSITIONS else SAMPLES[name]
    state = State.INIT if name in {"IDENTIFY", "AUTH", "SUB"} else State.SUBSCRIBED
    whole = story(hear([stream], state))

    for cut in range(len(stream)):
        assert story(hear([stream[:cut], stream[cut:]], state)) == whole
    assert story(hear([bytes([byte]) for byte in stream], state)) == whole


def story(said: list[commands.Command | ProtocolError]) -> list[object]:
    """What was heard, FINs one by one and refusals by their words."""
    told: list[object] = []
    for each in said:
        if isinstance(each, Fin):
            told += [("FIN", number) for number in each.numbers]
        else:
            told.append((type(each), each.payload) if isinstance(each, ProtocolError) else each)
    return told


# -- bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line,what",
    [(b"PUB t\n", "PUB"), (b"DPUB t 0\n", "DPUB")],
)
def test_message_size_is_checked_before_the_body_comes(line: bytes, what: str) -> None:
    """A size that may not be is refused on its own four bytes; the end of the stream is an error too."""
    for size, words in [
        (0, "invalid message body size 0"),
        (-1, "invalid message body size -1"),
        (101, "message too big 101 > 100"),
    ]:
        assert payload(hear([line + struct.pack(">i", size)])) == f"E_BAD_MESSAGE {what} {words}".encode()
    assert hear([line + b"\x00\x00"]) == []
    ended = payload(hear([line + b"\x00\x00"], is_ended=True))
    assert ended == f"E_BAD_MESSAGE {what} failed to read message body size".encode()
    ended = payload(hear([line + sized(b"abcde")[:-3]], is_ended=True))
    assert ended == f"E_BAD_MESSAGE {what} failed to read message body".encode()


@pytest.mark.parametrize("name", ["IDENTIFY", "AUTH"])
def test_body_size_is_checked_before_the_body_comes(name: str) -> None:
    """IDENTIFY and AUTH are bounded by max_body_size, and say body, not message."""
    line = name.encode() + b"\n"
    for size, words in [
        (0, "invalid body size 0"),
        (-1, "invalid body size -1"),
        (1001, "body too big 1001 > 1000"),
    ]:
        assert payload(hear([line + struct.pack(">i", size)])) == f"E_BAD_BODY {name} {words}".encode()
    assert payload(hear([line], is_ended=True)) == f"E_BAD_BODY {name} failed to read body size".encode()
    ended = payload(hear([line + sized(b"{}")[:-1]], is_ended=True))
    assert ended == f"E_BAD_BODY {name} failed to read body".encode()


def test_mpub_tells_its_topic_first() -> None:
    """Whoever authorises and makes topics hears of the topic before the body has come."""
    made = connection()
    made.receive(b"MPUB t\n")
    assert commands_of(made) == [MpubBegun("t")]

    made.receive(batch([b"a", b"bb"]))

    assert commands_of(made) == [Mpub("t", [b"a", b"bb"])]


@pytest.mark.parametrize("size", [0, -1, 1001])
def test_mpub_outer_size_is_checked(size: int) -> None:
    """The size in front is only held against its range."""
    words = f"body too big {size} > 1000" if size > 0 else f"invalid body size {size}"

    assert payload(hear([b"MPUB t\n" + struct.pack(">i", size)])) == f"E_BAD_BODY MPUB {words}".encode()


def test_mpub_ends_where_its_messages_end() -> None:
    """The sizes inside decide, whatever the one in front says; what follows is the next command."""
    body = batch([b"abc"])

    said = hear([b"MPUB t\n" + struct.pack(">I", 900) + body[4:] + b"NOP\n"])

    assert said == [MpubBegun("t"), Mpub("t", [b"abc"]), Nop()]


def test_end_of_stream_between_commands_is_no_error() -> None:
    """Half a line at the end is dropped in silence, as nsqd does."""
    assert hear([b"NOP\nPU"], is_ended=True) == [Nop()]


def test_discard_drops_what_waits() -> None:
    """What came before a change of layers is not read after it."""
    made = connection()
    made.receive(b"NOP\nNO")
    assert made.next_command() == Nop()

    made.discard()

    assert made.buffered_bytes == 0
    made.receive(b"RDY")
    assert made.next_command() is None


def test_buffer_holds_no_more_than_a_command() -> None:
    """Consumed bytes are let go, in whatever pieces commands come."""
    made = connection()
    for _ in range(1000):
        made.receive(b"NOP\nNO")
        assert commands_of(made) == [Nop()]
        made.receive(b"P\n")
        assert commands_of(made) == [Nop()]

    assert len(made._data) < 20


def test_rdy_without_a_number_is_one() -> None:
    """RDY alone means 1, RDY and a space mean 0."""
    assert hear([b"RDY\nRDY \n"], State.SUBSCRIBED) == [Rdy(1), Rdy(0)]
