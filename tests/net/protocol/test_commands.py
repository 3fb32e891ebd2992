"""Lines as commands: names, numbers and the words of every refusal."""

import pytest

from nsqlite.net.protocol.commands import NOT_AN_ID, Dpub, Fin, Pub, Rdy, Req, Sub, Touch, id_number, parse_number
from nsqlite.net.protocol.connection import State
from tests.net.protocol.conversations import ID, hear, payload, sized


@pytest.mark.parametrize(
    "line,answer",
    [
        (b"PUB", b"E_INVALID PUB insufficient number of parameters"),
        (b"PUB a$b", b'E_BAD_TOPIC PUB topic name "a$b" is not valid'),
        (b"PUB ", b'E_BAD_TOPIC PUB topic name "" is not valid'),
        (b"PUB \xff", b'E_BAD_TOPIC PUB topic name "\\xff" is not valid'),
        (b"PUB " + b"a" * 65, b'E_BAD_TOPIC PUB topic name "' + b"a" * 65 + b'" is not valid'),
        (b"PUB #ephemeral", b'E_BAD_TOPIC PUB topic name "#ephemeral" is not valid'),
        (b"MPUB", b"E_INVALID MPUB insufficient number of parameters"),
        (b"MPUB a$b", b'E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "a$b" is not valid'),
        (b"DPUB t", b"E_INVALID DPUB insufficient number of parameters"),
        (b"DPUB t$ x", b'E_BAD_TOPIC DPUB topic name "t$" is not valid'),
        (b"DPUB t abc", b"E_INVALID DPUB could not parse timeout abc"),
        (b"DPUB t -1", b"E_INVALID DPUB could not parse timeout -1"),
        (b"DPUB t 3600001", b"E_INVALID DPUB timeout 3600001 out of range 0-3600000"),
        (b"SUB t", b"E_INVALID SUB insufficient number of parameters"),
        (b"SUB t$ c", b'E_BAD_TOPIC SUB topic name "t$" is not valid'),
        (b"SUB t c$", b'E_BAD_CHANNEL SUB channel name "c$" is not valid'),
        (b"SUB t ", b'E_BAD_CHANNEL SUB channel name "" is not valid'),
        (b"AUTH x", b"E_INVALID AUTH invalid number of parameters"),
    ],
)
def test_line_is_refused_in_nsqs_words(line: bytes, answer: bytes) -> None:
    """Each refusal reads as nsqd words it, names quoted as Go quotes them."""
    assert payload(hear([line + b"\n"])) == answer


@pytest.mark.parametrize(
    "line,answer",
    [
        (b"RDY 2501", b"E_INVALID RDY count 2501 out of range 0-2500"),
        (b"RDY -1", b"E_INVALID RDY could not parse count -1"),
        (b"RDY abc", b"E_INVALID RDY could not parse count abc"),
        (b"RDY 18446744073709551615", b"E_INVALID RDY count -1 out of range 0-2500"),
        (b"FIN", b"E_INVALID FIN insufficient number of params"),
        (b"FIN abc", b"E_INVALID invalid message ID"),
        (b"FIN ", b"E_INVALID invalid message ID"),
        (b"REQ " + ID, b"E_INVALID REQ insufficient number of params"),
        (b"REQ abc 1", b"E_INVALID invalid message ID"),
        (b"REQ " + ID + b" x", b"E_INVALID REQ could not parse timeout x"),
        (b"TOUCH", b"E_INVALID TOUCH insufficient number of params"),
        (b"TOUCH abc", b"E_INVALID invalid message ID"),
    ],
)
def test_answer_is_refused_in_nsqs_words(line: bytes, answer: bytes) -> None:
    """What a consumer may get wrong, likewise."""
    assert payload(hear([line + b"\n"], State.SUBSCRIBED)) == answer


def test_surplus_words_are_ignored() -> None:
    """Every command but AUTH takes more words than it needs."""
    assert hear([b"PUB t extra\n" + sized(b"x")]) == [Pub("t", b"x")]
    assert hear([b"SUB t c more\n"]) == [Sub("t", "c")]
    assert hear([b"TOUCH " + ID + b" 7\nRDY 3 4\n"], State.SUBSCRIBED) == [Touch(int(ID, 16), ID), Rdy(3)]


def test_longest_names_are_taken() -> None:
    """64 bytes in all, the ephemeral suffix included."""
    names = [b"a" * 64, b"a" * 54 + b"#ephemeral"]

    assert [hear([b"PUB " + name + b"\n" + sized(b"x")]) for name in names] == [
        [Pub(name.decode(), b"x")] for name in names
    ]


def test_delays_are_clamped_or_refused() -> None:
    """DPUB refuses what is beyond the limit, REQ takes the limit; nothing is 0."""
    assert hear([b"DPUB t 3600000\n" + sized(b"x")]) == [Dpub("t", 3_600_000, b"x")]
    assert hear([b"DPUB t \n" + sized(b"x")]) == [Dpub("t", 0, b"x")]
    assert hear([b"REQ " + ID + b" 99999999\n"], State.SUBSCRIBED) == [Req(int(ID, 16), ID, 3_600_000)]


@pytest.mark.parametrize(
    "raw,number",
    [
        (b"", 0),
        (b"007", 7),
        (b"18446744073709551616", 0),
        (b"9" * 9999, (pow(10, 9999, 1 << 64) - 1) % (1 << 64)),
        (b"+1", None),
        (b"-1", None),
        (b" 1", None),
        (b"1_000", None),
        (b"1.0", None),
        (b"\xb2", None),
    ],
)
def test_numbers_are_ascii_digits(raw: bytes, number: int | None) -> None:
    """Digits only, nothing is 0, and 64 bits are kept, as many digits as there may be."""
    assert parse_number(raw) == number


def test_ids_are_matched_as_they_were_given_out() -> None:
    """Sixteen lower-case hex digits are one of ours; anything else of that length is nobody's."""
    assert id_number(b"00000000000000ff") == 255
    for raw in (b"00000000000000FF", b"0x000000000000ff", b"0000000_00000001", b"zzzzzzzzzzzzzzzz", b"\xff" * 16):
        assert id_number(raw) == NOT_AN_ID
    assert hear([b"FIN zzzzzzzzzzzzzzzz\n"], State.SUBSCRIBED) == [Fin((NOT_AN_ID,), b"zzzzzzzzzzzzzzzz")]
