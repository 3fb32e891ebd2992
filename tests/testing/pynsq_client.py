"""pynsq's Writer and Reader, which tell a test what they meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nsq

from nsqlite.testing.addresses import Address
from tests.fakes.clock import PATIENCE_SECONDS

Told = tuple[str, Any]


class Telling:
    """What both do: tell when a connection is ready, closed, alive or in error."""

    conns: dict[str, Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.told: asyncio.Queue[Told] = asyncio.Queue()
        super().__init__(*arguments, **options)

    async def hear(self) -> Told:
        """The next thing it tells."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.told.get()

    def _on_connection_ready(self, conn: Any, **kwargs: Any) -> None:
        super()._on_connection_ready(conn, **kwargs)  # type: ignore[misc]
        self.told.put_nowait(("ready", None))

    def _on_connection_close(self, conn: Any, **kwargs: Any) -> None:
        super()._on_connection_close(conn, **kwargs)  # type: ignore[misc]
        self.told.put_nowait(("closed", None))

    def _on_connection_error(self, conn: Any, error: Exception, **kwargs: Any) -> None:
        super()._on_connection_error(conn, error, **kwargs)  # type: ignore[misc]
        self.told.put_nowait(("error", str(error)))

    def heartbeat(self, conn: Any) -> None:
        """Called by pynsq."""
        self.told.put_nowait(("heartbeat", None))


class Writer(Telling, nsq.Writer):  # type: ignore[misc]  # pynsq has no types
    """A Writer whose publishing can be awaited."""

    async def publish(self, topic: str, body: bytes) -> bytes | Exception:
        """Publish; what the callback is told."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(_: Any, data: Any) -> None:
            if not answer.done():  # an error is told once, and once more when the connection closes
                answer.set_result(data)

        self.pub(topic, body, callback=answered)
        async with asyncio.timeout(PATIENCE_SECONDS):
            data: bytes | Exception = await answer
        return data


class Reader(Telling, nsq.Reader):  # type: ignore[misc]  # the same
    """A Reader that tells its messages, and finishes them unless it is to hold them."""

    held: list[Any]
    holds = False

    def take(self, message: Any) -> bool:
        """Called by pynsq for each message."""
        self.told.put_nowait(("message", (message.body, message.attempts)))
        if self.holds:
            message.enable_async()
            self.held.append(message)
        return True


@asynccontextmanager
async def writing(address: Address, **options: Any) -> AsyncIterator[Writer]:
    """A Writer that is connected, and comes back at once when it is cut off."""
    writer = Writer([str(address)], **{"reconnect_interval": 0.01} | options)
    try:
        assert await writer.hear() == ("ready", None)
        yield writer
    finally:
        while not writer.conns:  # it is coming back, and there is no other way to get hold of that connection
            await writer.hear()
        writer.reconnect_interval = 3600
        await _hang_up(writer)


@asynccontextmanager
async def reading(
    *addresses: Address, lookupd: Address | None = None, holds: bool = False, **options: Any
) -> AsyncIterator[Reader]:
    """A Reader of orders:billing."""
    found = {} if lookupd is None else {"lookupd_http_addresses": [f"http://{lookupd}"]}
    direct = {"nsqd_tcp_addresses": [*map(str, addresses)]} if addresses else {}
    reader = Reader("orders", "billing", **found, **direct, **options)
    reader.holds, reader.held = holds, []
    reader.set_message_handler(reader.take)
    try:
        yield reader
    finally:
        reader.redist_periodic.stop()
        if reader.query_periodic is not None:
            reader.query_periodic.stop()
        await _hang_up(reader)
        reader.http_client.close()


async def _hang_up(client: Telling) -> None:
    for conn in list(client.conns.values()):
        conn.close()
    while client.conns:
        await client.hear()
