"""Saying things to a member of a cluster: over HTTP, and as a client without a library."""

from __future__ import annotations

import json
import socket
import struct
import urllib.error
import urllib.request
from typing import Any

import attrs

from tests.interop.servers import PATIENCE_SECONDS, Server
from tests.interop.transcripts.wire import mpub


@attrs.frozen
class Answer:
    """What was answered over HTTP.

    Attributes:
        status: The status.
        body: The body.
        headers: The headers, in lower case.
    """

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, as JSON.

        Raises:
            AssertionError: If the status is none of success.
        """
        assert self.status == 200, (self.status, self.body)
        return json.loads(self.body)


def ask(address: str, target: str, method: str = "GET", body: bytes | None = None) -> Answer:
    """One request to host:port."""
    request = urllib.request.Request(f"http://{address}{target}", body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, answer.read(), headers)
    except urllib.error.HTTPError as error:
        with error:
            headers = {name.lower(): value for name, value in error.headers.items()}
            return Answer(error.code, error.read(), headers)


def post(address: str, target: str, body: bytes = b"") -> None:
    """Have something done.

    Raises:
        AssertionError: If it is not answered with 200.
    """
    answer = ask(address, target, "POST", body)
    assert answer.status == 200, (target, answer)


def publish(server: Server, topic: str, *bodies: bytes) -> None:
    """Publish these, all at once."""
    with socket.create_connection((server.host, server.port), PATIENCE_SECONDS) as client:
        client.sendall(b"  V2" + mpub(topic, *bodies))
        assert client.makefile("rb").read(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"


def make(server: Server, topic: str, *channels: str) -> None:
    """Make a topic with these channels."""
    post(server.http_address, f"/topic/create?topic={topic}")
    for channel in channels:
        post(server.http_address, f"/channel/create?topic={topic}&channel={channel}")


def drain(server: Server, topic: str, channel: str, count: int) -> list[bytes]:
    """The bodies of so many messages, each finished; which the server has noticed on return."""
    bodies = []
    with socket.create_connection((server.host, server.port), PATIENCE_SECONDS) as client:
        stream = client.makefile("rb")
        client.sendall(f"  V2SUB {topic} {channel}\nRDY 100\n".encode())
        while len(bodies) < count:
            kind, frame = _frame(client, stream)
            if kind == 2:
                bodies.append(frame[26:])
                client.sendall(b"FIN " + frame[10:26] + b"\n")
        client.sendall(b"CLS\n")
        while _frame(client, stream) != (0, b"CLOSE_WAIT"):
            pass
    return bodies


def _frame(client: socket.socket, stream: Any) -> tuple[int, bytes]:
    """The next frame that is no heartbeat."""
    while True:
        head = stream.read(8)
        assert len(head) == 8, "the server has hung up"
        size, kind = struct.unpack(">ii", head)
        frame = stream.read(size - 4)
        assert kind != 1, frame
        if frame != b"_heartbeat_":
            return kind, frame
        client.sendall(b"NOP\n")
