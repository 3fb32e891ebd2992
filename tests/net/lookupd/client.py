"""An nsqd's side of the protocol with an nsqlookupd, and plain HTTP; both without manners, both blocking."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from typing import Any

import attrs

PATIENCE_SECONDS = 20.0
MAGIC = b"  V1"
OK = b"OK"


def identify(**fields: Any) -> bytes:
    """An IDENTIFY of an nsqd that lacks nothing, but for what is said otherwise."""
    who = {"broadcast_address": "here", "hostname": "host", "tcp_port": 4150, "http_port": 4151, "version": "1.3.0"}
    return identify_body(json.dumps(who | fields).encode())


def identify_body(body: bytes) -> bytes:
    """An IDENTIFY with this body."""
    return b"IDENTIFY\n" + struct.pack(">I", len(body)) + body


class LookupdClient:
    """One connection to an nsqlookupd's TCP address."""

    def __init__(self, address: tuple[str, int], magic: bytes = MAGIC) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(magic)

    @property
    def name(self) -> str:
        """What the server calls it: host:port."""
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """The next answer."""
        (size,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(size)

    def ask(self, data: bytes) -> bytes:
        """Send, and the next answer."""
        self.send(data)
        return self.answer()

    def rest(self) -> bytes:
        """All that comes until the server hangs up, politely or not."""
        found = b""
        try:
            while data := self.socket.recv(1 << 16):
                found += data
        except ConnectionError:
            pass
        return found

    def half_close(self) -> None:
        """Send nothing more."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            data = self.socket.recv(size - len(found))
            assert data, f"the server hung up after {found!r}"
            found += data
        return found


@attrs.frozen
class Answer:
    """An answer over HTTP.

    Attributes:
        status: The same.
        headers: Names in lower case.
        body: The same.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


def request(
    address: tuple[str, int], target: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, target, body or None, headers or {})
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read())
    finally:
        connection.close()
