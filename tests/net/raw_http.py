"""HTTP as bytes: what a client of a test says, and what it hears."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from tests.net.rig import Client, Rig

BODILESS = frozenset({100, 204, 304})


@attrs.frozen
class Answer:
    """An answer.

    Attributes:
        status: The same.
        headers: Names in lower case.
        body: The same.
        version: Of HTTP: "1.1".
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    version: str = "1.1"

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The word of an error."""
        return str(self.json["message"])


def request(
    method: str,
    target: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    chunks: tuple[bytes, ...] = (),
    version: str = "1.1",
    length: int | None = None,
) -> bytes:
    """A request as it is sent; its length is told, or its chunks. `length` may lie."""
    told: dict[str, str] = {"Host": "127.0.0.1"}
    if chunks:
        told["Transfer-Encoding"] = "chunked"
        body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    elif length is not None or body or method in ("POST", "PUT"):
        told["Content-Length"] = str(len(body) if length is None else length)
    told |= headers or {}
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def parse_head(head: bytes) -> Answer:
    """An answer without its body."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, status, *_ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    return Answer(int(status), {name.lower(): value for name, _, value in pairs}, b"", version.removeprefix("HTTP/"))


class HttpClient(Client):
    """A client without manners that speaks HTTP."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        super().__init__(address, magic=False)

    def answer(self, *, is_head: bool = False) -> Answer:
        """The next answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        answer = parse_head(head)
        if is_head or answer.status in BODILESS:
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            return attrs.evolve(answer, body=self._chunks())
        return attrs.evolve(answer, body=self._exactly(int(answer.headers.get("content-length", "0"))))

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = b""
            while not line.endswith(b"\r\n"):
                line += self._exactly(1)
            size = int(line, 16)
            body += self._exactly(size + 2)[:-2]
            if not size:
                return body

    def call(self, method: str, target: str, body: bytes = b"", **details: Any) -> Answer:
        """Send a request, and the next answer."""
        self.send(request(method, target, body, **details))
        return self.answer(is_head=method == "HEAD")

    def get(self, target: str, **headers: str) -> Answer:
        """GET."""
        return self.call("GET", target, headers=headers)

    def post(self, target: str, body: bytes = b"", **headers: str) -> Answer:
        """POST."""
        return self.call("POST", target, body, headers=headers)


def http(rig: Rig) -> HttpClient:
    """A new client of a rig's HTTP address."""
    client = HttpClient(rig.listener.http_address)
    rig._clients.append(client)
    return client
