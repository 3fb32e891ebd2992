"""Checks 57 to 65, 70 and 71: REQ, timeouts, TOUCH, and how long the output buffer keeps a message."""

from __future__ import annotations

from tests.interop.transcripts.steps import (
    CLOSE_WAIT,
    OK,
    Advance,
    Close,
    Differs,
    Expect,
    ExpectChannel,
    ExpectClient,
    ExpectEof,
    HalfClose,
    Message,
    OnVirtualTime,
    Send,
    Silence,
    Transcript,
    after,
    error,
    server,
)
from tests.interop.transcripts.wire import holding, identified, pub, published, subscribed

# nsqd's scanner finds new channels every 5 seconds; only then are its timeouts about exact.
UNTIL_NSQD_KNOWS_THE_CHANNEL = Advance(5.5)
LATE = 1.0

REQUEUE = (
    Transcript(
        57,
        "req_at_once",
        "A message that is requeued without delay comes again, as the same and with one attempt more.",
        (
            *holding("t057"),
            Send(b"REQ {m} 0\n"),
            Expect(Message(b"x", attempts=2, again="m")),
            ExpectChannel("t057", "c", {"requeue_count": 1, "message_count": 1, "timeout_count": 0}),
            ExpectClient("t057", "c", {"requeue_count": 1, "message_count": 2, "in_flight_count": 1}),
        ),
    ),
    Transcript(
        57,
        "req_waits_its_turn",
        "A message that is requeued without delay waits its turn; in nsqd that is the last, in a node every other.",
        (
            *published("t057b", b"1", b"2"),
            *subscribed("t057b", rdy=1),
            Expect(Message(b"1", keep="first")),
            Send(b"REQ {first} 0\n"),
            Differs(
                nsqd=(
                    Expect(Message(b"2", keep="second")),
                    Send(b"FIN {second}\n"),
                    Expect(Message(b"1", attempts=2, again="first")),
                ),
                node=(
                    Expect(Message(b"1", attempts=2, again="first")),
                    Send(b"FIN {first}\n"),
                    Expect(Message(b"2")),
                ),
                because="Behind a long backlog a requeued message would starve; a node hands out one of each in turn.",
            ),
        ),
    ),
    Transcript(
        58,
        "req_with_delay",
        "A message that is requeued with a delay is deferred so long.",
        (
            *subscribed("t058", rdy=1),
            UNTIL_NSQD_KNOWS_THE_CHANNEL,
            *published("t058", b"x", by="B"),
            Expect(Message(b"x", keep="m")),
            Send(b"REQ {m} 300\n"),
            ExpectChannel("t058", "c", {"deferred_count": 1, "in_flight_count": 0, "depth": 0, "requeue_count": 1}),
            *after(0.3, Expect(Message(b"x", attempts=2, again="m"), late=LATE)),
            ExpectChannel("t058", "c", {"deferred_count": 0, "in_flight_count": 1}),
        ),
    ),
    Transcript(
        59,
        "req_delay_is_clamped",
        "A delay over max-req-timeout is cut down to it without a word.",
        (
            *holding("t059"),
            Send(b"REQ {m} 99999999\n"),
            ExpectChannel("t059", "c", {"deferred_count": 1, "in_flight_count": 0}),
            Silence(),
            Close(),
            OnVirtualTime(
                (
                    Advance(3599.0),
                    *subscribed("t059", rdy=1, by="B"),
                    *after(1.0, Expect(Message(b"x", attempts=2, again="m"), by="B"), by="B"),
                )
            ),
        ),
    ),
)

TIMEOUT = (
    Transcript(
        60,
        "timeout",
        "A message that is not answered in time is counted, waits again, and is nobody's any more.",
        (
            *identified(msg_timeout=1000),
            *holding("t060"),
            Send(b"RDY 0\n"),
            Advance(0.5),
            ExpectChannel("t060", "c", {"timeout_count": 0, "in_flight_count": 1, "depth": 0}),
            *after(0.5),
            ExpectChannel("t060", "c", {"timeout_count": 1, "requeue_count": 0, "in_flight_count": 0, "depth": 1}),
            ExpectClient("t060", "c", {"in_flight_count": 0, "message_count": 1}),
            Send(b"FIN {m}\n"),
            Expect(error("E_FIN_FAILED FIN {m} failed ID not in flight")),
        ),
    ),
    Transcript(
        61,
        "timeout_and_again",
        "A message that is not answered comes again when its time is over.",
        (
            *identified(msg_timeout=1000),
            *subscribed("t061", rdy=1),
            UNTIL_NSQD_KNOWS_THE_CHANNEL,
            *published("t061", b"x", by="B"),
            Expect(Message(b"x", keep="m")),
            *after(1.0, Expect(Message(b"x", attempts=2, again="m"), late=LATE)),
            *after(1.0, Expect(Message(b"x", attempts=3, again="m"), late=LATE)),
            Send(b"FIN {m}\n"),
            ExpectChannel("t061", "c", {"timeout_count": 2, "message_count": 1, "in_flight_count": 0}),
        ),
    ),
    Transcript(
        62,
        "timeout_on_new_channel",
        "On a channel that is new, nsqd may notice a timeout late; a node never does.",
        (
            *identified(msg_timeout=1000),
            *holding("t062"),
            Silence(0.999),
            Advance(0.001),
            Differs(
                nsqd=(Expect(Message(b"x", attempts=2, again="m"), late=7.0),),
                node=(Expect(Message(b"x", attempts=2, again="m")),),
                because="nsqd looks for timeouts every 100 ms, and for new channels every 5 s; a node has timers.",
            ),
        ),
    ),
    Transcript(
        65,
        "disconnect",
        "What a client held when it went stays in flight until its time is over.",
        (
            *subscribed("t065", by="B"),
            UNTIL_NSQD_KNOWS_THE_CHANNEL,
            *identified(msg_timeout=1000),
            *holding("t065"),
            Close(),
            Send(b"RDY 1\n", by="B"),
            ExpectChannel("t065", "c", {"client_count": 1, "in_flight_count": 1, "depth": 0}),
            *after(1.0, Expect(Message(b"x", attempts=2, again="m"), by="B", late=LATE), by="B"),
            ExpectChannel("t065", "c", {"timeout_count": 1, "requeue_count": 0, "in_flight_count": 1}),
        ),
    ),
)

DIES_HOLDING = tuple(
    Transcript(
        65,
        name,
        "What a client held stays in flight until its time is over, however the connection ended.",
        (
            *identified(msg_timeout=1000),
            *holding(topic),
            *end,
            ExpectChannel(topic, "c", {"client_count": 0, "in_flight_count": 1, "depth": 0}),
            *subscribed(topic, rdy=1, by="B"),
            Silence(0.5, by="B"),
            Advance(0.5),
            Expect(Message(b"x", attempts=2, again="m"), by="B"),
            ExpectChannel(topic, "c", {"timeout_count": 1, "requeue_count": 0, "in_flight_count": 1}),
        ),
    )
    for name, topic, end in (
        ("fatal_error", "t065b", (Send(b"ASDF\n"), Expect(error("E_INVALID invalid command ASDF")), ExpectEof())),
        ("half_close", "t065c", (HalfClose(), ExpectEof())),
        ("cls_and_disconnect", "t065d", (Send(b"CLS\n"), Expect(CLOSE_WAIT), Close())),
    )
)

GONE = tuple(
    Transcript(
        65,
        f"nothing_more_after_{name}",
        "Who is hung up on gets no more messages, however high its RDY was: the next consumer does.",
        (
            *subscribed(topic, rdy=5),
            *end,
            *subscribed(topic, rdy=1, by="B"),
            *published(topic, b"1", b"2", b"3", by="C"),
            Expect(Message(b"1", keep="first"), by="B"),
            Send(b"FIN {first}\n", by="B"),
            Expect(Message(b"2", keep="second"), by="B"),
            Send(b"FIN {second}\n", by="B"),
            Expect(Message(b"3"), by="B"),
            ExpectChannel(topic, "c", {"in_flight_count": 1, "depth": 0}),
        ),
    )
    for name, topic, end in (
        ("fatal_error", "t065e", (Send(b"ASDF\n"), Expect(error("E_INVALID invalid command ASDF")), ExpectEof())),
        ("half_close", "t065f", (HalfClose(), ExpectEof())),
    )
)

TOUCH = (
    Transcript(
        63,
        "touch_is_capped",
        "However often a message is touched, max-msg-timeout after its delivery it comes again.",
        (
            *subscribed("t063", rdy=1),
            UNTIL_NSQD_KNOWS_THE_CHANNEL,
            *published("t063", b"x", by="B"),
            Expect(Message(b"x", keep="m")),
            *((Silence(0.5), Send(b"TOUCH {m}\n")) * 9),
            *after(0.5, Expect(Message(b"x", attempts=2, again="m"), late=LATE)),
        ),
        server(msg_timeout=2.0, max_msg_timeout=5.0),
    ),
    Transcript(
        64,
        "touch",
        "A touch gives a message the connection's timeout once more, from now.",
        (
            *identified(msg_timeout=3000),
            *subscribed("t064", rdy=1),
            UNTIL_NSQD_KNOWS_THE_CHANNEL,
            *published("t064", b"x", by="B"),
            Expect(Message(b"x", keep="m")),
            Silence(1.0),
            Send(b"TOUCH {m}\n"),
            *after(3.0, Expect(Message(b"x", attempts=2, again="m"), late=LATE)),
        ),
    ),
)

OUTPUT_BUFFER = (
    Transcript(
        70,
        "buffered",
        "A message for a consumer with room for more leaves within output-buffer-timeout.",
        (*subscribed("t070", rdy=10), *published("t070", b"x", by="B"), Advance(0.25), Expect(Message(b"x"), late=0.5)),
    ),
    Transcript(
        70,
        "rdy_one_is_not_buffered",
        "A message that makes its consumer full leaves at once.",
        (*subscribed("t070b", rdy=1), *published("t070b", b"x", by="B"), Expect(Message(b"x"), late=0.2)),
    ),
    Transcript(
        70,
        "no_output_buffer",
        "With an output buffer of -1, a message leaves at once.",
        (
            *identified(output_buffer_size=-1),
            *subscribed("t070c", rdy=10),
            *published("t070c", b"x", by="B"),
            Expect(Message(b"x"), late=0.2),
        ),
    ),
    Transcript(
        70,
        "full_output_buffer",
        "An output buffer that is full leaves before its time, if only with what had room in it.",
        (
            *identified(output_buffer_size=64, output_buffer_timeout=30_000),
            *subscribed("t070d", rdy=10),
            *published("t070d", b"1" * 64, b"2" * 64, by="B"),
            Expect(Message(b"1" * 64)),
        ),
    ),
    Transcript(
        71,
        "no_output_buffer_timeout",
        "Without output-buffer-timeout, a message waits in the buffer until something else is sent.",
        (
            *identified(output_buffer_timeout=-1),
            *subscribed("t071", rdy=10),
            *published("t071", b"x", by="B"),
            ExpectChannel("t071", "c", {"in_flight_count": 1}),
            Silence(3.0),
            Send(pub("t071b", b"y")),
            Expect(Message(b"x")),
            Expect(OK),
        ),
    ),
)

TRANSCRIPTS = (*REQUEUE, *TIMEOUT, *DIES_HOLDING, *GONE, *TOUCH, *OUTPUT_BUFFER)
