"""Checks 1 to 11: the magic, command lines, and what is no command."""

from __future__ import annotations

from tests.interop.transcripts.steps import (
    HEARTBEAT,
    MAGIC,
    OK,
    Advance,
    Connect,
    Differs,
    Expect,
    ExpectBytes,
    ExpectEof,
    HalfClose,
    Send,
    Silence,
    Transcript,
    after,
    error,
)
from tests.interop.transcripts.wire import pub, refusal, refusals, sized

OK_BYTES = b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
HTTP_REQUEST = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"

BAD_MAGICS = tuple(
    Transcript(
        check,
        name,
        "Four bytes that are no magic are answered by E_BAD_PROTOCOL alone, and the end.",
        (Connect(magic), Expect(error("E_BAD_PROTOCOL")), ExpectEof()),
    )
    for check, name, magic in ((1, "wrong_version", b"  V9"), (2, "http_request", HTTP_REQUEST))
)

SHORT_MAGIC = Transcript(
    1,
    "short_magic",
    "A client that goes before its magic is complete is left without a word.",
    (Connect(b"  V"), HalfClose(), ExpectEof()),
)

MAGIC_IN_PIECES = Transcript(
    1,
    "magic_in_pieces",
    "The magic may come byte by byte, and with the first command behind it.",
    (Connect(b" "), Send(b" "), Send(b"V"), Send(b"2" + pub("t001", b"x")), Expect(OK)),
)

HEARTBEAT_WITHOUT_IDENTIFY = Transcript(
    3,
    "magic_only",
    "A client that says nothing after the magic hears its first heartbeat after 30 seconds.",
    (Connect(), *after(30.0, Expect(HEARTBEAT))),
)

SILENT_BEFORE_MAGIC = tuple(
    Transcript(
        3,
        name,
        "A client that connects and is silent is given a minute, where nsqd gives it for ever.",
        (
            Connect(begun),
            Differs(
                nsqd=(Silence(2.0), Send(MAGIC[len(begun) :] + pub("t003", b"x")), Expect(OK)),
                node=(*after(60.0, ExpectEof()),),
                because="Connections that nobody will use would pile up; they even keep nsqd from shutting down.",
            ),
        ),
    )
    for name, begun in (("silent_before_magic", b""), ("silent_in_magic", b"  V"))
)

NOT_COMMANDS = (
    *refusals(4, ("unknown_command", b"ASDF\n", "E_INVALID invalid command ASDF")),
    *refusals(5, ("empty_line", b"\n\n", "E_INVALID invalid command ")),
    *refusals(6, ("lower_case", b"nop\n", "E_INVALID invalid command nop")),
    *refusals(7, ("leading_space", b" NOP\n", "E_INVALID invalid command ")),
    *refusals(8, ("ping", b"PING\n", "E_INVALID invalid command PING")),
)

SURPLUS_FIELDS = Transcript(
    9,
    "surplus_fields",
    "Surplus fields are ignored, a carriage return before the line's end is dropped, and NOP is not answered.",
    (Send(b"NOP a b\r\nPUB t009\r\n" + sized(b"x")), ExpectBytes(OK_BYTES), Silence()),
)

LINE_TOO_LONG = Transcript(
    10,
    "line_too_long",
    "A line longer than 16 KiB ends the connection without a frame.",
    (Send(b"A" * 20_000 + b"\n"), ExpectEof()),
)

LONGEST_LINE = refusal(
    11,
    "longest_line",
    b"A" * 16_383 + b"\n",
    "E_INVALID invalid command " + "A" * 16_383,
    rule="A line of 16 KiB, its end included, is read.",
)

REST_IS_DISCARDED = Transcript(
    4,
    "rest_is_discarded",
    "What was pipelined behind a fatal error is not even read.",
    (
        Send(pub("t004", b"x") + b"ASDF\n" + pub("t004", b"y")),
        Expect(OK),
        Expect(error("E_INVALID invalid command ASDF")),
        ExpectEof(),
    ),
)

COMMAND_IN_PIECES = Transcript(
    9,
    "command_in_pieces",
    "A command may come in any pieces, with any time between them within the read deadline.",
    (
        Connect(MAGIC),
        Send(b"PU"),
        Silence(),
        Send(b"B t009b\n\x00\x00"),
        Advance(0.5),
        Send(b"\x00\x03ab"),
        Silence(),
        Send(b"c"),
        Expect(OK),
    ),
)

TRANSCRIPTS = (
    *BAD_MAGICS,
    SHORT_MAGIC,
    MAGIC_IN_PIECES,
    HEARTBEAT_WITHOUT_IDENTIFY,
    *SILENT_BEFORE_MAGIC,
    *NOT_COMMANDS,
    REST_IS_DISCARDED,
    SURPLUS_FIELDS,
    COMMAND_IN_PIECES,
    LINE_TOO_LONG,
    LONGEST_LINE,
)
