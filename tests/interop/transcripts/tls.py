"""Checks 95 to 97: TLS, with and without compression inside, and certificates."""

from __future__ import annotations

import re

from tests.interop.transcripts.steps import (
    OK,
    Differs,
    Expect,
    ExpectClient,
    ExpectEof,
    RefuseTls,
    Send,
    Silence,
    StartCompression,
    StartTls,
    Transcript,
    after,
    error,
    server,
)
from tests.interop.transcripts.wire import conversation, identified, negotiated, published, refusal, subscribed

WITH_TLS = server(tls=True)
TLS_FAILED = error(re.compile(rb"E_IDENTIFY_FAILED IDENTIFY failed .+", re.DOTALL))

TLS = (
    Transcript(
        95,
        "tls",
        "Within TLS everything is as without it.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            StartTls(),
            Expect(OK),
            Silence(),
            *conversation("t095"),
            ExpectClient("t095", "c", {"tls": True, "tls_version": "TLS1.3", "snappy": False, "deflate": False}),
        ),
        WITH_TLS,
    ),
    *(
        Transcript(
            95,
            f"{method}_inside_tls",
            "Compression goes inside TLS, each with an OK of its own.",
            (
                *negotiated({"tls_v1": True, method: True}, tls_v1=True, **{method: True}),
                StartTls(),
                Expect(OK),
                StartCompression(method),
                Expect(OK),
                *conversation(f"t095{method}"),
                ExpectClient(f"t095{method}", "c", {"tls": True, method: True}),
            ),
            WITH_TLS,
        )
        for method in ("snappy", "deflate")
    ),
    Transcript(
        95,
        "tls_1_2",
        "TLS 1.2 is spoken too.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            StartTls(newest="1.2"),
            Expect(OK),
            *subscribed("t095b"),
            ExpectClient("t095b", "c", {"tls": True, "tls_version": "TLS1.2"}),
        ),
        WITH_TLS,
    ),
    Transcript(
        95,
        "tls_1_1",
        "TLS 1.1 is spoken by nsqd unless it is told not to, and not by a node unless it is told to.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            Differs(
                nsqd=(StartTls(newest="1.1"), Expect(OK)),
                node=(RefuseTls(newest="1.1"),),
                because="TLS before 1.2 is broken; whoever needs it has the option tls_min_version.",
            ),
        ),
        WITH_TLS,
    ),
    Transcript(
        95,
        "tls_not_asked_for",
        "Where TLS is offered but not required, a client may do without.",
        (*negotiated({"tls_v1": False}), Silence(), *published("t095c", b"x")),
        WITH_TLS,
    ),
)

CLIENT_CERTIFICATES = (
    *(
        Transcript(
            97,
            name,
            rule,
            (*negotiated({"tls_v1": True}, tls_v1=True), *steps),
            server(tls=True, tls_client_auth_policy=policy),
        )
        for name, policy, rule, steps in (
            ("certificate_missing", "require", "Who must show a certificate and does not is refused.", (RefuseTls(),)),
            (
                "certificate_of_stranger",
                "require",
                "Where a certificate is only required, any will do for nsqd.",
                (
                    Differs(
                        nsqd=(StartTls(certificate="stranger"), Expect(OK)),
                        node=(RefuseTls(certificate="stranger"),),
                        because="Python's ssl cannot ask for a certificate without checking it.",
                    ),
                ),
            ),
            (
                "certificate_not_verified",
                "require-verify",
                "Where a certificate is verified, that of another authority is refused.",
                (RefuseTls(certificate="stranger"),),
            ),
            (
                "certificate_verified",
                "require-verify",
                "Where a certificate is verified, that of the right authority is accepted.",
                (StartTls(certificate="client"), Expect(OK), *published("t097c", b"x")),
            ),
        )
    ),
    refusal(
        97,
        "certificate_required_makes_tls_required",
        b"NOP\n",
        "E_INVALID cannot NOP in current state (TLS required)",
        server=server(tls=True, tls_client_auth_policy="require"),
    ),
)

BAD_HANDSHAKES = (
    Transcript(
        96,
        "tls_garbage",
        "Garbage instead of a handshake is answered in the clear.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            Send(b"GET / HTTP/1.0\r\n\r\n"),
            Expect(TLS_FAILED),
            ExpectEof(),
        ),
        WITH_TLS,
    ),
    Transcript(
        96,
        "tls_silence",
        "A handshake that does not begin is given 5 seconds.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            *after(5.0, Expect(TLS_FAILED, late=1.0)),
            ExpectEof(),
        ),
        WITH_TLS,
    ),
)

TLS_REQUIRED = (
    *(
        refusal(
            97,
            f"tls_required_before_{command.split()[0].decode().lower()}",
            command + b"\n",
            f"E_INVALID cannot {command.split()[0].decode()} in current state (TLS required)",
            server=server(tls=True, tls_required=required),
        )
        for command, required in (
            (b"NOP", True),
            (b"FOO", True),
            (b"SUB a b", True),
            (b"PUB a", "tcp-https"),
            (b"AUTH", True),
        )
    ),
    Transcript(
        97,
        "tls_required",
        "Where TLS is required, IDENTIFY leads to it, and then all is allowed.",
        (
            *negotiated({"tls_v1": True}, tls_v1=True),
            StartTls(),
            Expect(OK),
            *conversation("t097"),
        ),
        server(tls=True, tls_required=True),
    ),
    refusal(
        97,
        "tls_required_and_not_asked_for",
        b"NOP\n",
        "E_INVALID cannot NOP in current state (TLS required)",
        before=identified(),
        server=server(tls=True, tls_required=True),
    ),
)

TRANSCRIPTS = (*TLS, *BAD_HANDSHAKES, *TLS_REQUIRED, *CLIENT_CERTIFICATES)
