"""Checks 75 to 90 and 94: what IDENTIFY takes, refuses and echoes, and heartbeats.

What it upgrades the connection to is in `upgrades.py`.
"""

from __future__ import annotations

import re
from typing import Any

from tests.interop.transcripts.steps import (
    HEARTBEAT,
    OK,
    Advance,
    Differs,
    Expect,
    ExpectClient,
    ExpectEof,
    Json,
    Send,
    Silence,
    Transcript,
    after,
    error,
    response,
)
from tests.interop.transcripts.wire import (
    identified,
    identify,
    pub,
    published,
    refusal,
    refusals,
    sized,
    subscribed,
    u32,
)

NEGOTIATED = (
    rb'\{"max_rdy_count":2500,"version":"[0-9]+\.[0-9]+\.[0-9]+","max_msg_timeout":900000,"msg_timeout":60000,'
    rb'"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,'
    rb'"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250%s\}'
)
TOPOLOGY = b',"topology_region":"","topology_zone":""'
BAD_JSON = "E_BAD_BODY IDENTIFY failed to decode JSON body"


def body(text: bytes) -> bytes:
    """IDENTIFY with a body that may be no JSON."""
    return b"IDENTIFY\n" + sized(text)


def out_of_range(check: int, key: str, words: str, *numbers: int) -> tuple[Transcript, ...]:
    """Numbers that a key does not take."""
    return tuple(
        refusal(
            check,
            f"{key}_{number}".replace("-", "minus_"),
            identify(**{key: number}),
            f"E_BAD_BODY IDENTIFY {words} ({number}) is invalid",
        )
        for number in numbers
    )


def accepted(check: int, key: str, *numbers: int) -> Transcript:
    """Numbers that a key takes, each on a connection of its own."""
    steps = tuple(step for number in numbers for step in identified(by=f"{key} {number}", **{key: number}))
    return Transcript(check, f"{key}_accepted", f"{key} takes {', '.join(map(str, numbers))}.", steps)


def echoed(check: int, name: str, rule: str, values: dict[str, Any], **sent: Any) -> Transcript:
    """What comes back in the answer when features are negotiated."""
    return Transcript(
        check,
        name,
        rule,
        (Send(identify(feature_negotiation=True, **sent)), Expect(Json(values)), *published("t075", b"x")),
    )


BODIES = (
    Transcript(75, "empty_object", "An empty object is answered OK.", (Send(body(b"{}")), Expect(OK))),
    Transcript(76, "null", "null is an empty object.", (Send(body(b"null")), Expect(OK))),
    Transcript(
        77,
        "negotiation",
        "Who negotiates features is told the server's limits, and what holds on this connection.",
        (
            Send(body(b'{"feature_negotiation":true}')),
            Differs(
                nsqd=(Expect(response(re.compile(NEGOTIATED % b""))),),
                node=(Expect(response(re.compile(NEGOTIATED % TOPOLOGY))),),
                because="The keys of topology came after the release of 1.3.0, and clients that know them read them.",
            ),
            Silence(),
        ),
    ),
    *refusals(
        78,
        *(
            (name, body(text), BAD_JSON)
            for name, text in (
                ("half_an_object", b"{"),
                ("list", b"[]"),
                ("string_for_integer", b'{"heartbeat_interval":"1000"}'),
                ("fraction_for_integer", b'{"heartbeat_interval":1000.5}'),
                ("float_for_integer", b'{"heartbeat_interval":1000.0}'),
                ("exponent_for_integer", b'{"heartbeat_interval":1e3}'),
                ("boolean_for_integer", b'{"msg_timeout":true}'),
                ("integer_for_boolean", b'{"snappy":1}'),
                ("integer_for_string", b'{"client_id":1}'),
                ("integer_over_64_bits", b'{"msg_timeout":9223372036854775808}'),
                ("integer_over_32_bits", b'{"sample_rate":2147483648}'),
                ("something_behind", b"{} x"),
                ("number_not_of_json", b'{"msg_timeout":NaN}'),
            )
        ),
    ),
    Transcript(
        78,
        "lenient",
        "Unknown keys are ignored, null is absent, and keys match in any case.",
        (
            Send(body(b'{"short_id":"x","Client_ID":"me","msg_timeout":null,"FEATURE_NEGOTIATION":true} \n')),
            Expect(Json({"msg_timeout": 60000})),
            *subscribed("t078"),
            ExpectClient("t078", "c", {"client_id": "me", "hostname": ""}),
        ),
    ),
    *refusals(
        79,
        ("size_0", b"IDENTIFY\n" + u32(0), "E_BAD_BODY IDENTIFY invalid body size 0"),
        ("size_minus_1", b"IDENTIFY\n" + u32(-1), "E_BAD_BODY IDENTIFY invalid body size -1"),
        ("size_2_gib", b"IDENTIFY\n" + u32(0x7FFFFFFF), "E_BAD_BODY IDENTIFY body too big 2147483647 > 5242880"),
    ),
)

BIG_BODY = Transcript(
    79,
    "body_over_64_kib",
    "A body that is far too long for what IDENTIFY has to say is read by nsqd, and not by a node.",
    (
        Send(body(b"{}" + b" " * 65_536)),
        Differs(
            nsqd=(Expect(OK),),
            node=(Expect(error(BAD_JSON)), ExpectEof()),
            because="JSON of max-body-size would hold up all other clients while it is decoded.",
        ),
    ),
)

WHO_IT_IS = Transcript(
    75,
    "who_it_is",
    "What a client says of itself is in the statistics.",
    (
        *identified(client_id="me", hostname="here", user_agent="test/1", sample_rate=7),
        *subscribed("t075b", rdy=3),
        ExpectClient(
            "t075b",
            "c",
            {"client_id": "me", "hostname": "here", "user_agent": "test/1", "sample_rate": 7, "ready_count": 3},
        ),
    ),
)

RANGES = (
    *out_of_range(80, "heartbeat_interval", "heartbeat interval", 999, 1, -2, 60001),
    accepted(80, "heartbeat_interval", 1000, 60000, 0, -1),
    *out_of_range(81, "output_buffer_size", "output buffer size", 63, 1, -2, 65537),
    accepted(81, "output_buffer_size", 64, 65536, 0),
    echoed(
        81,
        "output_buffer_size_minus_1",
        "No output buffer is one of a single byte, and has no timeout.",
        {"output_buffer_size": 1, "output_buffer_timeout": 0},
        output_buffer_size=-1,
    ),
    *out_of_range(82, "output_buffer_timeout", "output buffer timeout", 24, 1, -2, 30001),
    accepted(82, "output_buffer_timeout", 25, 30000, 0),
    echoed(
        82,
        "output_buffer_timeout_minus_1",
        "No output buffer timeout is one of 0.",
        {"output_buffer_size": 16384, "output_buffer_timeout": 0},
        output_buffer_timeout=-1,
    ),
    *out_of_range(83, "sample_rate", "sample rate", -1, 100),
    accepted(83, "sample_rate", 0, 1, 99),
    *out_of_range(84, "msg_timeout", "msg timeout", -1, 999, 900001),
    accepted(84, "msg_timeout", 0, 1000, 900000),
    echoed(
        84,
        "values_are_echoed",
        "The answer has what the client asked for and got.",
        {"msg_timeout": 5000, "sample_rate": 50, "output_buffer_size": 100, "output_buffer_timeout": 30},
        msg_timeout=5000,
        sample_rate=50,
        output_buffer_size=100,
        output_buffer_timeout=30,
    ),
    refusal(
        80,
        "first_error_is_told",
        identify(msg_timeout=1, sample_rate=-1, output_buffer_size=1, output_buffer_timeout=1, heartbeat_interval=1),
        "E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid",
        rule="Of several values out of range, the heartbeat interval is named first.",
    ),
    refusal(
        82,
        "second_error_is_told",
        identify(msg_timeout=1, sample_rate=-1, output_buffer_size=1, output_buffer_timeout=1),
        "E_BAD_BODY IDENTIFY output buffer timeout (1) is invalid",
        rule="Of several values out of range, the output buffer timeout is named before the size.",
    ),
)

ORDER = (
    refusal(
        87,
        "identify_after_sub",
        body(b"{}"),
        "E_INVALID cannot IDENTIFY in current state",
        before=subscribed("t087"),
    ),
    Transcript(
        87,
        "identify_twice",
        "IDENTIFY may be repeated until SUB.",
        (
            *identified(client_id="a"),
            *identified(client_id="b"),
            *subscribed("t087b"),
            ExpectClient("t087b", "c", {"client_id": "b"}),
        ),
    ),
    refusal(
        88,
        "sub_without_heartbeats",
        b"SUB t088 c\n",
        "E_INVALID cannot SUB with heartbeats disabled",
        before=identified(heartbeat_interval=-1),
    ),
)

HEARTBEATS = (
    Transcript(
        87,
        "identify_twice_heartbeat",
        "A node adopts all of a second IDENTIFY, nsqd no heartbeat interval.",
        (
            *identified(heartbeat_interval=1000),
            *identified(heartbeat_interval=2000),
            Differs(
                nsqd=(*after(1.0, Expect(HEARTBEAT, late=0.5)),),
                node=(*after(2.0, Expect(HEARTBEAT)),),
                because="What is answered OK should hold.",
            ),
        ),
    ),
    Transcript(
        89,
        "heartbeat_unanswered",
        "A client that is silent for two intervals is hung up on without a word.",
        (
            *identified(heartbeat_interval=1000),
            *after(1.0, Expect(HEARTBEAT, late=0.5)),
            Silence(0.999),
            Advance(0.001),
            ExpectEof(perhaps=HEARTBEAT),
        ),
    ),
    Transcript(
        90,
        "heartbeat_answered",
        "A client that answers its heartbeats with NOP is kept.",
        (
            *identified(heartbeat_interval=1000),
            *((*after(1.0, Expect(HEARTBEAT, late=0.5)), Send(b"NOP\n")) * 3),
            Send(pub("t090", b"x")),
            Expect(OK),
        ),
    ),
    Transcript(
        90,
        "heartbeat_beside_traffic",
        "Heartbeats come at their time, whatever else is sent; any command is an answer.",
        (
            *identified(heartbeat_interval=1000),
            Silence(0.6),
            *published("t090b", b"x"),
            Silence(0.3),
            Advance(0.1),
            Expect(HEARTBEAT, late=0.5),
            *published("t090b", b"x"),
            *after(1.0, Expect(HEARTBEAT, late=0.5)),
        ),
    ),
    Transcript(
        90,
        "heartbeat_in_half_a_body",
        "A command must be complete before the deadline: one whose body is missing is told so, and keeps nobody.",
        (
            *identified(heartbeat_interval=1000),
            *after(1.0, Expect(HEARTBEAT, late=0.5)),
            Send(b"PUB t090c\n" + u32(5) + b"ab"),
            Advance(1.0),
            Expect(error("E_BAD_MESSAGE PUB failed to read message body"), perhaps=HEARTBEAT),
            ExpectEof(perhaps=HEARTBEAT),
        ),
    ),
    Transcript(
        90,
        "heartbeat_in_half_a_line",
        "Half a line keeps nobody either, and is not answered.",
        (
            *identified(heartbeat_interval=1000),
            *after(1.0, Expect(HEARTBEAT, late=0.5)),
            Send(b"PUB t090d"),
            Advance(1.0),
            ExpectEof(perhaps=HEARTBEAT),
        ),
    ),
)

TRANSCRIPTS = (*BODIES, BIG_BODY, WHO_IT_IS, *RANGES, *ORDER, *HEARTBEATS)
