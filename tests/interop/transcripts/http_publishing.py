"""Checks 114 to 126: /pub and /mpub."""

from __future__ import annotations

from tests.interop.transcripts.http_steps import JSON, TEXT, Answer, ConnectHttp, Request
from tests.interop.transcripts.http_wire import ask, exchange, message, post
from tests.interop.transcripts.steps import (
    OK,
    Advance,
    Differs,
    Expect,
    ExpectChannel,
    ExpectEof,
    ExpectNoTopic,
    ExpectTopic,
    HalfClose,
    Message,
    Send,
    Silence,
    Step,
    Transcript,
    server,
)
from tests.interop.transcripts.wire import batch, sized, subscribed, u32

MIB = 1 << 20
MAX_BODY = 5 * MIB
A64, A65 = "a" * 64, "a" * 65
INVALID = ("%zz", "%", "%4", "a;b", "a%0", "a&%zz=1", "a&b;c")


def refused(check: int, name: str, target: str, status: int, code: str, body: bytes = b"x") -> Transcript:
    """POST that is refused."""
    return exchange(check, name, f"{target[:60]} is answered {code}.", post(target, status, code, body))


def queued(topic: str, *bodies: bytes) -> tuple[Step, ...]:
    """The messages of a topic are these."""
    counts = {"message_count": len(bodies), "message_bytes": sum(map(len, bodies)), "depth": len(bodies)}
    messages = (Expect(Message(body)) for body in bodies)
    return ExpectTopic(topic, counts), *subscribed(topic, rdy=max(1, len(bodies))), *messages, Silence()


def takes(check: int, name: str, target: str, body: bytes, *bodies: bytes, rule: str = "") -> Transcript:
    """POST that is answered OK, and the messages that it makes."""
    topic = target.partition("topic=")[2].partition("&")[0]
    made = f"{len(bodies)} message{'' if len(bodies) == 1 else 's'}"
    rule = rule or f"The body of {target[:60]} makes {made}."
    return exchange(check, name, rule, post(target, body=body), queued(topic, *bodies))


PUB = (
    takes(114, "pub", "/pub?topic=h114", b"x", b"x"),
    takes(114, "pub_any_bytes", "/pub?topic=h114b", b"\0\n\r\n\xff", b"\0\n\r\n\xff"),
    takes(114, "pub_longest_topic", f"/pub?topic=h{A64[1:]}", b"x", b"x"),
    exchange(
        114,
        "pub_ephemeral",
        "An ephemeral topic is named with an escape.",
        post("/pub?topic=h114%23ephemeral"),
        queued("h114#ephemeral", b"x"),
    ),
    exchange(
        114,
        "pub_escaped_name",
        "Escapes in a query are taken for what they stand for, in names of parameters too.",
        post("/pub?%74opic=h%31%314esc"),
        queued("h114esc", b"x"),
    ),
    exchange(
        114,
        "pub_repeated_parameter",
        "Of a repeated parameter the first counts; those that nobody knows do not.",
        post("/pub?x&=&&y=1&topic=h114r&topic=other&topic=a$"),
        queued("h114r", b"x"),
        ExpectNoTopic("other"),
    ),
    exchange(
        114,
        "pub_to_consumer",
        "What comes over HTTP leaves over TCP at once.",
        subscribed("h114consumer", rdy=1),
        post("/pub?topic=h114consumer", body=b"one"),
        Expect(Message(b"one", keep="one")),
        Send(b"FIN {one}\n"),
        post("/pub?topic=h114consumer", body=b"two"),
        Expect(Message(b"two", unlike="one")),
    ),
    refused(115, "pub_empty", "/pub?topic=h115", 400, "MSG_EMPTY", b""),
    refused(115, "pub_empty_without_topic", "/pub", 400, "MSG_EMPTY", b""),
    refused(115, "pub_empty_with_bad_query", "/pub?topic=%zz", 400, "MSG_EMPTY", b""),
    exchange(
        115,
        "pub_empty_makes_no_topic",
        "A publish that is refused before its topic is looked at makes none.",
        post("/pub?topic=h115none", 400, "MSG_EMPTY", b""),
        ExpectNoTopic("h115none"),
    ),
    exchange(
        115,
        "pub_no_chunks",
        "No chunks are an empty body.",
        ConnectHttp(),
        Send(b"POST /pub?topic=h115 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "H"),
        Answer(400, message("MSG_EMPTY"), JSON),
    ),
    *(
        refused(116, f"pub_without_topic_{name}", f"/pub{query}", 400, "MISSING_ARG_TOPIC")
        for name, query in (
            ("at_all", ""),
            ("empty_query", "?"),
            ("other_case", "?Topic=h116"),
            ("other_parameter", "?channel=c"),
            ("with_defer", "?defer=abc"),
        )
    ),
    *(
        refused(117, f"pub_bad_topic_{name}", f"/pub?topic{value}", 400, "INVALID_TOPIC")
        for name, value in (
            ("empty", "="),
            ("no_value", ""),
            ("dollar", "=a$"),
            ("blank", "=a+b"),
            ("escaped_blank", "=a%20b"),
            ("newline", "=a%0A"),
            ("nul", "=a%00"),
            ("too_long", f"={A65}"),
            ("only_ephemeral", "=%23ephemeral"),
            ("ephemeral_too_long", f"={A64[:55]}%23ephemeral"),
            ("not_ascii", "=%C3%A9"),
            ("not_utf8", "=%FF"),
            ("question_mark", "=a?b"),
            ("slash", "=a/b"),
            ("first_of_two", "=&topic=h117"),
        )
    ),
    *(
        refused(118, f"{path}_bad_query_{number}", f"/{path}?topic={value}", 400, "INVALID_REQUEST")
        for path in ("pub", "mpub")
        for number, value in enumerate(INVALID)
    ),
)

SIZES = (
    exchange(
        119,
        "pub_biggest",
        "A message of max-msg-size is taken, in one piece or in chunks.",
        post("/pub?topic=h119", body=b"x" * MIB),
        ask("POST", "/pub?topic=h119", chunks=(b"x" * (MIB - 1), b"y")),
        ExpectTopic("h119", {"message_count": 2, "message_bytes": 2 * MIB}),
    ),
    exchange(
        119,
        "pub_too_big",
        "One byte more is refused.",
        post("/pub?topic=h119b", 413, "MSG_TOO_BIG", b"x" * (MIB + 1)),
        ExpectNoTopic("h119b"),
    ),
    exchange(
        119,
        "pub_too_big_in_chunks",
        "One byte more is refused if it comes in chunks, too.",
        ask("POST", "/pub?topic=h119c", 413, "MSG_TOO_BIG", chunks=(b"x" * MIB, b"y")),
        ExpectNoTopic("h119c"),
    ),
    exchange(
        119,
        "pub_too_big_told",
        "A length that is too big is refused before a byte of the body is there, and the connection closes.",
        Request("POST", "/pub?topic=h119d", headers={"Content-Length": str(1 << 60)}),
        Answer(413, message("MSG_TOO_BIG"), JSON | {"connection": "close"}),
        ExpectEof(by="H"),
        Request("POST", "/mpub?topic=h119d", headers={"Content-Length": str(MAX_BODY + 1)}, by="I"),
        Answer(413, message("BODY_TOO_BIG"), JSON | {"connection": "close"}, by="I"),
        ExpectEof(by="I"),
    ),
    exchange(
        119,
        "pub_too_big_before_all_else",
        "Size comes first: before the query, and before the topic.",
        ask("POST", "/pub?topic=%zz", 413, "MSG_TOO_BIG", b"x" * (MIB + 1)),
        ask("POST", "/pub", 413, "MSG_TOO_BIG", b"x" * (MIB + 1), by="I"),
    ),
    exchange(
        119,
        "pub_over_max_msg_size",
        "It is the server's own limit that counts.",
        post("/pub?topic=h119e", body=b"x" * 100),
        post("/pub?topic=h119e", 413, "MSG_TOO_BIG", b"x" * 101),
        post("/mpub?topic=h119e", 413, "MSG_TOO_BIG", b"a\n" + b"x" * 101 + b"\nb"),
        post("/mpub?topic=h119e", 413, "BODY_TOO_BIG", b"x\n" * 501),
        ask("POST", "/mpub?topic=h119e", 413, "BODY_TOO_BIG", chunks=(b"x\n" * 500, b"\n")),
        ExpectTopic("h119e", {"message_count": 1, "message_bytes": 100}),
        server=server(max_msg_size=100, max_body_size=1000),
    ),
    exchange(
        119,
        "keeps_alive",
        "After a refusal that was read to its end, the connection goes on.",
        post("/pub?topic=h119f", 413, "MSG_TOO_BIG", b"x" * 101),
        post("/pub?topic=h119f", body=b"x"),
        server=server(max_msg_size=100, max_body_size=1000),
    ),
    *(
        exchange(
            119,
            f"{path}_{name}",
            "A body that is damaged or ends too early is not published.",
            ConnectHttp("R"),
            Send(f"POST /{path}?topic=h119g{path} HTTP/1.1\r\nHost: x\r\n".encode() + rest, "R"),
            HalfClose("R"),
            Differs(
                (Answer(500, message("INTERNAL_ERROR"), JSON, by="R"), ExpectEof(by="R")),
                (ExpectEof(by="R"),),
                "What is not a whole request is not answered.",
            ),
            post(f"/topic/create?topic=h119g{path}", 200, b""),
            ExpectTopic(f"h119g{path}", {"message_count": 0}),
        )
        for path in ("pub", "mpub")
        for name, rest in (
            ("half_a_body", b"Content-Length: 10\r\n\r\nx"),
            ("half_a_chunk", b"Transfer-Encoding: chunked\r\n\r\n5\r\nx"),
        )
    ),
    *(
        exchange(
            119,
            f"{path}_bad_chunk",
            "A body whose chunks are damaged is not published, and the connection closes.",
            ConnectHttp("R"),
            Send(
                f"POST /{path}?topic=h119h{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
                "R",
            ),
            Silence(by="R"),
            Send(b"1\r\nx\r\nzz\r\nx\r\n0\r\n\r\n", "R"),
            Answer(500, message("INTERNAL_ERROR"), JSON | {"connection": "close"}, by="R"),
            ExpectEof(by="R"),
            post(f"/topic/create?topic=h119h{path}", 200, b""),
            ExpectTopic(f"h119h{path}", {"message_count": 0}),
        )
        for path in ("pub", "mpub")
    ),
)

DEFER = (
    *(
        exchange(
            120,
            f"bad_defer_{name}",
            "A delay that is no number of milliseconds up to max-req-timeout is refused, after the topic was made.",
            post(f"/pub?topic=h120{name}&defer{value}", 400, "INVALID_DEFER"),
            ExpectTopic(f"h120{name}", {"message_count": 0}),
        )
        for name, value in (
            ("text", "=abc"),
            ("negative", "=-1"),
            ("fraction", "=1.5"),
            ("empty", "="),
            ("novalue", ""),
            ("over", "=3600001"),
            ("blank", "=+5"),
            ("blankbehind", "=5%20"),
            ("underscore", "=1_0"),
            ("hex", "=0x10"),
            ("overflow", "=9223372036854775808"),
            ("arabic", "=%D9%A5"),
        )
    ),
    exchange(
        120,
        "defer_that_wraps_around",
        "A delay that does not fit 64 bits as nanoseconds is no delay.",
        Request("POST", "/pub?topic=h120w&defer=-9223372036854775808", b"x"),
        Differs(
            (Answer(200, b"OK", TEXT),),
            (Answer(400, message("INVALID_DEFER"), JSON),),
            "It wraps around to 0 there, and is below 0 here.",
        ),
    ),
    *(
        exchange(
            120,
            f"defer_{name}",
            "A delay may have a sign, leading zeros, and any length up to max-req-timeout.",
            post(f"/pub?topic=h120{name}&defer={value}"),
            post(f"/channel/create?topic=h120{name}&channel=c", 200, b""),
            ExpectChannel(f"h120{name}", "c", {"deferred_count": deferred, "depth": 1 - deferred}),
        )
        for name, value, deferred in (
            ("longest", "3600000", 1),
            ("plus", "%2B3600000", 1),
            ("zeros", "000003600000", 1),
            ("none", "0", 0),
            ("minuszero", "-0", 0),
        )
    ),
    exchange(
        120,
        "defer_delivers_late",
        "A deferred message comes when its delay is over.",
        subscribed("h120late", rdy=1),
        post("/pub?topic=h120late&defer=800"),
        ExpectChannel("h120late", "c", {"deferred_count": 1}),
        Silence(0.7),
        Advance(0.1),
        Expect(Message(b"x")),
    ),
    exchange(
        120,
        "defer_over_own_limit",
        "It is the server's own max-req-timeout that counts.",
        post("/pub?topic=h120own&defer=1000"),
        post("/pub?topic=h120own&defer=1001", 400, "INVALID_DEFER"),
        server=server(max_req_timeout=1.0),
    ),
)

MPUB_TEXT = (
    takes(121, "mpub", "/mpub?topic=h121", b"a\nb\n\nc\n", b"a", b"b", b"c"),
    takes(121, "mpub_no_newline_at_the_end", "/mpub?topic=h121b", b"a\nbc", b"a", b"bc"),
    takes(121, "mpub_carriage_returns", "/mpub?topic=h121c", b"a\r\n\r\nb\r", b"a\r", b"\r", b"b\r"),
    takes(121, "mpub_any_bytes", "/mpub?topic=h121d", b"\0\n\xff", b"\0", b"\xff"),
    *(
        takes(121, f"mpub_binary_{value}", f"/mpub?topic=h121{value}&binary={value}", b"a\nb", b"a", b"b")
        for value in ("false", "0")
    ),
    takes(121, "mpub_defers_nothing", "/mpub?topic=h121e&defer=abc", b"a\nb", b"a", b"b"),
    exchange(
        121,
        "mpub_in_chunks",
        "The chunks of a body need not end where its lines do.",
        ask("POST", "/mpub?topic=h121f", chunks=(b"a", b"b\nc", b"\n", b"d")),
        queued("h121f", b"ab", b"c", b"d"),
    ),
    *(
        exchange(
            122,
            f"mpub_{name}",
            "A body without a line that has something in it is fine, and makes a topic but no message.",
            post(f"/mpub?topic=h122{name}", body=body),
            ExpectTopic(f"h122{name}", {"message_count": 0}),
        )
        for name, body in (("empty", b""), ("newlines", b"\n\n\n"))
    ),
    exchange(
        123,
        "mpub_too_big",
        "A body of more than max-body-size is refused.",
        post("/mpub?topic=h123", 413, "BODY_TOO_BIG", b"x\n" * (MAX_BODY // 2) + b"x"),
        ExpectNoTopic("h123"),
    ),
    exchange(
        123,
        "mpub_too_big_in_chunks",
        "It is refused if it comes in chunks, too.",
        ask("POST", "/mpub?topic=h123b", 413, "BODY_TOO_BIG", chunks=((b"x" * 1023 + b"\n") * 5120, b"x")),
        ExpectTopic("h123b", {"message_count": 0}),
    ),
    exchange(
        123,
        "mpub_biggest",
        "A body of max-body-size is taken.",
        post("/mpub?topic=h123c", body=b"x" * MIB + b"\n" * (4 * MIB)),
        ExpectTopic("h123c", {"message_count": 1, "message_bytes": MIB}),
    ),
    exchange(
        124,
        "mpub_line_too_long",
        "One line that is too long, and nothing of the body is queued.",
        post("/mpub?topic=h124", 413, "MSG_TOO_BIG", b"a\n" + b"x" * (MIB + 1) + b"\nb"),
        ExpectTopic("h124", {"message_count": 0}),
    ),
    refused(116, "mpub_without_topic", "/mpub", 400, "MISSING_ARG_TOPIC"),
    refused(116, "mpub_empty_without_topic", "/mpub?binary=true", 400, "MISSING_ARG_TOPIC", b""),
    refused(117, "mpub_bad_topic", "/mpub?topic=a$", 400, "INVALID_TOPIC", b""),
)

ONE = batch(b"a")
MPUB_BINARY = (
    *(
        takes(125, f"mpub_binary_{name}", f"/mpub?topic=h125{name}&binary{value}", ONE, b"a")
        for name, value in (
            ("true", "=true"),
            ("1", "=1"),
            ("novalue", ""),
            ("empty", "="),
            ("other", "=foo"),
            ("case", "=True"),
            ("no", "=no"),
            ("off", "=FALSE"),
        )
    ),
    takes(125, "mpub_binary_three", "/mpub?topic=h125three&binary=1", batch(b"a", b"\n", b"ccc"), b"a", b"\n", b"ccc"),
    takes(125, "mpub_binary_and_more", "/mpub?topic=h125more&binary=1", ONE + b"more", b"a"),
    exchange(
        125,
        "mpub_binary_in_chunks",
        "The chunks of a body need not end where its messages do.",
        ask("POST", "/mpub?topic=h125chunks&binary=1", chunks=(b"\0\0", b"\0\2\0\0\0\1", b"a\0\0\0\2b", b"c")),
        queued("h125chunks", b"a", b"bc"),
    ),
    *(
        exchange(
            126,
            f"mpub_binary_{name}",
            f"A binary body that is wrong is answered {code}, and nothing of it is queued.",
            post(f"/mpub?topic=h126{name}&binary=true", 413, code, body),
            ExpectTopic(f"h126{name}", {"message_count": 0}),
        )
        for name, body, code in (
            ("empty", b"", "BAD_BODY"),
            ("half_a_count", b"\0\0", "BAD_BODY"),
            ("count_0", u32(0), "BAD_BODY"),
            ("count_negative", u32(-1), "BAD_BODY"),
            ("count_too_big", u32(1_048_576) + sized(b"x"), "BAD_BODY"),
            ("no_messages", u32(1), "BAD_MESSAGE"),
            ("half_a_size", u32(1) + b"\0\0", "BAD_MESSAGE"),
            ("size_0", u32(2) + sized(b"a") + sized(b""), "BAD_MESSAGE"),
            ("size_negative", u32(1) + u32(-1), "BAD_MESSAGE"),
            ("size_too_big", u32(1) + u32(MIB + 1) + b"x", "BAD_MESSAGE"),
            ("message_too_short", u32(1) + u32(5) + b"abc", "BAD_MESSAGE"),
            ("one_missing", u32(2) + sized(b"a"), "BAD_MESSAGE"),
        )
    ),
    exchange(
        126,
        "mpub_binary_bigger_than_a_body",
        "Chunks that add up to more than max-body-size are refused.",
        Request("POST", "/mpub?topic=h126big&binary=true", chunks=(batch(*[b"x" * MIB] * 6),)),
        Differs(
            (Answer(200, b"OK", TEXT), ExpectTopic("h126big", {"message_count": 6})),
            (Answer(413, message("BAD_BODY"), JSON), ExpectTopic("h126big", {"message_count": 0})),
            "A lying batch could make a server buffer any amount.",
        ),
    ),
    exchange(
        126,
        "mpub_binary_told_too_big",
        "A body of more than max-body-size is refused as a text is.",
        post("/mpub?topic=h126told&binary=true", 413, "BODY_TOO_BIG", batch(*[b"x" * (MIB - 4)] * 5)),
        ExpectNoTopic("h126told"),
    ),
)

MIXED = (
    exchange(
        114,
        "pub_over_both",
        "Messages of both protocols are in one topic, in their order.",
        Send(b"PUB h114both\n" + sized(b"tcp")),
        Expect(OK),
        post("/pub?topic=h114both", body=b"http"),
        post("/mpub?topic=h114both", body=b"more\nof it"),
        queued("h114both", b"tcp", b"http", b"more", b"of it"),
    ),
)

TRANSCRIPTS = (*PUB, *SIZES, *DEFER, *MPUB_TEXT, *MPUB_BINARY, *MIXED)
