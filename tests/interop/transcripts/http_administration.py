"""Checks 127 to 131 and 142 to 146: topics and channels made, paused, emptied and deleted over HTTP."""

from __future__ import annotations

from itertools import product

from tests.interop.transcripts.http_steps import Look
from tests.interop.transcripts.http_wire import done, exchange, post
from tests.interop.transcripts.publishing import A65
from tests.interop.transcripts.steps import (
    OK,
    Close,
    Expect,
    ExpectChannel,
    ExpectEof,
    ExpectNoChannel,
    ExpectNoTopic,
    ExpectTopic,
    Message,
    Send,
    Silence,
    Transcript,
    error,
)
from tests.interop.transcripts.wire import published, subscribed

BAD_TOPICS = ("", "a$", "a+b", A65, "%23ephemeral")
EXISTING = ("delete", "empty", "pause", "unpause")


def refused(check: int, name: str, target: str, status: int, code: str) -> Transcript:
    """POST without a body that is refused."""
    return exchange(check, name, f"{target[:60]} is answered {code}.", post(target, status, code, b""))


TOPICS = (
    exchange(
        127,
        "create_topic",
        "A topic is made once, however often that is asked for.",
        done("/topic/create?topic=h127"),
        done("/topic/create?topic=h127"),
        ExpectTopic("h127", {"channels": [], "message_count": 0, "paused": False}),
    ),
    exchange(
        127,
        "create_channel",
        "A channel is made once, however often that is asked for.",
        done("/topic/create?topic=h127b"),
        done("/channel/create?topic=h127b&channel=c"),
        done("/channel/create?topic=h127b&channel=c"),
        done("/channel/create?topic=h127b&channel=c%23ephemeral"),
        ExpectChannel("h127b", "c", {"clients": [], "paused": False}),
        ExpectChannel("h127b", "c#ephemeral", {"clients": [], "paused": False}),
    ),
    exchange(
        127,
        "create_channel_takes_backlog",
        "The first channel of a topic gets what waited in the topic.",
        post("/mpub?topic=h127c", body=b"a\nb"),
        done("/channel/create?topic=h127c&channel=c"),
        ExpectChannel("h127c", "c", {"depth": 2, "message_count": 2}),
        ExpectTopic("h127c", {"depth": 0, "message_count": 2}),
        done("/channel/create?topic=h127c&channel=d"),
        ExpectChannel("h127c", "d", {"depth": 0, "message_count": 0}),
    ),
    exchange(
        127,
        "first_parameter_counts",
        "Of a repeated parameter the first counts.",
        done("/topic/create?topic=h127d&topic=a$"),
        done("/channel/create?topic=h127d&channel=c&channel=d&topic=a$"),
        ExpectNoChannel("h127d", "d"),
        ExpectChannel("h127d", "c", {}),
    ),
    *(
        refused(128, f"{action}_topic_{name}", f"/topic/{action}?topic={topic}", 404, "TOPIC_NOT_FOUND")
        for action in ("delete", "pause", "unpause")
        for name, topic in (("unknown", "h128"), *((f"bad_{number}", bad) for number, bad in enumerate(BAD_TOPICS)))
    ),
    refused(128, "empty_topic_unknown", "/topic/empty?topic=h128", 404, "TOPIC_NOT_FOUND"),
    *(
        refused(129, f"{action}_topic_bad_{number}", f"/topic/{action}?topic={topic}", 400, "INVALID_TOPIC")
        for action in ("create", "empty")
        for number, topic in enumerate(BAD_TOPICS)
    ),
    *(
        refused(129, f"{action}_topic_{name}", f"/topic/{action}{query}", 400, code)
        for action in ("create", *EXISTING)
        for name, query, code in (
            ("missing", "", "MISSING_ARG_TOPIC"),
            ("other_case", "?TOPIC=h129", "MISSING_ARG_TOPIC"),
            ("bad_escape", "?topic=%zz", "INVALID_REQUEST"),
            ("semicolon", "?topic=h129;x=y", "INVALID_REQUEST"),
        )
    ),
)

CHANNELS = (
    exchange(
        130,
        "create_channel_of_unknown_topic",
        "A channel's topic is not made with it.",
        post("/channel/create?topic=h130&channel=c", 404, "TOPIC_NOT_FOUND", b""),
        ExpectNoTopic("h130"),
    ),
    *(
        refused(131, f"{action}_channel_{name}", f"/channel/{action}{query}", status, code)
        for action in ("create", *EXISTING)
        for name, query, status, code in (
            ("nothing", "", 400, "MISSING_ARG_TOPIC"),
            ("no_topic", "?channel=c$", 400, "MISSING_ARG_TOPIC"),
            ("bad_topic", "?topic=a$", 400, "INVALID_ARG_TOPIC"),
            ("empty_topic", "?topic=&channel=c", 400, "INVALID_ARG_TOPIC"),
            ("no_channel", "?topic=h131none", 400, "MISSING_ARG_CHANNEL"),
            ("bad_channel", "?topic=h131none&channel=c$", 400, "INVALID_ARG_CHANNEL"),
            ("empty_channel", "?topic=h131none&channel", 400, "INVALID_ARG_CHANNEL"),
            ("long_channel", f"?topic=h131none&channel={A65}", 400, "INVALID_ARG_CHANNEL"),
            ("unknown_topic", "?topic=h131none&channel=c", 404, "TOPIC_NOT_FOUND"),
            ("bad_escape", "?topic=h131none&channel=%", 400, "INVALID_REQUEST"),
        )
    ),
    *(
        exchange(
            131,
            f"{action}_channel_unknown",
            "An unknown channel of a topic that is there is not found, and not made.",
            done(f"/topic/create?topic=h131{action}"),
            post(f"/channel/{action}?topic=h131{action}&channel=no", 404, "CHANNEL_NOT_FOUND", b""),
            ExpectNoChannel(f"h131{action}", "no"),
        )
        for action in EXISTING
    ),
)

PAUSING = (
    exchange(
        142,
        "pause_channel",
        "A paused channel delivers nothing; once it goes on, it delivers at once.",
        subscribed("h142", rdy=1),
        done("/channel/pause?topic=h142&channel=c"),
        done("/channel/pause?topic=h142&channel=c"),
        post("/pub?topic=h142"),
        ExpectChannel("h142", "c", {"depth": 1, "in_flight_count": 0, "paused": True}),
        Silence(),
        done("/channel/unpause?topic=h142&channel=c"),
        Expect(Message(b"x")),
        done("/channel/unpause?topic=h142&channel=c"),
        ExpectChannel("h142", "c", {"depth": 0, "in_flight_count": 1, "paused": False}),
    ),
    exchange(
        142,
        "pause_one_of_two_channels",
        "Pausing a channel is no matter of the others.",
        subscribed("h142b", "c", rdy=1),
        subscribed("h142b", "d", rdy=1, by="B"),
        done("/channel/pause?topic=h142b&channel=c"),
        post("/pub?topic=h142b"),
        Expect(Message(b"x"), by="B"),
        Silence(),
    ),
    exchange(
        143,
        "pause_topic",
        "A paused topic keeps its messages from its channels; once it goes on, they move.",
        subscribed("h143", rdy=1),
        done("/topic/pause?topic=h143"),
        post("/pub?topic=h143"),
        ExpectTopic("h143", {"depth": 1, "paused": True}),
        ExpectChannel("h143", "c", {"depth": 0, "in_flight_count": 0, "paused": False}),
        Silence(),
        done("/topic/unpause?topic=h143"),
        Expect(Message(b"x")),
        ExpectTopic("h143", {"depth": 0, "paused": False}),
    ),
    exchange(
        143,
        "pause_topic_with_backlog_in_channel",
        "A paused topic's channels go on delivering what they have.",
        done("/topic/create?topic=h143b"),
        done("/channel/create?topic=h143b&channel=c"),
        post("/pub?topic=h143b"),
        ExpectChannel("h143b", "c", {"depth": 1}),
        done("/topic/pause?topic=h143b"),
        subscribed("h143b", rdy=1),
        Expect(Message(b"x")),
    ),
)

EMPTYING = (
    exchange(
        145,
        "empty_channel_over_http",
        "Emptying a channel drops what waits, what is deferred and what is in flight; later messages come.",
        subscribed("h145", rdy=1),
        post("/pub?topic=h145", body=b"held"),
        Expect(Message(b"held", keep="held")),
        post("/pub?topic=h145", body=b"waits"),
        post("/pub?topic=h145&defer=60000", body=b"later"),
        ExpectChannel("h145", "c", {"depth": 1, "in_flight_count": 1, "deferred_count": 1}),
        done("/channel/empty?topic=h145&channel=c"),
        ExpectChannel("h145", "c", {"depth": 0, "in_flight_count": 0, "deferred_count": 0, "message_count": 3}),
        Send(b"FIN {held}\n"),
        Expect(error(b"E_FIN_FAILED FIN {held} failed ID not in flight")),
        post("/pub?topic=h145", body=b"next"),
        Expect(Message(b"next")),
    ),
    exchange(
        145,
        "empty_channel_of_busy_consumer",
        "Who held as much as it asked for when the channel was emptied gets the next message at once.",
        subscribed("h145busy", rdy=1),
        post("/pub?topic=h145busy", body=b"held"),
        Expect(Message(b"held")),
        done("/channel/empty?topic=h145busy&channel=c"),
        post("/pub?topic=h145busy", body=b"next"),
        Expect(Message(b"next")),
    ),
    exchange(
        145,
        "empty_topic",
        "Emptying a topic drops what waits in it, and nothing of its channels.",
        post("/mpub?topic=h145b", body=b"a\nb"),
        done("/topic/empty?topic=h145b"),
        ExpectTopic("h145b", {"depth": 0, "message_count": 2}),
        done("/channel/create?topic=h145b&channel=c"),
        post("/pub?topic=h145b"),
        ExpectChannel("h145b", "c", {"depth": 1}),
        done("/topic/empty?topic=h145b"),
        ExpectChannel("h145b", "c", {"depth": 1}),
        subscribed("h145b", rdy=1),
        Expect(Message(b"x")),
        Silence(),
    ),
    exchange(
        145,
        "empty_paused",
        "What is paused can be emptied, and stays paused.",
        subscribed("h145c", rdy=5),
        done("/topic/pause?topic=h145c"),
        post("/pub?topic=h145c"),
        done("/topic/empty?topic=h145c"),
        ExpectTopic("h145c", {"depth": 0, "paused": True}),
        done("/topic/unpause?topic=h145c"),
        Silence(),
    ),
)

DELETING = (
    *(
        exchange(
            146,
            f"delete_{what}_with_subscriber",
            "Whoever is subscribed to what is deleted is hung up on, without a word.",
            subscribed(f"h146{what}", rdy=5),
            done(f"/{what}/delete?topic=h146{what}&channel=c"),
            ExpectEof(),
            gone,
            post(f"/{what}/delete?topic=h146{what}&channel=c", 404, f"{what.upper()}_NOT_FOUND", b""),
        )
        for what, gone in (("topic", ExpectNoTopic("h146topic")), ("channel", ExpectNoChannel("h146channel", "c")))
    ),
    exchange(
        146,
        "delete_topic_with_all_it_has",
        "A topic goes with its channels and messages, and begins anew if it is made again.",
        done("/topic/create?topic=h146b"),
        done("/channel/create?topic=h146b&channel=c"),
        post("/mpub?topic=h146b", body=b"a\nb"),
        done("/topic/delete?topic=h146b"),
        ExpectNoTopic("h146b"),
        done("/topic/create?topic=h146b"),
        ExpectTopic("h146b", {"channels": [], "message_count": 0, "message_bytes": 0, "depth": 0}),
    ),
    exchange(
        146,
        "delete_channel_with_all_it_has",
        "A channel goes with its messages, and begins anew if it is made again.",
        subscribed("h146c", rdy=1),
        post("/mpub?topic=h146c", body=b"a\nb"),
        Expect(Message(b"a")),
        done("/channel/delete?topic=h146c&channel=c"),
        ExpectEof(),
        ExpectNoChannel("h146c", "c"),
        subscribed("h146c", rdy=5, by="B"),
        ExpectChannel("h146c", "c", {"message_count": 0, "depth": 0, "in_flight_count": 0}),
        Silence(by="B"),
    ),
    exchange(
        146,
        "delete_last_ephemeral_channel",
        "An ephemeral channel goes with its last client, its topic stays.",
        subscribed("h146d", "c#ephemeral", rdy=1),
        ExpectChannel("h146d", "c#ephemeral", {"client_count": 1}),
        Close(),
        ExpectNoChannel("h146d", "c#ephemeral"),
    ),
    exchange(
        146,
        "publisher_stays",
        "Who only published to a topic that is deleted is not disturbed.",
        published("h146e", b"x"),
        done("/topic/delete?topic=h146e"),
        published("h146e", b"y"),
        ExpectTopic("h146e", {"message_count": 1}),
    ),
)

BOTH = tuple(
    exchange(
        131,
        f"escaped_{topic_hash}_{channel_hash}",
        "Names with #ephemeral are sent with an escape; without it a client cuts them off.",
        post(f"/pub?topic=h131{number}{topic_hash}"),
        done(f"/channel/create?topic=h131{number}{topic_hash}&channel=c{channel_hash}"),
        Look(
            f"/stats?format=json&topic=h131{number}{topic_hash}&channel=c{channel_hash}",
            {"topics": [{"channels": [{"depth": 1}]}]},
        ),
        Send(f"SUB h131{number}{topic_hash.replace('%23', '#')} c{channel_hash.replace('%23', '#')}\nRDY 1\n".encode()),
        Expect(OK),
        Expect(Message(b"x")),
    )
    for number, (topic_hash, channel_hash) in enumerate(product(("", "%23ephemeral"), repeat=2))
)

TRANSCRIPTS: tuple[Transcript, ...] = (*TOPICS, *CHANNELS, *PAUSING, *EMPTYING, *DELETING, *BOTH)
