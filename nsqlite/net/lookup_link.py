"""One connection to an nsqlookupd: a command out, a response in, one at a time.

Connecting and each response have a second, as with nsqd; a response is u32(size) and so many
bytes, and no larger than its bound. What was not asked for ends the connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

from nsqlite.clock import Clock
from nsqlite.errors import NsqliteError
from nsqlite.net.options import parse_address
from nsqlite.options import SECOND_NS

LIMIT_NS: Final = SECOND_NS
_SIZE: Final = struct.Struct(">i")
_HTTP: Final = b"HTTP"  # what a server of that says first, and no size that anybody takes


class LookupFailedError(NsqliteError):
    """A conversation with an nsqlookupd came to its end; it begins anew before long."""


async def connect(clock: Clock, address: str, max_bytes: int, on_lost: Callable[[], object]) -> LookupLink:
    """Connect to host:port.

    Args:
        clock: By which a second passes.
        address: Of the nsqlookupd.
        max_bytes: The largest response that is taken.
        on_lost: Called in the loop when the connection is over.

    Raises:
        LookupFailedError: There is no connection.
    """
    loop = asyncio.get_running_loop()
    try:
        where = parse_address(address)
        if isinstance(where, str):
            raise LookupFailedError("give host:port")
        async with asyncio.timeout(None) as limit:
            alarm = clock.call_at(loop, clock.monotonic_ns() + LIMIT_NS, lambda: limit.reschedule(loop.time()))
            try:
                _, link = await loop.create_connection(lambda: LookupLink(clock, max_bytes, on_lost), *where)
            finally:
                alarm.cancel()
    except TimeoutError as error:
        raise LookupFailedError("no connection within 1 s") from error
    except (OSError, ValueError) as error:
        raise LookupFailedError(str(error)) from error
    return link


class LookupLink(asyncio.Protocol):
    """What `connect` makes.

    Attributes:
        error: Why it is over; None while it is not.
    """

    def __init__(self, clock: Clock, max_bytes: int, on_lost: Callable[[], object]) -> None:
        self.error: LookupFailedError | None = None
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._max_bytes = max_bytes
        self._on_lost = on_lost
        self._transport: Any = None
        self._received = bytearray()
        self._response: asyncio.Future[None] | None = None

    async def ask(self, command: bytes) -> bytes:
        """Send a command, and return the response. Not twice at once; cancelled, the link is of no use any more.

        Raises:
            LookupFailedError: There was none within a second, or the connection is over.
        """
        if self.error is None:
            self._response = self._loop.create_future()
            alarm = self._clock.call_at(self._loop, self._clock.monotonic_ns() + LIMIT_NS, self._too_late)
            self._transport.write(command)
            try:
                await self._response
            finally:
                alarm.cancel()
                self._response = None
        if self.error is not None:
            raise self.error
        response = bytes(self._received[_SIZE.size :])
        self._received.clear()
        return response

    def close(self) -> None:
        """Close the socket, without a word, as an nsqd that ends."""
        self._end("closed here")

    # -- asyncio's calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        if self._response is None or self._response.done():
            self._end("it sent something that nobody asked for")
        elif len(received) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(received)
            if received.startswith(_HTTP):
                self._end("it answers in HTTP: give its TCP port, 4160 unless it was changed")
            elif not 0 <= size <= self._max_bytes:
                self._end(f"a response of {size} bytes; at most {self._max_bytes} are taken")
            elif len(received) > _SIZE.size + size:
                self._end("it sent more than its response")
            elif len(received) == _SIZE.size + size:
                self._response.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end("the connection was closed" if error is None else str(error))

    # -- the end --------------------------------------------------------------------------

    def _too_late(self) -> None:
        if self._response is not None and not self._response.done():
            self._end("no response within 1 s")

    def _end(self, why: str) -> None:
        """Be over; only the first reason counts."""
        if self.error is not None:
            return
        self.error = LookupFailedError(why)
        self._transport.abort()
        if self._response is not None and not self._response.done():
            self._response.set_result(None)
        self._on_lost()
