"""HTTP as bytes, and the exchanges that many transcripts are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from tests.interop.transcripts.connection import Connection
from tests.interop.transcripts.http_steps import JSON, NO_TYPE, TEXT, Answer, Body, Request
from tests.interop.transcripts.steps import Server, Step, Transcript

BODILESS = (100, 204, 304)
MASKS = {
    "<int>": "-?[0-9]+",
    "<string>": '[^"]*',
    "<any>": ".*",
    "<address>": r"127\.0\.0\.1:[0-9]+",
    "<line>": "[^\n]*",
    "<blanks>": " *",
    "<date>": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "<time>": "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})",
    "<topology>": '(?:"topology_zone":"","topology_region":"",)?',  # which came after nsqd 1.3.0
    "<duration>": "[0-9hmsµn.]+",
}


@attrs.frozen
class Reply:
    """What a server answered: headers are named in lower case, the last of a name counts; and whether it hangs up."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_last: bool = False


def request_bytes(step: Request, host: str) -> bytes:
    """A request as it goes over the wire."""
    headers: dict[str, str | None] = {"Host": host}
    if step.chunks:
        headers["Transfer-Encoding"] = "chunked"
    elif step.body or step.method in ("POST", "PUT"):
        headers["Content-Length"] = str(len(step.body))
    lines = [f"{step.method} {step.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (headers | dict(step.headers)).items() if value is not None]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in step.chunks) + b"0\r\n\r\n"
    return head + (body if step.chunks else step.body)


def read_reply(connection: Connection, deadline: float, *, is_head: bool = False) -> Reply | None:
    """Read a whole answer; None at the end of the connection.

    Raises:
        TimeoutError: If it is not there by then.
    """
    head = connection.read_until(b"\r\n\r\n", deadline)
    if not head:
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    found = re.fullmatch(r"HTTP/[0-9.]+ ([0-9]{3}) .*", first)
    assert found, f"this is no answer: {head!r}"
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    status = int(found[1])
    body = b"" if is_head or status in BODILESS else _read_body(connection, headers, deadline)
    is_old = "keep-alive" not in headers.get("connection", "") and not first.startswith("HTTP/1.1")
    return Reply(status, headers, body, is_last=is_old or headers.get("connection") == "close")


def _read_body(connection: Connection, headers: Mapping[str, str], deadline: float) -> bytes:
    if "content-length" in headers:
        size = int(headers["content-length"])
        body = connection.read_bytes(size, deadline)
        assert len(body) == size, f"the connection ends in a body: {body!r}"
        return body
    if headers.get("transfer-encoding") != "chunked":
        return connection.read_bytes(1 << 40, deadline)
    chunks = []
    while size := int(connection.read_until(b"\r\n", deadline), 16):
        chunks.append(connection.read_bytes(size + 2, deadline)[:-2])
    connection.read_bytes(2, deadline)
    return b"".join(chunks)


def masked(text: str) -> re.Pattern[bytes]:
    """A body whose changing parts are masks: ``<int>``, ``<string>``, and so on."""
    pattern = re.escape(text)
    for mask, meaning in MASKS.items():
        pattern = pattern.replace(re.escape(mask), meaning)
    return re.compile(pattern.encode(), re.DOTALL)


def message(code: str) -> bytes:
    """The body of an error."""
    return b'{"message":"%s"}' % code.encode()


def ask(
    method: str,
    target: str,
    status: int = 200,
    answer: Body | str = b"OK",
    body: bytes = b"",
    *,
    chunks: tuple[bytes, ...] = (),
    by: str = "H",
) -> tuple[Step, ...]:
    """A request and its answer; a text as the answer is an error's code, or OK."""
    if isinstance(answer, str):
        expected = Answer(status, message(answer), JSON, by)
    else:
        expected = Answer(status, answer, NO_TYPE if answer == b"" else TEXT if answer == b"OK" else {}, by)
    return Request(method, target, body, chunks, by=by), expected


def post(target: str, status: int = 200, answer: Body | str = b"OK", body: bytes = b"x") -> tuple[Step, ...]:
    """POST with a body."""
    return ask("POST", target, status, answer, body)


def done(target: str) -> tuple[Step, ...]:
    """POST that is answered with nothing."""
    return ask("POST", target, 200, b"")


def get_json(target: str, text: str) -> tuple[Step, ...]:
    """GET that is answered with JSON, to the byte but for masks."""
    return Request("GET", target), Answer(200, masked(text), JSON)


def exchange(
    check: int,
    name: str,
    rule: str,
    *steps: tuple[Step, ...] | Step,
    server: Server = Server(),  # noqa: B008  # frozen
) -> Transcript:
    """A transcript of steps and of what gives several."""
    flat = (step for each in steps for step in (each if isinstance(each, tuple) else (each,)))
    return Transcript(check, name, rule, tuple(flat), server)
