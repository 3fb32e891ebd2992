"""POST /pub and /mpub.

A batch takes some 120 bytes a message, and its own bytes, until it is kept. One of 5 MiB in lines of
one byte each, 2.6 million messages, takes 300 MiB and a second in which nobody else is served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from nsqlite.core.topic import Topic
from nsqlite.errors import ClosedError, NodeFailedError, StoreError, TopicDeletedError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.bodies import Bodies
from nsqlite.net.http.budget import Budget
from nsqlite.net.http.router import Call, Routes
from nsqlite.net.http_api.arguments import BOOLEANS, topic_name
from nsqlite.net.protocol.batch import Batch
from nsqlite.net.protocol.commands import Limits
from nsqlite.net.protocol.errors import BadBodyError, BadMessageError
from nsqlite.net.protocol.negotiation import MILLISECOND_NS
from nsqlite.ops import Publish

if TYPE_CHECKING:
    from nsqlite.net.tcp_server import TcpServer

MESSAGE_BYTES: Final = 120  # what a message of a batch takes beside its bytes, until it is kept
BATCHES_BYTES: Final = 64 * 1024 * 1024  # of that, of all batches together
_INTEGER: Final = re.compile("[+-]?[0-9]+")


class Publishing:
    """Both endpoints of one server."""

    def __init__(self, tcp: TcpServer, bodies: Bodies) -> None:
        self._engine = tcp.engine
        self._door = tcp.door
        self._topics = tcp.topics
        self._limits = limits = tcp.limits
        self._fullness = tcp.fullness
        self._bodies = bodies
        self._batches = Budget(max(BATCHES_BYTES, limits.max_body_size))

    def routes(self) -> Routes:
        """See Router."""
        return {"/pub": {"POST": self.pub}, "/mpub": {"POST": self.mpub}}

    async def pub(self, call: Call) -> web.StreamResponse:
        """One message: the body. Hot (benchmarks/http)."""
        body = self._bodies.arrived(call.request)
        if body is not None:
            return await self._pub(call, body)
        async with self._bodies.reading(call.request, self._limits.max_msg_size, "MSG_TOO_BIG") as body:
            return await self._pub(call, body)

    async def _pub(self, call: Call, body: bytes) -> web.StreamResponse:
        if len(body) > self._limits.max_msg_size:
            raise HttpError(413, "MSG_TOO_BIG")
        if not body:
            raise HttpError(400, "MSG_EMPTY")
        params = call.params()
        topic = await self._topic(topic_name(params))
        delay_ns = self._delay_ns(params["defer"]) if "defer" in params else 0
        if delay_ns or self._engine.is_synced:
            await self._publish(topic, [body], delay_ns)
        else:
            try:
                self._engine.publish_one_now(topic, body)
            except (StoreError, ClosedError, NodeFailedError):
                await self._publish(topic, [body], 0)
        return answers.ok(call.request)

    async def mpub(self, call: Call) -> web.StreamResponse:
        """Many messages, all or none: a line each, or with their sizes as in MPUB."""
        limit = self._limits.max_body_size
        length = call.request.content_length
        if length is not None and length > limit:
            raise HttpError(413, "BODY_TOO_BIG")
        params = call.params()
        topic = await self._topic(topic_name(params))
        is_binary = "binary" in params and BOOLEANS.get(params["binary"], True)
        body = self._bodies.arrived(call.request)
        if body is not None:
            await self._publish_batch(topic, body, is_binary=is_binary)
        else:
            async with self._bodies.reading(call.request, limit, "BODY_TOO_BIG") as body:
                await self._publish_batch(topic, body, is_binary=is_binary)
        return answers.ok(call.request)

    async def _publish_batch(self, topic: Topic, body: bytes, *, is_binary: bool) -> None:
        """Take it apart and publish it; if that must be waited for, what it takes meanwhile is bounded."""
        if not self._engine.is_synced and self._is_published_now(topic, body, is_binary=is_binary):
            return
        count = int.from_bytes(body[:4], "big") if is_binary else body.count(b"\n")
        size_bytes = min(count, len(body)) * MESSAGE_BYTES
        await self._batches.take(size_bytes)
        try:
            bodies = _sized(body, self._limits) if is_binary else _lines(body, self._limits)
            if bodies:
                await self._publish(topic, bodies, 0)
        finally:
            self._batches.give_back(size_bytes)

    def _is_published_now(self, topic: Topic, body: bytes, *, is_binary: bool) -> bool:
        """Publish a batch if nothing has to be waited for. Hot: it makes no ids (benchmarks/http)."""
        bodies = _sized(body, self._limits) if is_binary else _lines(body, self._limits)
        if not bodies:
            return True
        op = Publish(topic, bodies, 0)
        try:
            self._engine.carry_out(op)
        except (StoreError, ClosedError, NodeFailedError):
            return False
        return op.error is None

    async def _topic(self, name: str) -> Topic:
        topic = self._engine.broker.topics.get(name)
        if topic is not None:
            return topic
        try:
            return await self._topics.get(name)
        except (StoreError, ClosedError, NodeFailedError) as error:
            raise self._refused(error) from error

    def _delay_ns(self, text: str) -> int:
        """Milliseconds, as Go's ParseInt reads them."""
        delay_ms = int(text) if len(text) <= 20 and _INTEGER.fullmatch(text) else -1
        if not 0 <= delay_ms <= self._limits.max_req_timeout_ms:
            raise HttpError(400, "INVALID_DEFER")
        return delay_ms * MILLISECOND_NS

    async def _publish(self, topic: Topic, bodies: Sequence[bytes], delay_ns: int) -> None:
        """Have it kept; a topic that is deleted this moment is made anew."""
        while True:
            try:
                await self._door.run(lambda topic=topic: Publish(topic, bodies, delay_ns))  # type: ignore[misc]
                return
            except TopicDeletedError:
                topic = await self._topic(topic.name)
            except (StoreError, ClosedError, NodeFailedError) as error:
                raise self._refused(error) from error

    def _refused(self, error: Exception) -> HttpError:
        """What nsqd says, whatever it is; if the store is full, the log is told so."""
        self._fullness.tell(error)
        return HttpError(503, "EXITING")


def _lines(body: bytes, limits: Limits) -> list[bytes]:
    """The lines that are not empty.

    Raises:
        HttpError: 413, for the first line that is too long, or ends too late.
    """
    whole, size = limits.max_body_size, limits.max_msg_size
    lines = body.split(b"\n")
    if len(body) > whole or max(map(len, lines)) > size:
        end = 0
        for line in lines:
            end += len(line) + 1
            if min(end, len(body)) > whole:
                raise HttpError(413, "BODY_TOO_BIG")
            if len(line) > size:
                raise HttpError(413, "MSG_TOO_BIG")
    return list(filter(None, lines))


def _sized(body: bytes, limits: Limits) -> list[bytes]:
    """The bodies of ``u32 count { u32 size, body }``; what is behind them is not looked at.

    Raises:
        HttpError: 413, with nsqd's words for a batch that is none.
    """
    batch = Batch(limits)
    try:
        bodies = batch.read(body, 0)
    except BadBodyError as error:
        raise HttpError(413, "BAD_BODY") from error
    except BadMessageError as error:
        raise HttpError(413, "BAD_MESSAGE") from error
    if bodies is None:
        if len(body) > limits.max_body_size:
            raise HttpError(413, "BODY_TOO_BIG")
        raise HttpError(413, "BAD_MESSAGE" if batch.count else "BAD_BODY")
    return bodies
