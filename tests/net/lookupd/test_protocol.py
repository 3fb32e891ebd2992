r"""Bytes of an nsqd become commands, or a refusal in nsqlookupd's own words."""

import json
import struct

import pytest

from nsqlite.net.lookupd.protocol import (
    MAX_IDENTIFY_BYTES,
    MAX_LINE_BYTES,
    Command,
    Identify,
    Parser,
    Ping,
    RefusedError,
    Register,
    Unregister,
    answer,
)
from tests.net.lookupd.client import MAGIC, identify, identify_body

KNOWN = Identify(broadcast_address="here", hostname="host", tcp_port=4150, http_port=4151, version="1.3.0")


def commands(data: bytes, piece: int = 1 << 20) -> list[Command]:
    """What comes of these bytes, in pieces of this size."""
    parser, found = Parser(), list[Command]()
    for at in range(0, len(data), piece):
        parser.receive(data[at : at + piece])
        while (command := parser.next_command()) is not None:
            found.append(command)
    assert parser.buffered_bytes == 0
    return found


def refused(data: bytes) -> bytes:
    """How these bytes are refused."""
    with pytest.raises(RefusedError) as caught:
        commands(data)
    return caught.value.answer


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_commands_come_whatever_the_pieces(piece: int) -> None:
    """A stream is a stream: where it is cut changes nothing."""
    data = MAGIC + b"PING\n" + identify() + b"REGISTER t c\nREGISTER t\nUNREGISTER t c\nUNREGISTER t\nPING\n"

    assert commands(data, piece) == [
        Ping(),
        KNOWN,
        Register("t", "c"),
        Register("t"),
        Unregister("t", "c"),
        Unregister("t"),
        Ping(),
    ]


@pytest.mark.parametrize("line", [b"PING\r\n", b" \tPING \n", b"\xc2\xa0PING\xe2\x80\xa8\n", b"PING a b\n"])
def test_white_space_around_a_line_is_trimmed(line: bytes) -> None:
    """Unicode's, as Go knows it; and words that nobody asked for are passed over."""
    assert commands(MAGIC + line) == [Ping()]


@pytest.mark.parametrize(
    "line,words",
    [
        (b"\n", b"E_INVALID invalid command "),
        (b"ping\n", b"E_INVALID invalid command ping"),
        (b"\x1cPING\n", b"E_INVALID invalid command \x1cPING"),
        (b"\xffPING x\n", b"E_INVALID invalid command \xffPING"),
        (b"REGISTER\n", b"E_INVALID client must IDENTIFY"),
        (b"UNREGISTER b$\n", b"E_INVALID client must IDENTIFY"),
    ],
)
def test_lines_before_identify_are_refused(line: bytes, words: bytes) -> None:
    """Only PING and IDENTIFY come before; the rest of the words is checked later."""
    assert refused(MAGIC + line) == words


@pytest.mark.parametrize("command", ["REGISTER", "UNREGISTER"])
@pytest.mark.parametrize(
    "params,words",
    [
        (b"", "E_INVALID {} insufficient number of params"),
        (b" b$", "E_BAD_TOPIC {} topic name 'b$' is not valid"),
        (b" b$ c$", "E_BAD_TOPIC {} topic name 'b$' is not valid"),
        (b" b c$", "E_BAD_CHANNEL {} channel name 'c$' is not valid"),
        (b"  b", "E_BAD_TOPIC {} topic name '' is not valid"),
        (b" *", "E_BAD_TOPIC {} topic name '*' is not valid"),
        (b" " + b"x" * 65, "E_BAD_TOPIC {} topic name '" + "x" * 65 + "' is not valid"),
    ],
)
def test_names_are_checked_in_order(command: str, params: bytes, words: str) -> None:
    """Topic first; names stand in single quotes here, where nsqd has double ones."""
    assert refused(MAGIC + identify() + command.encode() + params + b"\n") == words.format(command).encode()


def test_name_that_is_no_utf8_comes_back_as_it_is() -> None:
    """The refusal has the client's own bytes."""
    assert refused(MAGIC + identify() + b"REGISTER \xff\n") == b"E_BAD_TOPIC REGISTER topic name '\xff' is not valid"


def test_empty_channel_is_none() -> None:
    """Two spaces make an empty word, which stands for no channel; what follows is passed over."""
    assert commands(MAGIC + identify() + b"REGISTER a  c\nREGISTER a c d\n")[1:] == [Register("a"), Register("a", "c")]


def test_other_magic_is_refused() -> None:
    """Four bytes are read, whatever they are."""
    assert refused(b"  V2") == b"E_BAD_PROTOCOL"
    assert refused(b"PING\n") == b"E_BAD_PROTOCOL"


def test_identify_twice_is_refused_before_its_body() -> None:
    """The second line is enough."""
    assert refused(MAGIC + identify() + b"IDENTIFY\n") == b"E_INVALID cannot IDENTIFY again"


@pytest.mark.parametrize(
    "body,words",
    [
        (b"", b"decode JSON body"),
        (b"[]", b"decode JSON body"),
        (b"{", b"decode JSON body"),
        (b'{"tcp_port": "4150"}', b"decode JSON body"),
        (b'{"tcp_port": 1.0}', b"decode JSON body"),
        (b'{"tcp_port": true}', b"decode JSON body"),
        (b'{"hostname": 1}', b"decode JSON body"),
        (b'{"remote_address": 1}', b"decode JSON body"),
        (b"[" * 5000, b"decode JSON body"),
    ],
)
def test_bodies_that_are_no_identify_are_refused(body: bytes, words: bytes) -> None:
    """No JSON, no object, or a value of another type."""
    assert refused(MAGIC + identify_body(body)) == b"E_BAD_BODY IDENTIFY failed to " + words


@pytest.mark.parametrize("name", ["broadcast_address", "tcp_port", "http_port", "version"])
def test_identify_has_four_fields_at_least(name: str) -> None:
    """None of them may be missing, null, empty or zero."""
    who = {"broadcast_address": "here", "tcp_port": 1, "http_port": 2, "version": "v"}
    empty = {"broadcast_address": "", "version": ""}.get(name, 0)
    bodies = [who | {name: None}, who | {name: empty}, {key: who[key] for key in who if key != name}]

    for each in bodies:
        assert refused(MAGIC + identify_body(json.dumps(each).encode())) == b"E_BAD_BODY IDENTIFY missing fields"
    assert refused(MAGIC + identify_body(b"null")) == b"E_BAD_BODY IDENTIFY missing fields"


def test_identify_is_read_as_go_reads_it() -> None:
    """Keys match in any case, unknown ones are passed over, and a port is any integer."""
    body = b'{"BROADCAST_ADDRESS":"a","x":{},"tcp_port":-1,"Http_Port":70000,"version":"v","remote_address":"no"}'

    (found,) = commands(MAGIC + b"IDENTIFY and more\n" + identify_body(body)[len(b"IDENTIFY\n") :])

    assert found == Identify(broadcast_address="a", hostname="", tcp_port=-1, http_port=70000, version="v")


@pytest.mark.parametrize(
    "size,words",
    [
        (-1, b"E_BAD_BODY IDENTIFY failed to read body size"),
        (-(2**31), b"E_BAD_BODY IDENTIFY failed to read body size"),
        (MAX_IDENTIFY_BYTES + 1, b"E_BAD_BODY IDENTIFY failed to read body"),
        (2**31 - 1, b"E_BAD_BODY IDENTIFY failed to read body"),
    ],
)
def test_size_is_checked_before_it_is_waited_for(size: int, words: bytes) -> None:
    """A negative one ends the real nsqlookupd; a great one would have to be held."""
    assert refused(MAGIC + b"IDENTIFY\n" + struct.pack(">i", size)) == words


def test_line_is_bounded() -> None:
    """So much without an end is refused, and one byte less is waited for."""
    parser = Parser()
    parser.receive(MAGIC + b"x" * (MAX_LINE_BYTES - 1))

    assert parser.next_command() is None

    parser.receive(b"x")
    with pytest.raises(RefusedError, match="E_INVALID a line is longer"):
        parser.next_command()


@pytest.mark.parametrize(
    "data,words",
    [
        (b"  V", None),
        (MAGIC + b"PIN", None),
        (MAGIC + b"IDENTIFY\n\x00\x00", b"E_BAD_BODY IDENTIFY failed to read body size"),
        (MAGIC + b"IDENTIFY\n\x00\x00\x00\x02{", b"E_BAD_BODY IDENTIFY failed to read body"),
    ],
)
def test_end_inside_identify_is_answered(data: bytes, words: bytes | None) -> None:
    """Half a line or magic is passed over in silence."""
    parser = Parser()
    parser.receive(data)
    assert parser.next_command() is None

    if words is None:
        parser.finish()
    else:
        with pytest.raises(RefusedError) as caught:
            parser.finish()
        assert caught.value.answer == words


def test_answers_have_a_size_and_no_type() -> None:
    """Four bytes, big endian."""
    assert answer(b"OK") == b"\x00\x00\x00\x02OK"
