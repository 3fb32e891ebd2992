"""A link asks and is answered, one thing at a time, and ends when it is not."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from nsqlite.clock import VirtualClock
from nsqlite.net.lookup_link import LookupFailedError, LookupLink, connect
from tests.fakes.lookupd import Conversation, ScriptedLookupd, advance, scripted_lookupd, settle

MAX_BYTES = 1000


@pytest.fixture
def clock() -> VirtualClock:
    """Time that stands still."""
    return VirtualClock()


@pytest.fixture
async def lookupd() -> AsyncIterator[ScriptedLookupd]:
    """An nsqlookupd on loopback."""
    async with scripted_lookupd() as made:
        yield made


class Ends:
    """Counts how often a link says that it is over."""

    count = 0

    def __call__(self) -> None:
        """Once more."""
        self.count += 1


async def linked(clock: VirtualClock, lookupd: ScriptedLookupd) -> tuple[LookupLink, Conversation, Ends]:
    """A link, its other end, and who is told of its end."""
    ends = Ends()
    link = await connect(clock, lookupd.address, MAX_BYTES, ends)
    return link, await lookupd.accept(), ends


async def refused(asking: asyncio.Task[bytes]) -> str:
    """Why a question was not answered."""
    with pytest.raises(LookupFailedError) as caught:
        await asking
    return str(caught.value)


async def test_command_is_answered(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """A response is its size and so many bytes, however they arrive; an empty one is one."""
    link, conversation, ends = await linked(clock, lookupd)

    for pieces in ([b"\x00\x00\x00\x02OK"], [b"\x00\x00", b"\x00\x02O", b"K"], [b"\x00\x00\x00\x00"]):
        asking = asyncio.create_task(link.ask(b"PING\n"))
        await conversation.expect(b"PING\n")
        for piece in pieces:
            conversation.send(piece)
            await settle()
        assert await asking == b"".join(pieces)[4:]

    assert ends.count == 0
    link.close()
    link.close()
    assert await conversation.ends()
    assert ends.count == 1


async def test_server_of_http_is_told(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """Its port is given by mistake for the other one, so that one is named, and no size in bytes."""
    link, conversation, _ = await linked(clock, lookupd)
    asking = asyncio.create_task(link.ask(b"PING\n"))
    await conversation.expect(b"PING\n")

    conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert await refused(asking) == "it answers in HTTP: give its TCP port, 4160 unless it was changed"


@pytest.mark.parametrize("size", [MAX_BYTES + 1, -1, -(2**31)])
async def test_response_is_bounded(clock: VirtualClock, lookupd: ScriptedLookupd, size: int) -> None:
    """A size above the bound, or below nothing, ends it before the response is waited for."""
    link, conversation, ends = await linked(clock, lookupd)
    asking = asyncio.create_task(link.ask(b"PING\n"))
    await conversation.expect(b"PING\n")

    conversation.send(struct.pack(">i", size))

    assert f"{size} bytes" in await refused(asking)
    assert await conversation.ends()
    assert ends.count == 1


async def test_largest_response_is_taken(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """The bound is inclusive."""
    link, conversation, _ = await linked(clock, lookupd)
    asking = asyncio.create_task(link.ask(b"PING\n"))
    await conversation.expect(b"PING\n")

    conversation.answer(b"x" * MAX_BYTES)

    assert len(await asking) == MAX_BYTES
    link.close()
    await settle()


async def test_silence_ends_it_after_a_second(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """Whether nothing comes or half of it."""
    for half in (b"", b"\x00\x00\x00\x02O"):
        link, conversation, _ = await linked(clock, lookupd)
        asking = asyncio.create_task(link.ask(b"PING\n"))
        await conversation.expect(b"PING\n")
        conversation.send(half)

        await advance(clock, 0.999)
        assert not asking.done()
        await advance(clock, 0.001)

        assert await refused(asking) == "no response within 1 s"
        assert await conversation.ends()


async def test_end_of_the_stream_ends_it(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """Who waits for a response is told, who asks later too, and who does neither."""
    link, conversation, ends = await linked(clock, lookupd)
    asking = asyncio.create_task(link.ask(b"PING\n"))
    await conversation.expect(b"PING\n")

    conversation.hang_up()

    assert await refused(asking) == "the connection was closed"
    assert ends.count == 1
    with pytest.raises(LookupFailedError, match="the connection was closed"):
        await link.ask(b"PING\n")


@pytest.mark.parametrize("is_asking", [True, False])
async def test_what_nobody_asked_for_ends_it(clock: VirtualClock, lookupd: ScriptedLookupd, is_asking: bool) -> None:
    """Responses that come too many could never be told from the next ones, and would fill memory."""
    link, conversation, ends = await linked(clock, lookupd)
    if is_asking:
        asking = asyncio.create_task(link.ask(b"PING\n"))
        await conversation.expect(b"PING\n")

    conversation.send(b"\x00\x00\x00\x02OK!")
    await settle()

    if is_asking:
        assert await refused(asking) == "it sent more than its response"
    assert link.error is not None
    assert ends.count == 1
    assert await conversation.ends()


async def test_cancelled_question_leaves_nothing(clock: VirtualClock, lookupd: ScriptedLookupd) -> None:
    """Who gives up and closes is heard of no more."""
    link, conversation, _ = await linked(clock, lookupd)
    asking = asyncio.create_task(link.ask(b"PING\n"))
    await conversation.expect(b"PING\n")

    asking.cancel()
    await settle()
    link.close()
    await advance(clock, 5)

    assert asking.cancelled()
    assert await conversation.ends()


@pytest.mark.parametrize("address", ["nobody", "/no/path", "127.0.0.1:99999", "[:", "a..b:4160", ""])
async def test_bad_address_is_no_connection(clock: VirtualClock, address: str) -> None:
    """What no connection can be made to is an error like any other."""
    with pytest.raises(LookupFailedError):
        await connect(clock, address, MAX_BYTES, Ends())


async def test_refused_connection_is_told(clock: VirtualClock) -> None:
    """With the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

    with pytest.raises(LookupFailedError, match="onnect"):
        await connect(clock, address, MAX_BYTES, Ends())


async def test_connecting_has_a_second(clock: VirtualClock) -> None:
    """A host that does not answer is given up."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        crowd = []
        for _ in range(4):  # the system takes one or two, and leaves the next ones unanswered
            crowd.append(socket.socket())
            crowd[-1].setblocking(False)
            crowd[-1].connect_ex((host, port))

        connecting = asyncio.create_task(connect(clock, f"{host}:{port}", MAX_BYTES, Ends()))
        await advance(clock, 0.999)
        assert not connecting.done()
        await advance(clock, 0.001)

        with pytest.raises(LookupFailedError, match="no connection within 1 s"):
            await connecting
        for each in crowd:
            each.close()
