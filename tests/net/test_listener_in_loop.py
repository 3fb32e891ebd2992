"""A listener in a running loop, beside the program's own tasks, at a node of either face."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import nsqlite
import nsqlite.net
from nsqlite import aio
from nsqlite.errors import InvalidOptionError, ListenError
from nsqlite.net.protocol import wire
from tests.fakes.clock import PATIENCE_SECONDS
from tests.interop.transcripts.wire import pub
from tests.net.rig import MAGIC

ANY_PORT = "127.0.0.1:0"
OK = wire.OK


class Client:
    """A client in the loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        """Send it soon."""
        self._writer.write(data)

    async def frame(self) -> bytes:
        """The next frame, whole."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self._reader.readexactly(4)
            return head + await self._reader.readexactly(int.from_bytes(head, "big"))

    async def ask(self, data: bytes) -> bytes:
        """Send, and the next frame."""
        self.send(data)
        return await self.frame()

    async def rest(self) -> bytes:
        """All that comes until the server hangs up."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def connect(listener: nsqlite.net.LoopListener) -> Client:
    """A client that has said its magic."""
    host, port = listener.tcp_address
    client = Client(*await asyncio.open_connection(host, port))
    client.send(MAGIC)
    return client


@pytest.fixture(autouse=True)
async def _no_complaints(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Whatever happens, the loop has nothing to say that nobody caught."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    yield
    assert told == []
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelno > logging.INFO] == []


@pytest.fixture(params=["memory", "commit", "fsync"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[aio.Node]:
    """A node for asyncio at each level, that must end the test sound."""
    path = None if request.param == "memory" else tmp_path / "store"
    async with aio.open(path, durability=request.param, clock=nsqlite.VirtualClock()) as made:
        yield made
        made.check()


async def test_network_and_tasks_share_a_node(node: aio.Node) -> None:
    """What a client publishes a task receives, and the other way round."""
    channel = node.topic("t").channel("c")
    async with nsqlite.net.serve(node, tcp_address=ANY_PORT) as listener:
        client = await connect(listener)
        receiving = asyncio.create_task(channel.receive())

        assert await client.ask(pub("t", b"from outside")) == OK
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await receiving
        await message.finish()
        assert await client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 1\n")
        await node.topic("t").publish(b"from inside")

        assert message.body == b"from outside"
        assert (await client.frame()).endswith(b"from inside")
        await client.close()


async def test_plain_node_is_served_in_a_loop_too() -> None:
    """A node that threads use may have its listener in a loop."""
    with nsqlite.open(clock=nsqlite.VirtualClock()) as node:
        async with nsqlite.net.serve(node, tcp_address=ANY_PORT) as listener:
            client = await connect(listener)

            assert await client.ask(pub("t", b"x")) == OK
            await client.close()

        assert node.topic("t").depth == 1


async def test_listener_may_be_awaited(node: aio.Node) -> None:
    """Without a block it is closed by hand, once or more often."""
    listener = await nsqlite.net.serve(node, tcp_address=ANY_PORT)
    client = await connect(listener)
    assert await client.ask(pub("t", b"x")) == OK

    await asyncio.gather(listener.close(), listener.close())
    await listener.close()

    assert await client.rest() == b""
    assert str(listener.tcp_address[1]) in repr(listener)
    await client.close()


async def test_closing_answers_what_was_read(node: aio.Node) -> None:
    """Commands that have arrived are carried out, synced and answered before the connection ends."""
    listener = await nsqlite.net.serve(node, tcp_address=ANY_PORT)
    client = await connect(listener)
    assert await client.ask(pub("t", b"x")) == OK
    client.send(pub("t", b"x") * 100)
    await asyncio.sleep(0)  # it is written; the first round of closing reads it

    await listener.close()

    assert await client.rest() == OK * 100
    assert node.topic("t").depth == 101
    await client.close()


async def test_closing_goes_on_when_it_is_cancelled(node: aio.Node) -> None:
    """Who gives up waiting for the end does not keep it from coming."""
    listener = await nsqlite.net.serve(node, tcp_address=ANY_PORT)
    client = await connect(listener)
    assert await client.ask(pub("t", b"x")) == OK
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0)

    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert await client.rest() == b""
    await client.close()
    async with nsqlite.net.serve(node, tcp_address="{}:{}".format(*listener.tcp_address)):
        pass


async def test_address_in_use_is_refused_in_a_loop(node: aio.Node) -> None:
    """As it is for threads."""
    async with nsqlite.net.serve(node, tcp_address=ANY_PORT) as listener:
        with pytest.raises(ListenError):
            await nsqlite.net.serve(node, tcp_address="{}:{}".format(*listener.tcp_address))
        with pytest.raises(ListenError):
            async with nsqlite.net.serve(node, tcp_address="{}:{}".format(*listener.tcp_address)):
                raise AssertionError("it was entered")

        client = await connect(listener)
        assert await client.ask(pub("t", b"x")) == OK
        await client.close()


async def test_thread_takes_no_node_for_asyncio(node: aio.Node) -> None:
    """That face belongs to its loop; the error says what to use there."""
    with pytest.raises(InvalidOptionError, match=r"nsqlite\.net\.serve") as caught:
        nsqlite.net.listen(node, tcp_address=ANY_PORT)

    assert caught.value.option == "node"


async def test_loop_listener_has_no_thread(node: aio.Node) -> None:
    """Nothing runs beside the loop but what waits for the disk, and nothing is left of that."""
    before = set(threading.enumerate())
    async with nsqlite.net.serve(node, tcp_address=ANY_PORT) as listener:
        client = await connect(listener)
        assert await client.ask(b"SUB t c#ephemeral\n") == OK
        assert "nsqlite-listener" not in {each.name for each in threading.enumerate()}
        await client.close()

    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)
    assert set(threading.enumerate()) <= before
