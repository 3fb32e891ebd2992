"""Checks 12 to 40: PUB, MPUB and DPUB."""

from __future__ import annotations

import re

from tests.interop.transcripts.steps import (
    CLOSE_WAIT,
    OK,
    Advance,
    Differs,
    Expect,
    ExpectChannel,
    ExpectEof,
    ExpectProducer,
    ExpectTopic,
    HalfClose,
    Message,
    Send,
    Silence,
    Transcript,
    after,
    error,
    server,
)
from tests.interop.transcripts.wire import (
    batch,
    dpub,
    mpub,
    pub,
    published,
    refusal,
    refusals,
    sized,
    subscribed,
    u32,
)

MIB = 1 << 20
A55, A64, A65 = "a" * 55, "a" * 64, "a" * 65
EPHEMERAL = "#ephemeral"


def truncated(check: int, name: str, sent: bytes, payload: str) -> Transcript:
    """A command that ends too early, because its client sends nothing more."""
    rule = f"A client that stops sending in the middle of a command is told {payload[:60]!r}."
    return Transcript(check, name, rule, (Send(sent), HalfClose(), Expect(error(payload)), ExpectEof()))


def accepted(check: int, name: str, sent: bytes, rule: str) -> Transcript:
    """A command that is answered OK, once."""
    return Transcript(check, name, rule, (Send(sent), Expect(OK), Silence()))


PUB = (
    *refusals(
        12,
        ("pub_without_topic", b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
        ("mpub_without_topic", b"MPUB\n", "E_INVALID MPUB insufficient number of parameters"),
    ),
    *refusals(
        13,
        ("pub_bad_topic", b"PUB a$b\n" + sized(b"x"), 'E_BAD_TOPIC PUB topic name "a$b" is not valid'),
        (
            "pub_quoted_topic",
            b'PUB a"\\\t\xff\xc3\xa9\n',
            'E_BAD_TOPIC PUB topic name "a\\"\\\\\\t\\xffé" is not valid',
        ),
    ),
    accepted(14, "pub_longest_topic", pub(A64, b"x"), "A topic's name has up to 64 bytes."),
    refusal(15, "pub_topic_too_long", pub(A65, b"x"), f'E_BAD_TOPIC PUB topic name "{A65}" is not valid'),
    accepted(16, "pub_longest_ephemeral", pub("a" * 54 + EPHEMERAL, b"x"), "The suffix #ephemeral counts."),
    refusal(
        16,
        "pub_ephemeral_too_long",
        pub(A55 + EPHEMERAL, b"x"),
        f'E_BAD_TOPIC PUB topic name "{A55}#ephemeral" is not valid',
    ),
    refusal(
        17, "pub_nothing_but_ephemeral", pub(EPHEMERAL, b"x"), 'E_BAD_TOPIC PUB topic name "#ephemeral" is not valid'
    ),
    accepted(18, "pub_surplus_field", b"PUB t018  extra\n" + sized(b"x"), "Surplus fields of PUB are ignored."),
    *refusals(19, ("pub_empty_body", b"PUB t019\n" + u32(0), "E_BAD_MESSAGE PUB invalid message body size 0")),
    *refusals(20, ("pub_negative_size", b"PUB t020\n" + u32(-1), "E_BAD_MESSAGE PUB invalid message body size -1")),
    refusal(
        21,
        "pub_too_big",
        b"PUB t021\n" + u32(MIB + 1),
        "E_BAD_MESSAGE PUB message too big 1048577 > 1048576",
        rule="A size that is too big is refused before a byte of the body is there.",
    ),
    accepted(21, "pub_biggest", pub("t021b", b"x" * MIB), "A message of max-msg-size is accepted."),
    truncated(22, "pub_half_a_size", b"PUB t022\n\x00\x00", "E_BAD_MESSAGE PUB failed to read message body size"),
    truncated(23, "pub_half_a_body", b"PUB t023\n" + u32(5) + b"ab", "E_BAD_MESSAGE PUB failed to read message body"),
    refusal(
        24,
        "pub_over_max_msg_size",
        pub("t024", b"x" * 105),
        "E_BAD_MESSAGE PUB message too big 105 > 100",
        server=server(max_msg_size=100),
    ),
)

MPUB = (
    *refusals(25, ("mpub_bad_topic", b"MPUB a$b\n", 'E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "a$b" is not valid')),
    Transcript(
        26,
        "mpub",
        "MPUB is answered once, and counts each of its messages.",
        (
            Send(mpub("t026", b"z", b"zz")),
            Expect(OK),
            Silence(),
            ExpectTopic("t026", {"message_count": 2, "message_bytes": 3, "depth": 2}),
        ),
    ),
    *refusals(
        27,
        ("mpub_empty", b"MPUB t027\n" + u32(0), "E_BAD_BODY MPUB invalid body size 0"),
        ("mpub_negative_size", b"MPUB t027\n" + u32(-1), "E_BAD_BODY MPUB invalid body size -1"),
    ),
    *refusals(
        28, ("mpub_too_big", b"MPUB t028\n" + u32(5 * MIB + 1), "E_BAD_BODY MPUB body too big 5242881 > 5242880")
    ),
    *refusals(
        29,
        *(
            (
                f"mpub_{name}_messages",
                b"MPUB t029\n" + u32(100) + u32(count),
                f"E_BAD_BODY MPUB invalid message count {count}",
            )
            for name, count in (("no", 0), ("minus_one", -1), ("too_many", 1_048_576))
        ),
    ),
    Transcript(
        30,
        "mpub_second_message_empty",
        "A batch with one bad message queues nothing of it.",
        (
            Send(b"MPUB t030\n" + sized(batch(b"first", b"", b"third"))),
            Expect(error("E_BAD_MESSAGE MPUB invalid message(1) body size 0")),
            ExpectEof(),
            ExpectTopic("t030", {"message_count": 0, "depth": 0}),
        ),
    ),
    *refusals(
        31,
        (
            "mpub_inner_too_big",
            b"MPUB t031\n" + u32(2 * MIB) + u32(1) + u32(MIB + 1),
            "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
        ),
    ),
    accepted(
        32,
        "mpub_wrong_outer_size",
        b"MPUB t032\n" + u32(1000) + batch(b"abc"),
        "The outer size is checked for its range only; where a batch ends, its count and inner sizes tell.",
    ),
    Transcript(
        32,
        "mpub_inner_sizes_pass_max_body_size",
        "A batch that says it is small and is not is bounded by a node, and is not by nsqd.",
        (
            Send(b"MPUB t032b\n" + u32(100) + batch(*[b"x" * 100] * 11)),
            Differs(
                nsqd=(Expect(OK), ExpectTopic("t032b", {"message_count": 11})),
                node=(
                    Expect(error(re.compile(rb"E_BAD_BODY MPUB .+"))),
                    ExpectEof(),
                    ExpectTopic("t032b", {"message_count": 0}),
                ),
                because="max-body-size would bound nothing: a lying batch could make the server buffer any amount.",
            ),
        ),
        server(max_body_size=1000),
    ),
    refusal(
        33,
        "mpub_over_max_body_size",
        mpub("t033", *[b"x" * 100] * 11),
        "E_BAD_BODY MPUB body too big 1148 > 1000",
        server=server(max_body_size=1000),
    ),
)

TRUNCATED_MPUB = tuple(
    truncated(33, f"mpub_{name}", b"MPUB t033b\n" + sent, payload)
    for name, sent, payload in (
        ("half_a_size", b"\x00", "E_BAD_BODY MPUB failed to read body size"),
        ("half_a_count", u32(99) + b"\x00", "E_BAD_BODY MPUB failed to read message count"),
        (
            "half_an_inner_size",
            u32(99) + u32(2) + sized(b"x") + b"\x00",
            "E_BAD_MESSAGE MPUB failed to read message(1) body size",
        ),
        ("half_an_inner_body", u32(99) + u32(1) + u32(9) + b"x", "E_BAD_MESSAGE MPUB failed to read message body"),
    )
)

DPUB = (
    *refusals(34, ("dpub_without_delay", b"DPUB t034\n", "E_INVALID DPUB insufficient number of parameters")),
    *refusals(
        35,
        ("dpub_delay_of_letters", b"DPUB t035 abc\n", "E_INVALID DPUB could not parse timeout abc"),
        ("dpub_negative_delay", b"DPUB t035 -1\n", "E_INVALID DPUB could not parse timeout -1"),
    ),
    accepted(36, "dpub_longest_delay", dpub("t036", 3_600_000, b"x"), "A delay of max-req-timeout is accepted."),
    *refusals(
        37,
        ("dpub_delay_too_long", b"DPUB t037 3600001\n", "E_INVALID DPUB timeout 3600001 out of range 0-3600000"),
    ),
    Transcript(
        38,
        "dpub_empty_delay",
        "An empty delay is none.",
        (Send(b"DPUB t038 \n" + sized(b"x")), Expect(OK), *subscribed("t038", rdy=1), Expect(Message(b"x"))),
    ),
    Transcript(
        39,
        "dpub",
        "A deferred message is counted as such, and delivered for the first time when its delay is over.",
        (
            *subscribed("t039", rdy=1),
            Advance(5.5),  # nsqd's scanner finds new channels every 5 seconds
            Send(dpub("t039", 1000, b"x"), by="B"),
            Expect(OK, by="B"),
            ExpectChannel("t039", "c", {"deferred_count": 1, "message_count": 1, "depth": 0, "in_flight_count": 0}),
            *after(1.0, Expect(Message(b"x"), late=1.5)),
        ),
    ),
    Transcript(
        39,
        "dpub_delay_counts_from_publish",
        "Where no channel is yet, a node lets the delay run from the publish.",
        (
            Send(dpub("t039b", 800, b"x")),
            Expect(OK),
            Advance(1.0),
            *subscribed("t039b", rdy=1),
            Differs(
                nsqd=after(0.8, Expect(Message(b"x"))),
                node=(Expect(Message(b"x")),),
                because="A delay is a promise about the publish; in nsqd it starts anew when a first channel appears.",
            ),
        ),
    ),
    *(
        truncated(37, f"dpub_{name}", b"DPUB t037b 0\n" + sent, payload)
        for name, sent, payload in (
            ("half_a_size", b"\x00", "E_BAD_MESSAGE DPUB failed to read message body size"),
            ("half_a_body", u32(9) + b"x", "E_BAD_MESSAGE DPUB failed to read message body"),
        )
    ),
    *refusals(
        37,
        (
            "dpub_delay_wraps_below_zero",
            b"DPUB t037b 9223372036855\n",
            "E_INVALID DPUB timeout 9223372036855 out of range 0-3600000",
        ),
        ("dpub_bad_topic", b"DPUB a$b 0\n", 'E_BAD_TOPIC DPUB topic name "a$b" is not valid'),
        ("dpub_empty_body", b"DPUB t037b 0\n" + u32(0), "E_BAD_MESSAGE DPUB invalid message body size 0"),
        ("dpub_too_big", b"DPUB t037b 0\n" + u32(MIB + 1), "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576"),
    ),
)

DELAY_WRAPS_AROUND = Transcript(
    37,
    "dpub_delay_wraps_around",
    "A delay whose nanoseconds do not fit 64 bits is refused by a node; nsqd takes what is left of it.",
    (
        Send(dpub("t037c", 18_446_744_073_710, b"x")),
        Differs(
            nsqd=(Expect(OK), *subscribed("t037c", rdy=1), Expect(Message(b"x"))),
            node=(Expect(error("E_INVALID DPUB timeout 18446744073710 out of range 0-3600000")), ExpectEof()),
            because="No client means half a millisecond by it.",
        ),
    ),
)

ON_A_SUBSCRIBED_CONNECTION = Transcript(
    40,
    "publish_on_subscribed_connection",
    "A consumer may publish, also after CLS, and is listed as a producer then.",
    (
        *subscribed("t040"),
        *published("t040b", b"1"),
        Send(mpub("t040b", b"2", b"3")),
        Expect(OK),
        Send(dpub("t040b", 0, b"4")),
        Expect(OK),
        Send(b"CLS\n"),
        Expect(CLOSE_WAIT),
        *published("t040b", b"5"),
        ExpectTopic("t040b", {"message_count": 5}),
        ExpectProducer({"pub_counts": [{"topic": "t040b", "count": 5}]}),
    ),
)

TRANSCRIPTS = (*PUB, *MPUB, *TRUNCATED_MPUB, *DPUB, DELAY_WRAPS_AROUND, ON_A_SUBSCRIBED_CONNECTION)
