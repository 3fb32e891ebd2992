"""Checks 111 to 113 and 140: paths, methods and everything around them, and TLS."""

from __future__ import annotations

from tests.interop.transcripts.http_steps import JSON, NO_TYPE, NOT_OURS, TEXT, Answer, ConnectHttp, Request
from tests.interop.transcripts.http_wire import ask, exchange, masked, message, post
from tests.interop.transcripts.steps import (
    Differs,
    ExpectEof,
    ExpectTopic,
    RefuseTls,
    Send,
    StartTls,
    Step,
    Transcript,
    server,
)
from tests.interop.transcripts.wire import pub

HTML = NOT_OURS | {"content-type": "text/html; charset=utf-8"}
PLAIN = NOT_OURS | {"content-type": "text/plain; charset=utf-8"}
GET_ONLY, POST_ONLY, CONFIG = "GET, OPTIONS", "OPTIONS, POST", "GET, OPTIONS, PUT"
ALLOWED = {
    "/ping": GET_ONLY,
    "/info": GET_ONLY,
    "/stats": GET_ONLY,
    "/config/log_level": CONFIG,
    "/config/nonsense": CONFIG,
} | dict.fromkeys(
    (
        "/pub",
        "/mpub",
        *(f"/topic/{action}" for action in ("create", "delete", "empty", "pause", "unpause")),
        *(f"/channel/{action}" for action in ("create", "delete", "empty", "pause", "unpause")),
    ),
    POST_ONLY,
)
UNKNOWN = (
    "/nope",
    "/put",
    "/mput",
    "/create_topic",
    "/delete_topic",
    "/empty_channel?topic=a&channel=b",
    "/topic",
    "/topic/",
    "/topic/nonsense",
    "/channel",
    "/config",
    "/config/",
    "/config/a/b",
    "/pub/x",
    "/pingpong",
    "/pin",
)
NEAR_MISSES = (
    ("slash_behind", "/ping/", "/ping"),
    ("slash_doubled", "//ping", "/ping"),
    ("dots", "/a/../ping", "/ping"),
    ("dot", "/./stats?format=json", "/stats?format=json"),
    ("case", "/PING?a=b&c", "/ping?a=b&amp;c"),
    ("case_of_config", "/CONFIG/log_level", "/config/log_level"),
    ("slash_behind_config", "/config/log_level/", "/config/log_level"),
    ("escaped_slash_behind", "/ping%2F", "/ping"),
)


def raw(data: bytes, *then: Step) -> tuple[Step, ...]:
    """Bytes as they are, on a connection for HTTP."""
    return ConnectHttp(), Send(data, "H"), *then


def malformed(name: str, data: bytes) -> Transcript:
    """What is no request of HTTP is refused, and the connection closes."""
    rule = "What is no request is answered 400, and the connection closes."
    then = Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")
    return exchange(113, f"malformed_{name}", rule, raw(data, *then))


def malformed_otherwise(name: str, data: bytes, nsqd: Answer, node: Answer, because: str) -> Transcript:
    """The same, where a node answers something else."""
    rule = "What is no request is refused, and the connection closes."
    return exchange(113, f"malformed_{name}", rule, raw(data, Differs((nsqd,), (node,), because), ExpectEof(by="H")))


def get(target: str, host: str = "Host: x\r\n", version: str = "1.1") -> bytes:
    """A request without a body, by hand."""
    return f"GET {target} HTTP/{version}\r\n{host}\r\n".encode()


PING = (
    exchange(
        111,
        "ping",
        "A healthy server answers /ping with OK, as plain text and without NSQ's header.",
        Request("GET", "/ping"),
        Answer(200, b"OK", PLAIN),
        Request("GET", "/ping?%zz;"),
        Answer(200, b"OK", PLAIN),
    ),
    exchange(
        111,
        "ping_with_body",
        "A body is no obstacle where none is expected.",
        ask("GET", "/ping", body=b"hello", answer=None),
        Request("GET", "/ping", chunks=(b"a", b"b")),
        Answer(200, b"OK", PLAIN),
    ),
    exchange(
        111,
        "ping_escaped",
        "Escapes in a path are taken for what they stand for.",
        Request("GET", "/%70ing"),
        Answer(200, b"OK", PLAIN),
    ),
    exchange(
        111,
        "ping_absolute_target",
        "A target may be a whole address, as proxies send it.",
        raw(get("http://elsewhere/ping"), Answer(200, b"OK", PLAIN)),
    ),
    exchange(
        111,
        "ping_old",
        "HTTP/1.0 is answered, without Host, and the connection closes.",
        raw(get("/ping", "", "1.0"), Answer(200, b"OK", PLAIN), ExpectEof(by="H")),
    ),
    exchange(
        111,
        "ping_close",
        "A client that wants the connection to close is obeyed.",
        Request("GET", "/ping", headers={"Connection": "close"}),
        Answer(200, b"OK", PLAIN | {"connection": "close"}),
        ExpectEof(by="H"),
    ),
    exchange(
        111,
        "pipelined",
        "Requests that are sent together are answered in their order.",
        raw(
            get("/ping") + get("/nope") + b"POST /pub?topic=h111 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
            Answer(200, b"OK"),
            Answer(404, message("NOT_FOUND")),
            Answer(200, b"OK"),
        ),
    ),
)

METHODS = (
    *(
        exchange(
            112,
            f"methods_of{path.replace('/', '_')}",
            f"{path} has the methods {allow}, and no other.",
            *(
                (Request(method, path), Answer(405, message("METHOD_NOT_ALLOWED"), JSON | {"allow": allow}))
                for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "PURGE")
                if method not in allow.split(", ")
            ),
            Request("HEAD", path),
            Answer(405, b"", JSON | {"allow": allow}),
            Request("OPTIONS", path),
            Answer(200, b"", NOT_OURS | {"allow": allow, "content-type": None}),
        )
        for path, allow in ALLOWED.items()
    ),
    exchange(
        112,
        "options_of_nothing",
        "OPTIONS of an unknown path is 404, and of * is answered.",
        Request("OPTIONS", "/nope"),
        Answer(404, message("NOT_FOUND"), JSON),
        Request("OPTIONS", "*"),
        Answer(200, b"", {"content-type": None}),
    ),
    exchange(
        112,
        "wrong_method_of_near_miss",
        "A path that is nearly one is not redirected for a method it has not.",
        Request("HEAD", "/PING"),
        Answer(404, b"", JSON),
        Request("POST", "/ping/"),
        Answer(404, message("NOT_FOUND"), JSON),
    ),
)

PATHS = (
    *(
        exchange(
            113,
            f"unknown_{number:02}",
            f"{path} is no path.",
            Request("GET", path),
            Answer(404, message("NOT_FOUND"), JSON),
            Request("POST", path, b"x"),
            Answer(404, message("NOT_FOUND"), JSON),
        )
        for number, path in enumerate(UNKNOWN)
    ),
    exchange(
        113,
        "root",
        "The root is no path of nsqd's, and a page for people in a node.",
        Request("GET", "/"),
        Differs(
            (Answer(404, message("NOT_FOUND"), JSON),),
            (Answer(200, None, {"content-type": "text/html; charset=utf-8"}),),
            "People look at /, and find topics and channels.",
        ),
    ),
    *(
        exchange(
            113,
            f"near_miss_{name}",
            "A path that is wrong by slashes, dots or case is redirected to the right one, with its query.",
            Request("GET", target),
            Answer(
                301,
                f'<a href="{right}">Moved Permanently</a>.\n\n'.encode(),
                HTML | {"location": right.replace("&amp;", "&")},
            ),
        )
        for name, target, right in NEAR_MISSES
    ),
    exchange(
        113,
        "near_miss_post",
        "Other methods than GET are redirected so that they stay what they are.",
        Request("POST", "/PUB?topic=x", b"x"),
        Answer(307, b"", NOT_OURS | {"location": "/pub?topic=x", "content-type": None}),
        Request("PUT", "/config/log_level/", b"x"),
        Answer(307, b"", NOT_OURS | {"location": "/config/log_level", "content-type": None}),
    ),
    malformed("garbage", b"garbage\r\n\r\n"),
    malformed("nsq", b"  V2" + pub("x", b"x")),
    exchange(
        113,
        "malformed_no_version",
        "A request without a version of HTTP is refused.",
        raw(
            b"GET /ping\r\n\r\n",
            Differs(
                (Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")),
                (Answer(200, b"OK", PLAIN), ExpectEof(by="H")),
                "It is HTTP/0.9, and answered as any.",
            ),
        ),
    ),
    exchange(
        113,
        "malformed_version",
        "A request with another version of HTTP is refused.",
        raw(
            get("/ping", version="2.0"),
            Differs(
                (
                    Answer(505, b"505 HTTP Version Not Supported: unsupported protocol version", PLAIN),
                    ExpectEof(by="H"),
                ),
                (Answer(200, b"OK", PLAIN),),
                "It is answered as any: nobody writes it so who does not mean it.",
            ),
        ),
    ),
    malformed_otherwise(
        "no_host",
        get("/ping", ""),
        Answer(400, b"400 Bad Request: missing required Host header", PLAIN),
        Answer(400, b"400 Bad Request", PLAIN),
        "It is answered as everything malformed.",
    ),
    exchange(
        113,
        "malformed_method",
        "A method that nobody knows is none of any path.",
        raw(
            get("/ping").replace(b"GET", b"get"),
            Differs(
                (Answer(405, message("METHOD_NOT_ALLOWED"), JSON),),
                (Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")),
                "The HTTP library refuses methods that are in no standard.",
            ),
        ),
    ),
    exchange(
        113,
        "malformed_escape_in_path",
        "A path with an escape that is none leads nowhere.",
        raw(
            get("/ping%zz"),
            Differs(
                (Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")),
                (Answer(404, message("NOT_FOUND"), JSON),),
                "It is a path that is unknown, like others.",
            ),
        ),
    ),
    exchange(
        113,
        "malformed_not_ascii",
        "What is not ASCII must be escaped.",
        raw(
            b"GET /stats?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
            Differs(
                (Answer(200, None, TEXT),),
                (Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")),
                "HTTP does not allow it.",
            ),
        ),
    ),
    malformed("header", b"GET /ping HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"),
    malformed("blank_in_path", get("/pi ng")),
    malformed("no_slash", get("ping")),
    *(
        malformed(f"length_{name}", f"POST /pub?topic=x HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        for name, headers in (
            ("negative", "Content-Length: -1"),
            ("no_number", "Content-Length: x"),
            ("twice", "Content-Length: 1\r\nContent-Length: 2"),
        )
    ),
)

TLS_REQUIRED = server(tls=True, tls_required=True)
REFUSED = Answer(403, masked('{"message": "TLS_REQUIRED", "https_port": <int>}'), JSON)
TLS = (
    *(
        exchange(
            140,
            f"tls_required_{name}",
            "Where TLS is required, every plain request is refused, whatever it asks for.",
            Request(method, path, body),
            REFUSED,
            server=TLS_REQUIRED,
        )
        for name, method, path, body in (
            ("ping", "GET", "/ping", b""),
            ("unknown", "GET", "/nope", b""),
            ("method", "POST", "/ping", b""),
            ("near_miss", "GET", "/PING", b""),
            ("pub", "POST", "/pub?topic=h140", b"x"),
            ("options", "OPTIONS", "/pub", b""),
        )
    ),
    *(
        exchange(
            140,
            f"https{name}",
            "Over TLS there are the same endpoints, whether it is required or not.",
            ConnectHttp(https=True),
            StartTls("H", newest=newest),
            ask("POST", "/pub?topic=h140", body=b"x"),
            Request("GET", "/ping"),
            Answer(200, b"OK", PLAIN),
            Request("GET", "/nope"),
            Answer(404, message("NOT_FOUND"), JSON),
            server=needed,
        )
        for name, needed, newest in (
            ("_required", TLS_REQUIRED, ""),
            ("", server(tls=True), ""),
            ("_tls_12", server(tls=True), "1.2"),
        )
    ),
    exchange(
        140,
        "tls_required_but_for_http",
        "With tcp-https, plain requests are answered.",
        ask("POST", "/topic/create?topic=h140", 200, b""),
        server=server(tls=True, tls_required="tcp-https"),
    ),
    exchange(
        140,
        "https_with_certificate",
        "Where clients must show a certificate, they must on HTTPS too.",
        ConnectHttp(https=True),
        StartTls("H", "client"),
        ask("POST", "/topic/create?topic=h140", 200, b""),
        server=server(tls=True, tls_client_auth_policy="require-verify"),
    ),
    *(
        exchange(
            140,
            f"https_{name}",
            "Whoever shows no certificate, or one that nobody vouches for, is refused in the handshake.",
            ConnectHttp(https=True),
            RefuseTls("H", certificate),
            server=server(tls=True, tls_client_auth_policy="require-verify"),
        )
        for name, certificate in (("without_certificate", ""), ("with_a_stranger's_certificate", "stranger"))
    ),
    exchange(
        140,
        "plain_on_https",
        "A plain request where TLS is spoken is not carried out.",
        ConnectHttp(https=True),
        Request("POST", "/pub?topic=h140plain", b"x"),
        Differs(
            (Answer(400, b"Client sent an HTTP request to an HTTPS server.\n"), ExpectEof(by="H")),
            (ExpectEof(by="H"),),
            "Python's ssl closes the connection without a word.",
        ),
        server=server(tls=True),
    ),
)

HTTP_11 = (
    exchange(
        114,
        "continue",
        "A client that waits before it sends a body is told to go on.",
        raw(
            b"POST /pub?topic=h114go HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            Answer(100, b""),
            Send(b"x", "H"),
            Answer(200, b"OK", TEXT),
        ),
    ),
    exchange(
        114,
        "continue_not",
        "A client that waits with a body that is too big is refused at once, and need not send it.",
        raw(
            b"POST /pub?topic=h114go HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n",
            Answer(413, message("MSG_TOO_BIG"), JSON | {"connection": "close"}),
            ExpectEof(by="H"),
        ),
    ),
    exchange(
        114,
        "expect_something_else",
        "An expectation that nobody knows may be refused.",
        raw(
            b"POST /pub?topic=h114go HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: wonders\r\n\r\nx",
            Differs(
                (Answer(417, b"", NOT_OURS | {"connection": "close"}), ExpectEof(by="H")),
                (Answer(200, b"OK", TEXT),),
                "Nobody expects anything else, and it is allowed to be ignored.",
            ),
        ),
    ),
    exchange(
        114,
        "encoded",
        "A body is what was sent: nobody decodes it.",
        Request("POST", "/pub?topic=h114e", b"xyz", headers={"Content-Encoding": "gzip"}),
        Answer(200, b"OK", TEXT),
        ExpectTopic("h114e", {"message_bytes": 3}),
    ),
    exchange(
        114,
        "form",
        "Parameters are in the query; a form in the body is a message.",
        Request(
            "POST",
            "/pub",
            b"topic=h114f",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
        Answer(400, message("MISSING_ARG_TOPIC"), JSON),
        Request("POST", "/topic/create?topic=h114f", b"topic=other", headers={"Content-Type": "text/html"}),
        Answer(200, b"", NO_TYPE),
    ),
    exchange(
        114,
        "no_length",
        "Without a length there is no body.",
        Request("POST", "/pub?topic=h114n", headers={"Content-Length": None}),
        Answer(400, message("MSG_EMPTY"), JSON),
        Request("POST", "/topic/create?topic=h114n", headers={"Content-Length": None}),
        Answer(200, b"", NO_TYPE),
        post("/pub?topic=h114n"),
    ),
    exchange(
        114,
        "length_and_chunks",
        "A request with both a length and chunks is not trusted.",
        raw(
            b"POST /pub?topic=h114l HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\n\r\n",
            Differs(
                (Answer(200, b"OK", TEXT),),
                (Answer(400, b"400 Bad Request", PLAIN), ExpectEof(by="H")),
                "Two servers in a row may take it for different requests.",
            ),
        ),
    ),
)

TRANSCRIPTS = (*PING, *METHODS, *PATHS, *TLS, *HTTP_11)
