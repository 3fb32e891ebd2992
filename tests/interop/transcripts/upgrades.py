"""Checks 85, 86 and 91 to 94: snappy and deflate."""

from __future__ import annotations

from typing import Any, Literal

from tests.interop.transcripts.steps import (
    OK,
    Expect,
    ExpectBytes,
    ExpectClient,
    Silence,
    StartCompression,
    Step,
    Transcript,
    server,
)
from tests.interop.transcripts.wire import conversation, identified, identify, negotiated, published, refusal

FIRST_SNAPPY_BYTES = bytes.fromhex("ff060000734e61507059010e00002698 2bcf000000060000 00004f4b")


def compressed(method: Literal["snappy", "deflate"], **sent: Any) -> tuple[Step, ...]:
    """Negotiate a compression, and hear its OK."""
    return *negotiated({method: True}, **{method: True}, **sent), StartCompression(method), Expect(OK)


DEFLATE_LEVELS = tuple(
    Transcript(
        85,
        f"deflate_level_{asked}".replace("-", "minus_"),
        "A level of 0 or below is the default, one over max-deflate-level is lowered.",
        (
            *negotiated({"deflate": True, "deflate_level": given}, deflate=True, deflate_level=asked),
            StartCompression("deflate"),
            Expect(OK),
        ),
    )
    for asked, given in ((-5, 6), (0, 6), (9, 6), (99, 6), (1, 1))
)

BOTH_COMPRESSIONS = refusal(
    86,
    "snappy_and_deflate",
    identify(feature_negotiation=True, snappy=True, deflate=True),
    "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
)

SNAPPY = (
    Transcript(
        91,
        "snappy_first_bytes",
        "After the answer in the clear, the first snappy bytes are the stream's head and an OK that is not compressed.",
        (*negotiated({"snappy": True}, snappy=True), ExpectBytes(FIRST_SNAPPY_BYTES), Silence()),
    ),
    Transcript(
        91,
        "snappy",
        "With snappy everything is as without it.",
        (
            *compressed("snappy"),
            *conversation("t091"),
            ExpectClient("t091", "c", {"snappy": True, "deflate": False, "tls": False}),
        ),
    ),
)

DEFLATE = (
    Transcript(
        92,
        "deflate",
        "With deflate everything is as without it.",
        (
            *compressed("deflate"),
            *conversation("t092"),
            ExpectClient("t092", "c", {"snappy": False, "deflate": True, "tls": False}),
        ),
    ),
    Transcript(
        93,
        "deflate_without_negotiation",
        "Without feature negotiation nothing is negotiated.",
        (*identified(deflate=True, snappy=True, tls_v1=True), Silence(), *published("t093", b"x")),
    ),
)

NOT_OFFERED = (
    Transcript(
        94,
        "snappy_not_offered",
        "A server without snappy says so, and goes on in the clear.",
        (*negotiated({"snappy": False}, snappy=True), Silence(), *published("t094", b"x")),
        server(snappy=False),
    ),
    Transcript(
        94,
        "both_and_snappy_not_offered",
        "Who asks for both of a server without snappy gets deflate.",
        (
            *negotiated({"snappy": False, "deflate": True}, snappy=True, deflate=True),
            StartCompression("deflate"),
            Expect(OK),
        ),
        server(snappy=False),
    ),
    Transcript(
        94,
        "tls_not_offered",
        "A server without a certificate says so, and goes on in the clear.",
        (*negotiated({"tls_v1": False}, tls_v1=True), Silence(), *published("t094b", b"x")),
    ),
)

TRANSCRIPTS = (*DEFLATE_LEVELS, BOTH_COMPRESSIONS, *SNAPPY, *DEFLATE, *NOT_OFFERED)
