"""Checks 69, 72 to 74, and of 142 to 151 what consumers notice: channels, sampling, pause, ephemeral names."""

from __future__ import annotations

from tests.interop.transcripts.steps import (
    OK,
    Between,
    Close,
    Differs,
    Expect,
    ExpectChannel,
    ExpectClient,
    ExpectEof,
    ExpectNoChannel,
    ExpectNoTopic,
    ExpectTopic,
    Manage,
    Message,
    Send,
    Silence,
    Transcript,
    error,
    server,
)
from tests.interop.transcripts.wire import dpub, holding, identified, mpub, published, subscribed

TOO_MANY_CONSUMERS = Transcript(
    69,
    "too_many_consumers",
    "A consumer over the channel's limit is refused; the first one stays.",
    (
        *holding("t069"),
        Send(b"SUB t069 c\n", by="B"),
        Expect(error("E_SUB_FAILED SUB failed consumers for t069:c exceeds limit of 1"), by="B"),
        ExpectEof(by="B"),
        Send(b"FIN {m}\n"),
        ExpectClient("t069", "c", {"finish_count": 1}),
        ExpectChannel("t069", "c", {"client_count": 1}),
    ),
    server(max_channel_consumers=1),
)

SAMPLING = Transcript(
    72,
    "sample_rate",
    "Of a sampled channel's messages about n per cent are delivered, and the others are gone.",
    (
        *identified(sample_rate=10),
        Send(mpub("t072", *[b"x"] * 2000)),
        Expect(OK),
        *subscribed("t072", rdy=2500),
        Differs(
            nsqd=(
                ExpectChannel("t072", "c", {"depth": 0, "message_count": 2000, "in_flight_count": Between(140, 300)}),
            ),
            node=(
                ExpectChannel("t072", "c", {"depth": 0, "message_count": 2000, "in_flight_count": Between(125, 275)}),
            ),
            because="Who asks for 10 per cent gets 10 from a node; nsqd's comparison is off by one and gives 11.",
        ),
        ExpectClient("t072", "c", {"sample_rate": 10}),
    ),
)

CHANNELS = (
    Transcript(
        73,
        "two_channels",
        "Each channel delivers its own copy, which has the same id and timestamp.",
        (
            *subscribed("t073", "c1", rdy=1),
            *subscribed("t073", "c2", rdy=1, by="B"),
            *published("t073", b"x", by="C"),
            Expect(Message(b"x", keep="m")),
            Expect(Message(b"x", again="m"), by="B"),
            Send(b"FIN {m}\n"),
            ExpectChannel("t073", "c1", {"in_flight_count": 0, "message_count": 1}),
            ExpectChannel("t073", "c2", {"in_flight_count": 1, "message_count": 1}),
        ),
    ),
    Transcript(
        74,
        "backlog_goes_to_the_first_channel",
        "What was published before there was a channel goes to the first one alone.",
        (
            *published("t074", b"x"),
            *subscribed("t074", "c1"),
            ExpectChannel("t074", "c1", {"depth": 1, "message_count": 1}),
            *subscribed("t074", "c2", by="B"),
            ExpectChannel("t074", "c2", {"depth": 0, "message_count": 0}),
        ),
    ),
    Transcript(
        73,
        "ids_of_two_topics",
        "A node's message ids are its own; in nsqd two topics may give out equal ones.",
        (
            *published("t073b", b"1"),
            *published("t073c", b"2"),
            *subscribed("t073b", rdy=1),
            *subscribed("t073c", rdy=1, by="B"),
            Expect(Message(b"1", keep="m")),
            Differs(
                nsqd=(Expect(Message(b"2"), by="B"),),
                node=(Expect(Message(b"2", unlike="m"), by="B"),),
                because="An id that says which message is meant, wherever it turns up, costs nothing.",
            ),
        ),
    ),
)

PAUSE = (
    Transcript(
        142,
        "paused_channel",
        "A paused channel hands nothing out, and takes answers; unpaused, it goes on at once.",
        (
            *holding("t142"),
            Manage("pause", "t142", "c"),
            Send(b"RDY 2\n"),
            *published("t142", b"y", by="B"),
            Silence(),
            ExpectChannel("t142", "c", {"depth": 1, "in_flight_count": 1, "paused": True}),
            Send(b"FIN {m}\n"),
            ExpectChannel("t142", "c", {"depth": 1, "in_flight_count": 0}),
            Silence(),
            Send(b"RDY 1\n"),
            Manage("unpause", "t142", "c"),
            Expect(Message(b"y")),
        ),
    ),
    Transcript(
        143,
        "paused_topic",
        "A paused topic keeps what is published until it is unpaused.",
        (
            *subscribed("t143", rdy=1),
            Manage("pause", "t143"),
            *published("t143", b"x", by="B"),
            Silence(),
            ExpectTopic("t143", {"depth": 1, "paused": True, "message_count": 1}),
            ExpectChannel("t143", "c", {"depth": 0, "message_count": 0, "paused": False}),
            Manage("unpause", "t143"),
            Expect(Message(b"x")),
            ExpectTopic("t143", {"depth": 0, "paused": False}),
        ),
    ),
)

EMPTY_AND_DELETE = (
    Transcript(
        145,
        "empty_channel",
        "A channel that is emptied forgets what waits, is deferred and in flight, and goes on.",
        (
            *holding("t145"),
            *published("t145", b"y", by="B"),
            Send(dpub("t145", 60_000, b"z"), by="B"),
            Expect(OK, by="B"),
            ExpectChannel("t145", "c", {"depth": 1, "in_flight_count": 1, "deferred_count": 1}),
            Manage("empty", "t145", "c"),
            ExpectChannel("t145", "c", {"depth": 0, "in_flight_count": 0, "deferred_count": 0, "message_count": 3}),
            ExpectClient("t145", "c", {"in_flight_count": 0, "ready_count": 1}),
            Send(b"FIN {m}\n"),
            Expect(error("E_FIN_FAILED FIN {m} failed ID not in flight")),
            *published("t145", b"new", by="B"),
            Expect(Message(b"new")),
        ),
    ),
    Transcript(
        146,
        "deleted_channel",
        "Who subscribes to a channel that is deleted is hung up on without a word.",
        (
            *holding("t146"),
            Manage("delete", "t146", "c"),
            ExpectEof(),
            ExpectNoChannel("t146", "c"),
        ),
    ),
    Transcript(
        146,
        "deleted_topic",
        "Who subscribes to a topic that is deleted is hung up on without a word; who only published to it is not.",
        (
            *published("t146b", b"x", by="B"),
            *subscribed("t146b", rdy=1),
            Expect(Message(b"x")),
            Manage("delete", "t146b"),
            ExpectEof(),
            ExpectNoTopic("t146b"),
            *published("t146b", b"x", by="B"),
            ExpectTopic("t146b", {"message_count": 1, "depth": 1}),
        ),
    ),
)

EPHEMERAL = (
    Transcript(
        150,
        "ephemeral_channel",
        "An ephemeral channel goes with its last client; its topic stays.",
        (
            *subscribed("t150", "c#ephemeral"),
            *subscribed("t150", "c#ephemeral", by="B"),
            Close(by="B"),
            ExpectChannel("t150", "c#ephemeral", {"client_count": 1}),
            Close(),
            ExpectNoChannel("t150", "c#ephemeral"),
        ),
    ),
    Transcript(
        151,
        "ephemeral_topic",
        "An ephemeral topic goes with its last channel.",
        (
            *subscribed("t151#ephemeral", "c#ephemeral", rdy=1),
            *published("t151#ephemeral", b"x", by="B"),
            Expect(Message(b"x")),
            Close(),
            ExpectNoTopic("t151#ephemeral"),
        ),
    ),
    Transcript(
        151,
        "lasting_channel_of_ephemeral_topic",
        "A channel of an ephemeral topic stays without clients unless it is ephemeral itself.",
        (
            *subscribed("t151b#ephemeral"),
            Close(),
            ExpectChannel("t151b#ephemeral", "c", {"client_count": 0}),
            *subscribed("t151b#ephemeral", by="B"),
            ExpectChannel("t151b#ephemeral", "c", {"client_count": 1}),
        ),
    ),
)

TRANSCRIPTS = (TOO_MANY_CONSUMERS, SAMPLING, *CHANNELS, *PAUSE, *EMPTY_AND_DELETE, *EPHEMERAL)
