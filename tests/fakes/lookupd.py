"""An nsqlookupd that says what the test tells it to say, to the byte; its HTTP API, too."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web

from nsqlite.clock import VirtualClock
from tests.fakes.clock import PATIENCE_SECONDS

ROUNDS = 30  # of a loop, in which bytes get from one end of a loopback socket to the other, and are acted upon


async def settle() -> None:
    """Return when the loop has done all that it could do by now."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def advance(clock: VirtualClock, seconds: float) -> None:
    """Let time pass; what was under way before is done, and what the time sets off."""
    await settle()
    clock.advance(seconds)
    await settle()


class Conversation:
    """One connection of a node, from the nsqlookupd's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, size: int) -> bytes:
        """So many bytes, which come."""
        return await asyncio.wait_for(self._reader.readexactly(size), PATIENCE_SECONDS)

    async def expect(self, wanted: bytes) -> None:
        """Fail unless these are the next bytes."""
        assert await self.read(len(wanted)) == wanted

    def answer(self, response: bytes = b"OK") -> None:
        """Send a response."""
        self._writer.write(struct.pack(">I", len(response)) + response)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def hear(self, *lines: str) -> None:
        """Hear these commands and no others, and answer each."""
        for line in lines:
            await self.expect(line.encode() + b"\n")
            self.answer()
        assert await self.is_silent()

    async def identify(self, info: bytes | None = None, http_address: str = "") -> dict[str, Any]:
        """Hear the magic and IDENTIFY, and answer it; what was said."""
        await self.expect(b"  V1IDENTIFY\n")
        (size,) = struct.unpack(">I", await self.read(4))
        said: dict[str, Any] = json.loads(await self.read(size))
        host, _, port = http_address.rpartition(":")
        known = {"broadcast_address": host, "hostname": "h", "http_port": int(port or 0), "tcp_port": 4160}
        self.answer(json.dumps(known | {"version": "1.3.0"}).encode() if info is None else info)
        return said

    async def is_silent(self) -> bool:
        """Whether nothing more has come by now, not even the end."""
        await settle()
        return not self._reader._buffer and not self._reader.at_eof()  # type: ignore[attr-defined]

    async def ends(self) -> bool:
        """Whether the node hangs up without another word."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE_SECONDS) == b""

    def hang_up(self) -> None:
        """Close it."""
        self._writer.close()


@attrs.define
class ScriptedLookupd:
    """An nsqlookupd, and its HTTP API.

    Attributes:
        address: host:port of its TCP protocol.
        http_address: The same of its HTTP API.
        requests: What was asked over HTTP: path with query.
        channels: What it answers there.
        status: The same.
        may_answer: Whether it answers there by now.
    """

    address: str = ""
    http_address: str = ""
    requests: list[str] = attrs.field(factory=list)
    channels: bytes = b'{"channels":[]}'
    status: int = 200
    may_answer: asyncio.Event = attrs.field(factory=asyncio.Event)
    _arrived: asyncio.Queue[Conversation] = attrs.field(factory=asyncio.Queue)
    _conversations: list[Conversation] = attrs.field(factory=list)

    async def accept(self) -> Conversation:
        """The next connection."""
        return await asyncio.wait_for(self._arrived.get(), PATIENCE_SECONDS)

    async def identified(self) -> Conversation:
        """The next connection, which has said who it is and knows where to ask for channels."""
        conversation = await self.accept()
        await conversation.identify(http_address=self.http_address)
        return conversation

    @property
    def is_alone(self) -> bool:
        """Whether nobody has come whom the test has not met."""
        return self._arrived.empty()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """What the HTTP API says."""
        self.requests.append(request.raw_path)
        await self.may_answer.wait()
        return web.Response(status=self.status, body=self.channels)

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(reader, writer)
        self._conversations.append(conversation)
        self._arrived.put_nowait(conversation)


@asynccontextmanager
async def scripted_lookupd(port: int = 0, **fields: Any) -> AsyncIterator[ScriptedLookupd]:
    """An nsqlookupd on loopback, in the running loop. Over HTTP it answers at once."""
    lookupd = ScriptedLookupd(**fields)
    lookupd.may_answer.set()
    server = await asyncio.start_server(lookupd._met, "127.0.0.1", port)
    runner = web.ServerRunner(web.Server(lookupd.answer), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    lookupd.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    lookupd.http_address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield lookupd
    finally:
        lookupd.may_answer.set()
        server.close()
        for conversation in lookupd._conversations:
            conversation.hang_up()
        await runner.cleanup()
        await settle()


async def until(has_come: Callable[[], bool]) -> None:
    """Return when something has come about that may need other threads, or fail."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + PATIENCE_SECONDS
    while not has_come():
        assert loop.time() < limit, "it never came about"
        await asyncio.sleep(0)
