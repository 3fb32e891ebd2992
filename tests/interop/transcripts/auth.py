"""Checks 98 to 110: AUTH, against a real HTTP server that answers what the transcript says."""

from __future__ import annotations

import json
from typing import Any

from tests.interop.transcripts.certificates import CLIENT_NAME
from tests.interop.transcripts.steps import (
    OK,
    Advance,
    AuthAnswers,
    Expect,
    ExpectAuthRequests,
    ExpectClient,
    ExpectEof,
    ExpectNoTopic,
    Json,
    Send,
    StartTls,
    Step,
    Transcript,
    error,
    response,
    server,
)
from tests.interop.transcripts.wire import (
    auth,
    dpub,
    identify,
    mpub,
    pub,
    published,
    refusal,
    refusals,
    subscribed,
    u32,
)

WITH_AUTH = server(auth=True)
EVERYTHING = {"topic": ".*", "channels": [".*"], "permissions": ["subscribe", "publish"]}
FAILED = "E_AUTH_FAILED AUTH failed"


def answers(*authorizations: dict[str, Any], **more: Any) -> AuthAnswers:
    """The auth server allows this."""
    return AuthAnswers(json.dumps({"ttl": 3600, "authorizations": authorizations, **more}).encode())


def authorized(*authorizations: dict[str, Any], by: str = "A", **more: Any) -> tuple[Step, ...]:
    """AUTH, after which this is allowed."""
    values = {"permission_count": len(authorizations)}
    return answers(*authorizations, **more), Send(auth(b"secret"), by), Expect(Json(values), by)


def denied(check: int, name: str, sent: bytes, payload: str, *authorizations: dict[str, Any]) -> Transcript:
    """A command that an authorization does not cover."""
    return refusal(check, name, sent, payload, before=authorized(*authorizations), server=WITH_AUTH)


def failing(name: str, answer: AuthAnswers, payload: str = FAILED) -> Transcript:
    """An answer of the auth server that allows nothing."""
    steps = (answer, Send(auth(b"secret")), Expect(error(payload)), ExpectEof())
    return Transcript(
        108, name, "An answer that makes no sense allows nothing, and the client is not told why.", steps, WITH_AUTH
    )


def may(topic: str, *permissions: str, channels: tuple[str, ...] = (".*",)) -> dict[str, Any]:
    """One authorization."""
    return {"topic": topic, "channels": list(channels), "permissions": list(permissions)}


WITHOUT_AUTH_SERVER = (
    *refusals(98, ("auth_disabled", auth(b"a"), "E_AUTH_DISABLED AUTH disabled")),
    *refusals(99, ("auth_with_parameter", b"AUTH x\n", "E_INVALID AUTH invalid number of parameters")),
    *refusals(
        100,
        ("auth_size_0", b"AUTH\n" + u32(0), "E_BAD_BODY AUTH invalid body size 0"),
        ("auth_size_minus_1", b"AUTH\n" + u32(-1), "E_BAD_BODY AUTH invalid body size -1"),
        ("auth_too_big", b"AUTH\n" + u32(5242881), "E_BAD_BODY AUTH body too big 5242881 > 5242880"),
    ),
    refusal(100, "auth_after_sub", auth(b"a"), "E_INVALID cannot AUTH in current state", before=subscribed("t100")),
)

AUTH_FIRST = tuple(
    Transcript(
        101,
        f"{command.lower()}_before_auth",
        "Where auth is on, nobody publishes or subscribes without, and no topic is made.",
        (
            Send(sent),
            Expect(error(f"E_AUTH_FIRST AUTH required before {command}")),
            ExpectEof(),
            ExpectNoTopic("t101"),
        ),
        WITH_AUTH,
    )
    for command, sent in (
        ("SUB", b"SUB t101 c\n"),
        ("PUB", pub("t101", b"x")),
        ("MPUB", mpub("t101", b"x")),
        ("DPUB", dpub("t101", 0, b"x")),
    )
)

AUTH = (
    Transcript(
        102,
        "auth",
        "The auth server is asked with all that is known of the client, and its answer is passed on.",
        (
            answers(EVERYTHING, EVERYTHING, identity="bob", identity_url="http://x"),
            Send(auth(b"sec ret&=")),
            Expect(response(b'{"identity":"bob","identity_url":"http://x","permission_count":2}')),
            ExpectAuthRequests(("GET /auth?common_name=&remote_ip=127.0.0.1&secret=sec+ret%26%3D&tls=false",)),
            *published("t102", b"x"),
            *subscribed("t102"),
            ExpectClient("t102", "c", {"authed": True, "auth_identity": "bob", "auth_identity_url": "http://x"}),
        ),
        WITH_AUTH,
    ),
    Transcript(
        102,
        "auth_required_is_told",
        "Who negotiates features is told that AUTH is required, and may AUTH before or after.",
        (
            *authorized(EVERYTHING),
            Send(identify(feature_negotiation=True)),
            Expect(Json({"auth_required": True})),
            *published("t102b", b"x"),
        ),
        WITH_AUTH,
    ),
    Transcript(
        102,
        "auth_within_tls",
        "The auth server is told of TLS, and whose certificate the client has.",
        (
            answers(EVERYTHING),
            Send(identify(feature_negotiation=True, tls_v1=True)),
            Expect(Json({"tls_v1": True})),
            StartTls(certificate="client"),
            Expect(OK),
            Send(auth(b"s")),
            Expect(Json({"identity": "", "identity_url": "", "permission_count": 1})),
            ExpectAuthRequests((f"GET /auth?common_name={CLIENT_NAME}&remote_ip=127.0.0.1&secret=s&tls=true",)),
        ),
        server(tls=True, auth=True, tls_client_auth_policy="require-verify", tls_required="tcp-https"),
    ),
    refusal(
        103,
        "auth_twice",
        auth(b"secret"),
        "E_INVALID AUTH already set",
        before=authorized(EVERYTHING),
        server=WITH_AUTH,
    ),
)

PERMISSIONS = (
    Transcript(
        104,
        "sub_allowed",
        "Who may subscribe to a channel may.",
        (*authorized(may("^t104$", "subscribe", channels=("^c1$",))), *subscribed("t104", "c1")),
        WITH_AUTH,
    ),
    denied(
        104,
        "sub_other_channel",
        b"SUB t104 c2\n",
        'E_UNAUTHORIZED AUTH failed for SUB on "t104" "c2"',
        may("^t104$", "subscribe", channels=("^c1$",)),
    ),
    denied(
        104,
        "sub_without_right",
        b"SUB t104 c1\n",
        'E_UNAUTHORIZED AUTH failed for SUB on "t104" "c1"',
        may("^t104$", "publish"),
    ),
    *(
        denied(
            105,
            f"{command.lower()}_without_right",
            sent,
            f'E_UNAUTHORIZED AUTH failed for {command} on "t105" ""',
            may("^t105$", "subscribe"),
            may("^other$", "publish"),
        )
        for command, sent in (("PUB", pub("t105", b"x")), ("MPUB", mpub("t105", b"x")), ("DPUB", dpub("t105", 0, b"x")))
    ),
    *(
        denied(
            106,
            f"pub_{name}",
            pub("t106", b"x"),
            'E_UNAUTHORIZED AUTH failed for PUB on "t106" ""',
            may("^t106$", "publish", channels=channels),
        )
        for name, channels in (("with_other_channel", ("^c$",)), ("without_channels", ()))
    ),
    Transcript(
        107,
        "expressions_are_searched",
        "An expression that matches anywhere in the name allows it.",
        (*authorized(may(".*pub", "publish")), *published("unpublic", b"x")),
        WITH_AUTH,
    ),
)

FAILURES = (
    failing("ttl_0", answers(EVERYTHING, ttl=0)),
    failing("ttl_missing", AuthAnswers(json.dumps({"authorizations": [EVERYTHING]}).encode())),
    failing("unknown_permission", answers(may(".*", "subscribe", "fly"))),
    failing("bad_topic_expression", answers(may("(", "publish"))),
    failing("bad_channel_expression", answers(may(".*", "publish", channels=("*",)))),
    failing("status_500", AuthAnswers(b'{"ttl":3600,"authorizations":[]}', status=500)),
    failing("bad_json", AuthAnswers(b"{")),
    failing("wrong_types", AuthAnswers(b'{"ttl":"3600","authorizations":{}}')),
    failing("hung_up", AuthAnswers(b"", status=0)),
    Transcript(
        109,
        "no_authorizations",
        "Who is allowed nothing is told so.",
        (
            answers(),
            Send(auth(b"secret")),
            Expect(error("E_UNAUTHORIZED AUTH no authorizations found")),
            ExpectEof(),
        ),
        WITH_AUTH,
    ),
)

ASKED = "GET /auth?common_name=&remote_ip=127.0.0.1&secret=secret&tls=false"
TTL = (
    Transcript(
        110,
        "ttl",
        "When an authorization has expired, the next command that needs one asks again.",
        (
            *authorized(EVERYTHING, ttl=2),
            *published("t110", b"x"),
            ExpectAuthRequests((ASKED,)),
            Advance(2.1),
            *published("t110", b"x"),
            ExpectAuthRequests((ASKED, ASKED)),
            Advance(2.1),
            AuthAnswers(b"", status=0),
            Send(pub("t110", b"x")),
            Expect(error(FAILED)),
            ExpectEof(),
        ),
        WITH_AUTH,
    ),
    Transcript(
        110,
        "ttl_and_less_is_allowed",
        "What is allowed after an expiry is what the auth server says then.",
        (
            *authorized(EVERYTHING, ttl=1),
            *published("t110b", b"x"),
            answers(may(".*", "subscribe")),
            *published("t110b", b"x"),
            Advance(1.1),
            Send(pub("t110b", b"x")),
            Expect(error('E_UNAUTHORIZED AUTH failed for PUB on "t110b" ""')),
            ExpectEof(),
        ),
        WITH_AUTH,
    ),
    Transcript(
        110,
        "ttl_leaves_subscriptions",
        "A subscription that runs is not asked about again.",
        (
            *authorized(EVERYTHING, ttl=1),
            *subscribed("t110c", rdy=1),
            answers(),
            Advance(1.1),
            Send(b"RDY 2\nNOP\nCLS\n"),
            Expect(response(b"CLOSE_WAIT")),
            ExpectAuthRequests((ASKED,)),
        ),
        WITH_AUTH,
    ),
)

TRANSCRIPTS = (*WITHOUT_AUTH_SERVER, *AUTH_FIRST, *AUTH, *PERMISSIONS, *FAILURES, *TTL)
