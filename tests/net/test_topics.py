"""Clients get a topic by name; a new one with the channels that it has elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import nsqlite
from nsqlite.door import Door
from nsqlite.errors import NodeClosedError
from nsqlite.net.topics import Topics
from tests.fakes.clock import PATIENCE_SECONDS
from tests.fakes.lookupd import ScriptedLookupd, scripted_lookupd, settle, until
from tests.interop.transcripts.wire import dpub, mpub, pub
from tests.net.lookup_rig import LookupRig, registered

OK = b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
SUB = b"SUB t own\n"
Connect = Callable[[LookupRig], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def lookupd() -> AsyncIterator[ScriptedLookupd]:
    """An nsqlookupd that knows two channels of every topic, and does not answer yet."""
    async with scripted_lookupd(channels=b'{"channels":["a","b"]}') as made:
        made.may_answer.clear()
        yield made


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects clients to a node."""
    writers = []

    async def begin(rig: LookupRig) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*rig.server.address)
        writers.append(writer)
        writer.write(b"  V2")
        return reader, writer

    yield begin
    for writer in writers:
        writer.close()
    await settle()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The next ten bytes: an OK, if all is well."""
    return await asyncio.wait_for(reader.readexactly(len(OK)), PATIENCE_SECONDS)


def bodies(rig: LookupRig, channel: str) -> list[bytes]:
    """What a channel has."""
    return [each.body for each in rig.node.topic("t").channel(channel).receive_many(9, timeout=0)]


@pytest.mark.parametrize("is_durable", [False, True])
async def test_topic_is_got_or_made(tmp_path: Path, is_durable: bool) -> None:
    """The same one for the same name, and the program's."""
    with nsqlite.open(tmp_path / "store" if is_durable else None) as node:
        door = Door(node.engine)
        topics = Topics(node.engine, door)
        node.topic("old")

        made = await topics.get("t")

        assert await topics.get("t") is made is node.engine.broker.topics["t"]
        assert (await topics.get("old")).name == "old"
        assert node.topics == ["old", "t"]
        door.close()


async def test_closed_node_has_no_topics() -> None:
    """Who asks is told so."""
    node = nsqlite.open()
    door = Door(node.engine)
    topics = Topics(node.engine, door)
    node.close()

    with pytest.raises(NodeClosedError):
        await topics.get("t")
    door.close()


@pytest.mark.parametrize("command", [pub("t", b"x"), mpub("t", b"x"), dpub("t", 0, b"x"), SUB])
async def test_first_command_of_a_topic_waits_for_its_channels(
    lookupd: ScriptedLookupd, connect: Connect, command: bytes
) -> None:
    """As with nsqd: it is answered when the channels are there, and each has the message."""
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        reader, writer = await connect(rig)

        writer.write(command)
        await until(lambda: len(lookupd.requests) > 0)
        assert rig.node.topic("t").channels == []
        lookupd.may_answer.set()

        assert await answer(reader) == OK
        assert rig.node.topic("t").channels == (["a", "b", "own"] if command == SUB else ["a", "b"])
        wanted = [] if command == SUB else [b"x"]
        assert (bodies(rig, "a"), bodies(rig, "b")) == (wanted, wanted)


async def test_subscriber_does_not_run_ahead_of_the_channels(lookupd: ScriptedLookupd, connect: Connect) -> None:
    """A channel that a client makes meanwhile would take the messages that wait for the others."""
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        (first, publisher), (reader, subscriber) = await connect(rig), await connect(rig)
        publisher.write(pub("t", b"1"))
        await until(lambda: len(lookupd.requests) > 0)

        subscriber.write(SUB)
        rig.node.publish("t", b"2")
        await settle()
        assert rig.node.topic("t").channels == []
        lookupd.may_answer.set()

        assert (await answer(first), await answer(reader)) == (OK, OK)
        for name in ("a", "b"):
            assert sorted(bodies(rig, name)) == [b"1", b"2"]


async def test_client_that_goes_leaves_the_attempt_to_others(lookupd: ScriptedLookupd, connect: Connect) -> None:
    """The topic gets its channels, whoever wanted it first."""
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        _, writer = await connect(rig)
        writer.write(pub("t", b"x"))
        await until(lambda: len(lookupd.requests) > 0)

        writer.close()
        await settle()
        lookupd.may_answer.set()

        await until(lambda: rig.node.topic("t").channels == ["a", "b"])


async def test_topic_that_is_there_waits_for_nobody(lookupd: ScriptedLookupd, connect: Connect) -> None:
    """A publish to it is answered while a new topic waits."""
    node = nsqlite.open(clock=nsqlite.VirtualClock())
    node.topic("old")
    async with registered(lookupd, node=node) as rig:
        await rig.meet(lookupd, "REGISTER old")
        _, waiting = await connect(rig)
        waiting.write(pub("t", b"x"))
        await until(lambda: len(lookupd.requests) > 0)

        reader, writer = await connect(rig)
        writer.write(pub("old", b"x"))

        assert await answer(reader) == OK
        lookupd.may_answer.set()


async def test_topic_deleted_while_it_waits_is_made_again(lookupd: ScriptedLookupd, connect: Connect) -> None:
    """The publish is kept, in a topic that is another one."""
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        reader, writer = await connect(rig)
        writer.write(pub("t", b"x"))
        await until(lambda: len(lookupd.requests) > 0)

        rig.node.delete_topic("t")
        lookupd.may_answer.set()

        assert await answer(reader) == OK
        assert len(lookupd.requests) == 2
        assert bodies(rig, "a") == bodies(rig, "b") == [b"x"]
