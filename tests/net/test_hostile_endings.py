"""Nodes and loops that end under a listener, and tasks that nobody seems to hold."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator

import pytest

import nsqlite
import nsqlite.net
from nsqlite.net.session import Session
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS
from tests.interop.transcripts.wire import mpub, pub, u32
from tests.net.rig import ERROR, MESSAGE, OK, Client, Rig, rigged


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A listener on a node in memory, in either loop."""
    with rigged(uvloop=request.param) as made:
        yield made


# -- the node ends -----------------------------------------------------------------------------------------------------


def test_node_may_close_before_its_listener(rig: Rig) -> None:
    """Consumers are let go, publishers are told, and whoever is between is not a complaint."""
    rig.node.topic("t").publish(b"x")
    holder, waiter, idle = rig.subscriber("t", "c", rdy=1), rig.subscriber("t", "c", rdy=1), rig.subscriber("t", "d")
    assert holder.frame()[0] == MESSAGE
    publisher, batcher, half = rig.connect(), rig.connect(), rig.connect()
    half.send(b"PUB t\n" + u32(2) + b"x")

    rig.node.close()

    assert holder.rest() + waiter.rest() + idle.rest() == b""
    assert publisher.ask(pub("t", b"x")) == (ERROR, b"E_PUB_FAILED PUB failed exiting")
    assert batcher.ask(mpub("new", b"x")) == (ERROR, b"E_MPUB_FAILED MPUB failed exiting")
    assert rig.connect().ask(b"SUB t c\n") == (ERROR, b"E_SUB_FAILED SUB failed exiting")
    assert half.ask(b"y") == (ERROR, b"E_PUB_FAILED PUB failed exiting")
    assert rig.lines == []


@pytest.mark.parametrize(
    "line", [b"FIN %s\n", b"REQ %s 5\n", b"TOUCH %s\n", b"RDY 5\n", b"CLS\n", b"FIN 0123456789abcdef\n"]
)
def test_answers_that_come_as_the_node_closes_are_no_complaint(rig: Rig, line: bytes) -> None:
    """The consumer is let go without a frame, whatever it was about to say."""
    client = rig.subscriber("t", "c", rdy=1)
    rig.node.topic("t").publish(b"x")
    message_id, _ = client.message()

    with rig.stopped():
        client.send(line.replace(b"%s", message_id))
        rig.node.close()

    assert client.rest() in {b"", u32(14) + u32(0) + b"CLOSE_WAIT"}
    assert rig.lines == []


def test_failed_node_lets_everybody_go(rig: Rig) -> None:
    """A node that does not trust its memory any more answers nothing."""
    client = rig.subscriber("t", "c", rdy=1)

    rig.node.engine.fail(RuntimeError("broken on purpose"))
    rig.node.engine.wake()

    assert client.rest() == b""
    assert rig.connect().ask(pub("t", b"x")) == (ERROR, b"E_PUB_FAILED PUB failed exiting")


def test_channel_that_goes_with_a_client_that_has_just_gone_is_no_complaint(rig: Rig) -> None:
    """The loop hears of the deletion before it hears of the client's RST, and has nobody to say goodbye to."""
    clients = [rig.subscriber("t", "c", rdy=1) for _ in range(5)]
    rig.settle()

    with rig.stopped():
        for client in clients:
            client.reset()
        rig.node.topic("t").delete_channel("c")

    rig.until(lambda: not rig.peers())


def test_tasks_are_not_collected_while_they_work(rig: Rig) -> None:
    """Nobody but the listener holds a command that waits; a collection in between changes nothing."""
    clients = [rig.connect() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(b"SUB t%d c\n" % number + pub("u", b"x"))
        rig.loop.call_soon_threadsafe(gc.collect)

    assert [client.frame() for client in clients for _ in range(2)] == [OK] * 40


# -- the loop ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_same_thread", [False, True])
def test_loop_that_is_closed_under_its_listener_costs_others_nothing(
    is_same_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that forgot to close it may publish on, and others are woken for what its clients do not take."""
    with nsqlite.open() as node:
        channel = node.topic("t").channel("c")
        loop = asyncio.new_event_loop()
        listener = loop.run_until_complete(_served(node))
        client = Client(listener.tcp_address)
        client.send(b"SUB t c\nRDY 1\n")
        loop.run_until_complete(_until(lambda: bool(channel._core.waiters)))
        monkeypatch.setattr(Session, "leave", lambda _: None)  # as if nobody had been told
        loop.run_until_complete(listener.close())
        loop.close()
        client.close()
        receiver = Caller(lambda: channel.receive(timeout=PATIENCE_SECONDS))
        while len(channel._core.waiters) < 2:
            threading.Event().wait(0)

        if is_same_thread:
            node.publish("t", b"x")
        else:
            Caller(lambda: node.publish("t", b"x")).outcome()

        message = receiver.outcome()
        assert message is not None
        assert message.body == b"x"


async def _served(node: nsqlite.Node) -> nsqlite.net.LoopListener:
    return await nsqlite.net.serve(node, tcp_address="127.0.0.1:0")


async def _until(has_come: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not has_come():  # noqa: ASYNC110  # what is awaited happens deep inside
            await asyncio.sleep(0)


async def test_program_that_is_cancelled_closes_its_listener() -> None:
    """Cancelling the task that serves ends the listener as leaving it does, and its clients hear the end."""
    with nsqlite.open() as node:
        is_serving: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

        async def program() -> None:
            async with nsqlite.net.serve(node, tcp_address="127.0.0.1:0") as listener:
                is_serving.set_result(listener.tcp_address)
                await asyncio.Event().wait()

        task = asyncio.create_task(program())
        reader, writer = await asyncio.open_connection(*await is_serving)
        writer.write(b"  V2SUB t c\nRDY 1\n")
        assert (await reader.readexactly(10)).endswith(b"OK")

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert await reader.read() == b""
        writer.close()
        assert node.stats().topics[0].channels[0].client_count == 0
