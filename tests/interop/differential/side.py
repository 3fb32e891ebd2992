"""One of the two servers: what is sent to it, and what comes back, with names instead of ids and ports."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from typing import Any, Final

import attrs

from tests.interop.differential.stream import Http, Tcp
from tests.interop.servers import Server
from tests.interop.transcripts.connection import Connection as HttpConnection
from tests.interop.transcripts.http_wire import Reply, read_reply, request_bytes

PATIENCE_SECONDS: Final = 10.0
IDENTIFY: Final = {"output_buffer_size": -1, "output_buffer_timeout": -1, "heartbeat_interval": 3_600_000}
BARRIER: Final = b"FIN ffffffffffffffff\n"
GOES_ON: Final = ("error E_FIN_FAILED", "error E_REQ_FAILED", "error E_TOUCH_FAILED")
_MESSAGE: Final = struct.Struct(">QH16s")


@attrs.define
class Client:
    """A TCP connection.

    Attributes:
        held: Ids of the messages that it has, by body.
        received: How many messages came.
        is_subscribed: Whether SUB was answered OK.
    """

    socket: socket.socket
    address: str
    data: bytes = b""
    held: dict[bytes, bytes] = attrs.field(factory=dict)
    received: int = 0
    is_subscribed: bool = False
    is_over: bool = False


@attrs.define
class Heard:
    """What came over TCP since it was asked last.

    Attributes:
        frames: Responses and errors, and the end as "end", each with who heard it.
        messages: Messages, whose order means nothing.
    """

    frames: list[tuple[str, str]] = attrs.field(factory=list)
    messages: list[tuple[str, bytes, int]] = attrs.field(factory=list)


class Side:
    """A server, and everybody who talks to it."""

    def __init__(self, server: Server) -> None:
        self.kind = server.kind
        self.clients: dict[str, Client] = {}
        self._server = server
        self._http: HttpConnection | None = None
        self._heard = Heard()

    def close(self) -> None:
        """Hang up."""
        for client in self.clients.values():
            client.socket.close()
        if self._http is not None:
            self._http.close()

    # ------------------------------------------------------------------------------------------------------------ HTTP

    def ask(self, step: Http) -> Reply:
        """Make a request and wait for the answer, on a connection that is kept while the server keeps it."""
        if self._http is None:
            self._http = HttpConnection((self._server.host, self._server.http_port), PATIENCE_SECONDS)
        self._http.send(request_bytes(step.request, "localhost"))
        deadline = time.monotonic() + PATIENCE_SECONDS
        reply = read_reply(self._http, deadline, is_head=step.request.method == "HEAD")
        assert reply is not None, f"{self.kind} closed the connection at {step}"
        if reply.is_last:
            self._http.close()
            self._http = None
        return reply

    def stats(self) -> dict[str, Any]:
        """All statistics, as JSON has them."""
        found: dict[str, Any] = json.loads(self.ask(Http.get("/stats?format=json&include_mem=false")).body)
        return found

    # ------------------------------------------------------------------------------------------------------------- TCP

    def say(self, step: Tcp) -> None:
        """Send a command, and wait until it was carried out; what comes is kept for `take`."""
        client = self.clients.get(step.by) or self._connect(step.by)
        before = len(self._heard.frames)
        body = step.message
        message_id = client.held.pop(body, b"") if step.settles else client.held.get(body, b"")
        if step.of:
            message_id = self.clients[step.of].held.get(body, b"") if step.of in self.clients else b""
        client.socket.sendall(step.data.replace(b"{id}", message_id))
        if step.needs_barrier and client.is_subscribed:
            client.socket.sendall(BARRIER)
        if step.is_last:
            client.socket.shutdown(socket.SHUT_WR)
        self._await(step.by, client, before, is_last=step.is_last)
        if step.subscribes and (step.by, "response OK") in self._heard.frames[before:]:
            client.is_subscribed = True

    def hang_up(self, name: str) -> None:
        """Close a connection."""
        self.clients.pop(name).socket.close()

    def take(self) -> Heard:
        """All that came since the last time."""
        for name, client in list(self.clients.items()):
            self._read(name, client, 0.0)
        heard, self._heard = self._heard, Heard()
        return heard

    def give_back(self, heard: Heard) -> None:
        """It was taken too early."""
        self._heard = Heard(heard.frames + self._heard.frames, heard.messages + self._heard.messages)

    def is_settled(self, stats: dict[str, Any]) -> bool:
        """Whether nothing is on its way any more: all that can move has moved."""
        for topic in stats["topics"]:
            if topic["depth"] and topic["channels"] and not topic["paused"]:
                return False
            for channel in topic["channels"]:
                for each in channel["clients"]:
                    is_ready = each["state"] == 3 and each["in_flight_count"] < each["ready_count"]
                    if channel["depth"] and is_ready and not channel["paused"]:
                        return False
        received = {client.address: client.received for client in self.clients.values()}
        listed = [each for topic in stats["topics"] for channel in topic["channels"] for each in channel["clients"]]
        return all(received.get(each["remote_address"]) == each["message_count"] for each in listed)

    def _connect(self, name: str) -> Client:
        there = socket.create_connection((self._server.host, self._server.port), timeout=PATIENCE_SECONDS)
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = there.getsockname()
        client = self.clients[name] = Client(there, f"{host}:{port}")
        body = json.dumps(IDENTIFY | {"client_id": name, "hostname": f"{name}.host"}).encode()
        before = len(self._heard.frames)
        there.sendall(b"  V2IDENTIFY\n" + struct.pack(">I", len(body)) + body)
        self._await(name, client, before)
        return client

    def _await(self, name: str, client: Client, before: int, *, is_last: bool = False) -> None:
        """Wait for the one answer that a command has; if it is the last, or an error that ends it all, for the end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            said = [text for by, text in self._heard.frames[before:] if by == name]
            goes_on = said and (said[0].startswith("response") or said[0].startswith(GOES_ON))
            if (goes_on and not is_last) or client.is_over:
                return
            self._read(name, client, 0.05)
        raise AssertionError(f"{self.kind} did not answer {name}: {self._heard}")

    def _read(self, name: str, client: Client, seconds: float) -> None:
        """Read what is there, or comes within this time."""
        while not client.is_over and select.select([client.socket], [], [], seconds)[0]:
            seconds = 0.0
            try:
                got = client.socket.recv(1 << 16)
            except ConnectionResetError:
                got = b""
            client.data += got
            self._parse(name, client)
            if not got:
                client.is_over = True
                client.socket.close()
                self.clients.pop(name)
                self._heard.frames.append((name, "end"))

    def _parse(self, name: str, client: Client) -> None:
        while len(client.data) >= 4 and len(client.data) >= 4 + (size := int.from_bytes(client.data[:4], "big")):
            frame_type, data = client.data[7], client.data[8 : 4 + size]
            client.data = client.data[4 + size :]
            if frame_type != 2:
                kind = "error" if frame_type else "response"
                self._heard.frames.append((name, f"{kind} {data.decode('latin-1')}"))
                continue
            _, attempts, message_id = _MESSAGE.unpack_from(data)
            body = data[_MESSAGE.size :]
            client.held[body] = message_id
            client.received += 1
            self._heard.messages.append((name, body, attempts))
