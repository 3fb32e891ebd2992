"""Plays a transcript to a server, and fails where the server says something else.

It knows the steps, not whom it talks to: a `Peer` is a node or a real nsqd.
"""

from __future__ import annotations

import json
import re
import struct
from functools import singledispatchmethod
from typing import Any, Protocol

import attrs

from tests.interop.transcripts import http_steps, steps
from tests.interop.transcripts.auth_server import AuthServer
from tests.interop.transcripts.certificates import Certificates
from tests.interop.transcripts.connection import Connection, client_context
from tests.interop.transcripts.http_wire import Reply, read_reply, request_bytes
from tests.interop.transcripts.timing import LIMIT_SECONDS, Time

MESSAGE_HEAD = struct.Struct(">QH16s")
MESSAGE_ID = re.compile(rb"[0-9a-f]{16}")
HOUR_NS = 3600 * 1_000_000_000
# What nsqd leaves out of a client's statistics when there is nothing to tell.
OMITTED: dict[str, Any] = {"authed": False, "auth_identity": "", "auth_identity_url": "", "pub_counts": []}


class Peer(Protocol):
    """A server that runs."""

    name: str
    address: tuple[str, int]
    http_address: tuple[str, int]
    https_address: tuple[str, int] | None
    time: Time
    auth: AuthServer | None
    certificates: Certificates

    def stats(self) -> dict[str, Any]:
        """Return all statistics, named and nested as in nsqd's JSON."""

    def manage(self, action: str, topic: str, channel: str) -> None:
        """Pause, unpause, empty or delete a channel, or a topic if no channel is named."""


@attrs.frozen
class Kept:
    """What is remembered of a message."""

    message_id: bytes
    timestamp_ns: int


class Player:
    """One performance of one transcript."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._connections: dict[str, Connection] = {}
        self._kept: dict[str, Kept] = {}
        self._heard: list[str] = []
        self._heads: set[str] = set()  # connections whose last request was HEAD

    def play(self, transcript: steps.Transcript) -> None:
        """Take all steps, and hang up."""
        if self._peer.auth is not None:
            self._peer.auth.reset()
        try:
            self._take(transcript.steps)
        finally:
            for connection in self._connections.values():
                connection.close()

    def _take(self, sequence: tuple[steps.Step, ...]) -> None:
        for step in sequence:
            if not isinstance(step, steps.Expect | steps.ExpectBytes | steps.ExpectEof | steps.Advance | steps.Silence):
                self._peer.time.catch_up()
            try:
                self._step(step)
            except (AssertionError, OSError) as failure:
                heard = "\n  ".join(self._heard) or "nothing"
                failure.add_note(f"{self._peer.name}, at {step}\nheard before, the last line last:\n  {heard}")
                raise

    def _connection(self, name: str) -> Connection:
        if name not in self._connections:
            self._step(steps.Connect(by=name))
        return self._connections[name]

    def _fill(self, data: bytes) -> bytes:
        """Put the ids of kept messages where they are named."""
        for word, kept in self._kept.items():
            data = data.replace(b"{%s}" % word.encode(), kept.message_id)
        return data

    @singledispatchmethod
    def _step(self, step: steps.Step) -> None:
        raise TypeError(f"nobody knows how to do {step}")

    # ------------------------------------------------------------------------------------------------ the client acts

    @_step.register
    def _connect(self, step: steps.Connect) -> None:
        connection = Connection(self._peer.address, LIMIT_SECONDS)
        self._connections[step.by] = connection
        connection.send(step.magic)
        self._peer.time.mark()

    @_step.register
    def _send(self, step: steps.Send) -> None:
        connection = self._connection(step.by)
        connection.send(self._fill(step.data))
        self._peer.time.mark()

    @_step.register
    def _half_close(self, step: steps.HalfClose) -> None:
        self._connection(step.by).half_close()

    @_step.register
    def _close(self, step: steps.Close) -> None:
        self._connections.pop(step.by).close()

    @_step.register
    def _start_tls(self, step: steps.StartTls) -> None:
        files = self._peer.certificates
        shown = {"client": files.client, "stranger": files.stranger}.get(step.certificate, "")
        context = client_context(files.authority, shown, step.newest)
        self._connection(step.by).start_tls(context, LIMIT_SECONDS)

    @_step.register
    def _refuse_tls(self, step: steps.RefuseTls) -> None:
        try:
            self._start_tls(steps.StartTls(step.by, step.certificate, step.newest))
        except OSError as refused:
            self._heard.append(f"{step.by}: {refused}")
            return
        raise AssertionError("the handshake succeeded")

    @_step.register
    def _start_compression(self, step: steps.StartCompression) -> None:
        self._connection(step.by).start_compression(step.method)

    @_step.register
    def _manage(self, step: steps.Manage) -> None:
        self._peer.manage(step.action, step.topic, step.channel)

    @_step.register
    def _advance(self, step: steps.Advance) -> None:
        self._peer.time.advance(step.seconds)

    @_step.register
    def _differs(self, step: steps.Differs) -> None:
        self._take(step.node if self._peer.name == "node" else step.nsqd)

    @_step.register
    def _on_virtual_time(self, step: steps.OnVirtualTime) -> None:
        if self._peer.time.is_virtual:
            self._take(step.steps)

    # ---------------------------------------------------------------------------------------------- the server answers

    @_step.register
    def _silence(self, step: steps.Silence) -> None:
        connection = self._connection(step.by)
        self._peer.time.advance(step.seconds)
        if not connection.is_silent(self._peer.time.hush()):
            found = self._read(step.by, LIMIT_SECONDS)
            raise AssertionError(f"silence was expected, and this came: {found}")

    @_step.register
    def _expect(self, step: steps.Expect) -> None:
        found = self._read(step.by, step.late)
        while step.perhaps is not None and found == (step.perhaps.frame_type, step.perhaps.data):
            found = self._read(step.by, step.late)
        assert found is not None, "a frame was expected, and the connection is closed"
        frame_type, data = found
        if isinstance(step.frame, steps.Message):
            assert frame_type == steps.MESSAGE, f"a message was expected, and this came: {found}"
            self._match_message(step.frame, data)
        elif isinstance(step.frame, steps.Json):
            assert frame_type == steps.RESPONSE
            _match(step.frame.values, json.loads(data))
        else:
            self._match_frame(step.frame, frame_type, data)

    @_step.register
    def _expect_bytes(self, step: steps.ExpectBytes) -> None:
        deadline = self._peer.time.deadline(LIMIT_SECONDS)
        found = self._connection(step.by).read_bytes(len(step.data), deadline)
        assert found == step.data

    @_step.register
    def _expect_eof(self, step: steps.ExpectEof) -> None:
        while (found := self._read(step.by, LIMIT_SECONDS)) is not None:
            assert step.perhaps is not None, f"the end was expected, and this came: {found}"
            self._match_frame(step.perhaps, *found)

    def _read(self, name: str, late: float) -> tuple[int, bytes] | None:
        found = self._connection(name).read_frame(self._peer.time.deadline(late))
        self._peer.time.mark()
        self._heard.append(f"{name}: {found or 'the end'}")
        return found

    def _match_frame(self, frame: steps.Frame, frame_type: int, data: bytes) -> None:
        if isinstance(frame.data, re.Pattern):
            assert frame_type == frame.frame_type
            assert frame.data.fullmatch(data), f"{data!r} does not match {frame.data.pattern!r}"
        else:
            assert (frame_type, data) == (frame.frame_type, self._fill(frame.data))

    def _match_message(self, expected: steps.Message, data: bytes) -> None:
        timestamp_ns, attempts, message_id = MESSAGE_HEAD.unpack_from(data)
        assert MESSAGE_ID.fullmatch(message_id), f"{message_id!r} is no message id"
        assert 0 <= self._peer.time.wall_ns() - timestamp_ns <= 2 * HOUR_NS, "the timestamp is not of now"
        assert (data[MESSAGE_HEAD.size :], attempts) == (expected.body, expected.attempts)
        if expected.again:
            assert Kept(message_id, timestamp_ns) == self._kept[expected.again]
        if expected.unlike:
            assert message_id != self._kept[expected.unlike].message_id
        if expected.keep:
            self._kept[expected.keep] = Kept(message_id, timestamp_ns)

    # ------------------------------------------------------------------------------------------------------------ HTTP

    @_step.register
    def _connect_http(self, step: http_steps.ConnectHttp) -> None:
        address = self._peer.https_address if step.https else self._peer.http_address
        assert address is not None, "the server has no such address"
        self._connections[step.by] = Connection(address, LIMIT_SECONDS)

    @_step.register
    def _request(self, step: http_steps.Request) -> None:
        if step.by not in self._connections:
            self._connect_http(http_steps.ConnectHttp(step.by))
        (self._heads.add if step.method == "HEAD" else self._heads.discard)(step.by)
        host = "{}:{}".format(*self._peer.http_address)
        self._connections[step.by].send(self._fill(request_bytes(step, host)))
        self._peer.time.mark()

    @_step.register
    def _answer(self, step: http_steps.Answer) -> None:
        reply = self._reply(step.by)
        found = reply.status, {name: reply.headers.get(name) for name in step.headers}
        assert found == (step.status, step.headers), f"{reply} was answered"
        assert self._is_body(step.body, reply.body), f"{reply.body!r} was answered, and {step.body!r} expected"

    @_step.register
    def _look(self, step: http_steps.Look) -> None:
        reply = None
        for _ in self._peer.time.tries():
            self._request(http_steps.Request("GET", step.target, by=step.by))
            reply = self._reply(step.by)
            if reply.status == 200 and self._is_body(step.body, reply.body):
                return
        raise AssertionError(f"{reply} was answered last, and {step.body!r} expected")

    def _reply(self, name: str) -> Reply:
        deadline = self._peer.time.deadline(LIMIT_SECONDS)
        reply = read_reply(self._connections[name], deadline, is_head=name in self._heads)
        self._peer.time.mark()
        self._heard.append(f"{name}: {reply or 'the end'}")
        assert reply is not None, "an answer was expected, and the connection is closed"
        return reply

    def _is_body(self, expected: http_steps.Body, body: bytes) -> bool:
        if isinstance(expected, bytes):
            return body == self._fill(expected)
        if isinstance(expected, re.Pattern):
            return expected.fullmatch(body) is not None
        return expected is None or has_fields(json.loads(body), expected)

    # ------------------------------------------------------------------------------------------------------ statistics

    def _eventually(self, look: Any, expected: Any) -> None:
        """Look until what is there matches; statistics lag behind commands that are not answered."""
        found = None
        for _ in self._peer.time.tries():
            found = look()
            if found is not None and all(
                found.get(name, OMITTED.get(name)) == value for name, value in expected.items()
            ):
                return
        assert found is not None, "there are no such statistics"
        _match(expected, found)

    @_step.register
    def _expect_topic(self, step: steps.ExpectTopic) -> None:
        self._eventually(lambda: self._topic(step.topic), step.values)

    @_step.register
    def _expect_no_topic(self, step: steps.ExpectNoTopic) -> None:
        assert any(self._topic(step.topic) is None for _ in self._peer.time.tries()), "the topic is there"

    @_step.register
    def _expect_no_channel(self, step: steps.ExpectNoChannel) -> None:
        tries = self._peer.time.tries()
        assert any(self._channel(step.topic, step.channel) is None for _ in tries), "the channel is there"
        assert self._topic(step.topic) is not None, "the topic is gone too"

    @_step.register
    def _expect_channel(self, step: steps.ExpectChannel) -> None:
        self._eventually(lambda: self._channel(step.topic, step.channel), step.values)

    @_step.register
    def _expect_client(self, step: steps.ExpectClient) -> None:
        def look() -> dict[str, Any] | None:
            channel = self._channel(step.topic, step.channel)
            return _of(channel["clients"] if channel else [], "remote_address", self._connection(step.by).address)

        self._eventually(look, step.values)

    @_step.register
    def _expect_producer(self, step: steps.ExpectProducer) -> None:
        def look() -> dict[str, Any] | None:
            return _of(self._peer.stats()["producers"] or [], "remote_address", self._connection(step.by).address)

        self._eventually(look, step.values)

    def _topic(self, name: str) -> dict[str, Any] | None:
        return _of(self._peer.stats()["topics"], "topic_name", name)

    def _channel(self, topic_name: str, name: str) -> dict[str, Any] | None:
        topic = self._topic(topic_name)
        return _of(topic["channels"], "channel_name", name) if topic else None

    # ------------------------------------------------------------------------------------------------------------ auth

    @_step.register
    def _auth_answers(self, step: steps.AuthAnswers) -> None:
        assert self._peer.auth is not None, "the transcript did not ask for an auth server"
        self._peer.auth.status, self._peer.auth.body = step.status, step.body

    @_step.register
    def _expect_auth_requests(self, step: steps.ExpectAuthRequests) -> None:
        assert self._peer.auth is not None
        assert tuple(self._peer.auth.lines) == step.lines


def _of(entries: Any, key: str, value: str) -> dict[str, Any] | None:
    """Find the entry of a list that has this name."""
    return next((entry for entry in entries if entry[key] == value), None)


def _match(expected: Any, found: dict[str, Any]) -> None:
    assert {name: found.get(name, OMITTED.get(name)) for name in expected} == dict(expected)


def has_fields(found: Any, expected: Any) -> bool:
    """Tell whether JSON has what is expected: of an object these keys, of a list as many elements."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name in found and has_fields(found[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(has_fields, found, expected))
    return bool(expected == found and isinstance(found, bool) == isinstance(expected, bool))
