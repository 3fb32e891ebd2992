"""Checks 41 to 56 and 66 to 68: SUB, RDY, who may answer a message, CLS.

What has to do with time is in `timeouts.py`, with several consumers in `channels.py`.
"""

from __future__ import annotations

from tests.interop.transcripts.steps import (
    CLOSE_WAIT,
    OK,
    Expect,
    ExpectChannel,
    ExpectClient,
    Message,
    Send,
    Silence,
    Transcript,
    error,
)
from tests.interop.transcripts.wire import (
    UNKNOWN_ID,
    holding,
    pub,
    published,
    refusal,
    refusals,
    subscribed,
)

SUB_WITHOUT_IDENTIFY = Transcript(
    41,
    "sub_without_identify",
    "A client that never said who it is goes by its address.",
    (
        *subscribed("t041"),
        ExpectClient(
            "t041",
            "c",
            {
                "client_id": "127.0.0.1",
                "hostname": "127.0.0.1",
                "user_agent": "",
                "state": 3,
                "ready_count": 0,
                "in_flight_count": 0,
                "message_count": 0,
                "finish_count": 0,
                "requeue_count": 0,
                "sample_rate": 0,
                "tls": False,
                "snappy": False,
                "deflate": False,
                "authed": False,
            },
        ),
        ExpectChannel("t041", "c", {"client_count": 1}),
    ),
)

SUB_REFUSALS = (
    *refusals(42, ("sub_without_channel", b"SUB t042\n", "E_INVALID SUB insufficient number of parameters")),
    *refusals(
        43,
        ("sub_bad_topic", b"SUB t$ c\n", 'E_BAD_TOPIC SUB topic name "t$" is not valid'),
        ("sub_bad_channel", b"SUB t043 c$\n", 'E_BAD_CHANNEL SUB channel name "c$" is not valid'),
        ("sub_empty_channel", b"SUB t043 \n", 'E_BAD_CHANNEL SUB channel name "" is not valid'),
    ),
    *refusals(44, ("sub_twice", b"SUB t044 c\n", "E_INVALID cannot SUB in current state"), before=subscribed("t044")),
    *refusals(
        45,
        *(
            (
                f"{command.split()[0].lower()}_before_sub",
                command.encode() + b"\n",
                f"E_INVALID cannot {name} in current state",
            )
            for command in ("RDY 1", "FIN 0123456789abcdef", "REQ 0123456789abcdef 0", "TOUCH 0123456789abcdef", "CLS")
            for name in command.split()[:1]
        ),
    ),
)

RDY_REFUSALS = refusals(
    46, ("rdy_too_high", b"RDY 2501\n", "E_INVALID RDY count 2501 out of range 0-2500"), before=subscribed("t046")
) + refusals(
    47,
    ("rdy_negative", b"RDY -1\n", "E_INVALID RDY could not parse count -1"),
    ("rdy_wraps", b"RDY 18446744073709551615\n", "E_INVALID RDY count -1 out of range 0-2500"),
    ("rdy_letters", b"RDY abc\n", "E_INVALID RDY could not parse count abc"),
    before=subscribed("t047"),
)

RDY = (
    Transcript(
        46,
        "rdy_highest",
        "RDY goes up to max-rdy-count.",
        (*subscribed("t046b", rdy=2500), ExpectClient("t046b", "c", {"ready_count": 2500})),
    ),
    Transcript(
        48,
        "rdy_without_count",
        "RDY without a count is RDY 1, a ceiling that a FIN makes room under.",
        (
            *published("t048", b"1", b"2", b"3"),
            *subscribed("t048"),
            Send(b"RDY\n"),
            Expect(Message(b"1", keep="first")),
            Silence(),
            Send(b"FIN {first}\n"),
            Expect(Message(b"2")),
            Silence(),
        ),
    ),
    Transcript(
        49,
        "rdy_empty_count",
        "RDY with an empty count is RDY 0.",
        (
            *published("t049", b"x"),
            *subscribed("t049"),
            Send(b"RDY \n"),
            Silence(),
            ExpectClient("t049", "c", {"ready_count": 0, "in_flight_count": 0}),
        ),
    ),
    Transcript(
        50,
        "rdy_is_a_ceiling",
        "A consumer holds as many messages as its RDY allows, and RDY recalls none.",
        (
            *published("t050", b"1", b"2", b"3", b"4", b"5"),
            *subscribed("t050", rdy=2),
            Expect(Message(b"1", keep="first")),
            Expect(Message(b"2")),
            Silence(),
            ExpectChannel("t050", "c", {"depth": 3, "in_flight_count": 2}),
            Send(b"RDY 4\n"),
            Expect(Message(b"3")),
            Expect(Message(b"4")),
            Silence(),
            Send(b"RDY 0\nFIN {first}\n"),
            Silence(),
            ExpectChannel("t050", "c", {"depth": 1, "in_flight_count": 3}),
            ExpectClient("t050", "c", {"ready_count": 0, "in_flight_count": 3, "message_count": 4, "finish_count": 1}),
        ),
    ),
)

MESSAGE = Transcript(
    51,
    "message",
    "A message is its timestamp, its attempts, 16 hexadecimal digits of id, and its body.",
    (*holding("t051", b"\x00 \n\xff"), ExpectClient("t051", "c", {"in_flight_count": 1, "message_count": 1})),
)

UNKNOWN_IDS = Transcript(
    52,
    "unknown_ids",
    "An id that is not in flight is an error for which nobody is hung up on.",
    (
        *subscribed("t052"),
        Send(b"FIN %s\nFIN %s\nREQ %s 0\nTOUCH %s\n" % (UNKNOWN_ID, UNKNOWN_ID, UNKNOWN_ID, UNKNOWN_ID)),
        Expect(error("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")),
        Expect(error("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")),
        Expect(error("E_REQ_FAILED REQ 0123456789abcdef failed ID not in flight")),
        Expect(error("E_TOUCH_FAILED TOUCH 0123456789abcdef failed ID not in flight")),
        *published("t052", b"x"),
    ),
)

ANSWER_REFUSALS = (
    *refusals(
        53,
        ("fin_short_id", b"FIN abc\n", "E_INVALID invalid message ID"),
        ("fin_empty_id", b"FIN \n", "E_INVALID invalid message ID"),
        ("req_long_id", b"REQ 0123456789abcdef0 0\n", "E_INVALID invalid message ID"),
        ("touch_short_id", b"TOUCH x\n", "E_INVALID invalid message ID"),
        before=subscribed("t053"),
    ),
    *refusals(
        54,
        ("fin_without_id", b"FIN\n", "E_INVALID FIN insufficient number of params"),
        ("req_without_delay", b"REQ 0123456789abcdef\n", "E_INVALID REQ insufficient number of params"),
        ("touch_without_id", b"TOUCH\n", "E_INVALID TOUCH insufficient number of params"),
        before=subscribed("t054"),
    ),
    *refusals(
        55,
        ("req_delay_of_letters", b"REQ 0123456789abcdef x\n", "E_INVALID REQ could not parse timeout x"),
        ("req_negative_delay", b"REQ 0123456789abcdef -1\n", "E_INVALID REQ could not parse timeout -1"),
        before=subscribed("t055"),
    ),
)

OWNERSHIP = Transcript(
    56,
    "ownership",
    "Only who holds a message may answer it, and an attempt by another changes nothing.",
    (
        *holding("t056"),
        *subscribed("t056", by="B"),
        Send(b"FIN {m}\nREQ {m} 0\nTOUCH {m}\n", by="B"),
        Expect(error("E_FIN_FAILED FIN {m} failed client does not own message"), by="B"),
        Expect(error("E_REQ_FAILED REQ {m} failed client does not own message"), by="B"),
        Expect(error("E_TOUCH_FAILED TOUCH {m} failed client does not own message"), by="B"),
        ExpectChannel("t056", "c", {"in_flight_count": 1, "requeue_count": 0}),
        Send(b"FIN {m}\n"),
        ExpectChannel("t056", "c", {"in_flight_count": 0, "depth": 0}),
        ExpectClient("t056", "c", {"finish_count": 1, "in_flight_count": 0}),
        ExpectClient("t056", "c", {"finish_count": 0, "requeue_count": 0, "in_flight_count": 0}, by="B"),
        Silence(),
    ),
)

CLS = (
    Transcript(
        66,
        "cls",
        "After CLS no message comes, but what is held may be answered, and the server does not hang up.",
        (
            *holding("t066"),
            Send(b"CLS\n"),
            Expect(CLOSE_WAIT),
            *published("t066", b"y", by="B"),
            Silence(),
            Send(b"TOUCH {m}\nFIN {m}\n"),
            ExpectChannel("t066", "c", {"in_flight_count": 0, "depth": 1, "client_count": 1}),
            ExpectClient("t066", "c", {"state": 4, "ready_count": 0, "finish_count": 1}),
            Silence(),
            Send(b"NOP\n" + pub("t066b", b"x")),
            Expect(OK),
        ),
    ),
    Transcript(
        67,
        "rdy_after_cls",
        "RDY after CLS is ignored, whatever its count.",
        (
            *published("t067", b"x"),
            *subscribed("t067"),
            Send(b"CLS\n"),
            Expect(CLOSE_WAIT),
            Send(b"RDY 5\nRDY 99999\nRDY abc\n"),
            Silence(),
            *published("t067b", b"x"),
        ),
    ),
    refusal(
        68,
        "cls_twice",
        b"CLS\n",
        "E_INVALID cannot CLS in current state",
        before=(*subscribed("t068"), Send(b"CLS\n"), Expect(CLOSE_WAIT)),
    ),
    *refusals(
        68,
        ("sub_after_cls", b"SUB t068 d\n", "E_INVALID cannot SUB in current state"),
        before=(*subscribed("t068"), Send(b"CLS\n"), Expect(CLOSE_WAIT)),
    ),
)

TRANSCRIPTS = (
    SUB_WITHOUT_IDENTIFY,
    *SUB_REFUSALS,
    *RDY_REFUSALS,
    *RDY,
    MESSAGE,
    UNKNOWN_IDS,
    *ANSWER_REFUSALS,
    OWNERSHIP,
    *CLS,
)
