"""A new topic gets the channels that nsqlookupds know for it, before its messages go anywhere."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.net.lookup_channels import MAX_CHANNELS
from tests.fakes.lookupd import ScriptedLookupd, scripted_lookupd, settle, until
from tests.net.lookup_rig import LookupRig, registered


@pytest.fixture
async def lookupd() -> AsyncIterator[ScriptedLookupd]:
    """An nsqlookupd on loopback."""
    async with scripted_lookupd() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[ScriptedLookupd]:
    """Another one."""
    async with scripted_lookupd() as made:
        yield made


def knowing(*names: str) -> bytes:
    """What an nsqlookupd says that knows these channels."""
    return json.dumps({"channels": names}).encode()


async def make(rig: LookupRig, name: str = "t") -> list[str]:
    """A topic as a client makes it; the channels that it has then."""
    await rig.server.topics.get(name)
    return rig.node.topic(name).channels


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said about channels that were to be made."""
    return [each.getMessage() for each in caplog.records if getattr(each, "event", "") == "precreation_failed"]


async def test_new_topic_has_the_channels_it_has_elsewhere(lookupd: ScriptedLookupd) -> None:
    """As nsqd: REGISTER t, the question, and the channels that are not ephemeral."""
    lookupd.channels = knowing("pre1", "pre#ephemeral")
    lookupd.may_answer.clear()
    async with registered(lookupd) as rig:
        conversation = await rig.meet(lookupd)

        making = asyncio.create_task(make(rig))
        await conversation.hear("REGISTER t")
        await until(lambda: lookupd.requests == ["/channels?topic=t"])
        assert not making.done()
        lookupd.may_answer.set()

        assert await making == ["pre1"]
        await conversation.hear("REGISTER t pre1")


async def test_name_is_escaped_as_go_does(lookupd: ScriptedLookupd) -> None:
    """An ephemeral topic's mark would end the path."""
    lookupd.channels = knowing("c")
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)

        assert await make(rig, "t-1._#ephemeral") == ["c"]

        assert lookupd.requests == ["/channels?topic=t-1._%23ephemeral"]


async def test_all_are_asked_at_once(lookupd: ScriptedLookupd, other: ScriptedLookupd) -> None:
    """What any of them knows counts."""
    lookupd.channels, other.channels = knowing("a", "b"), knowing("b", "c")
    for each in (lookupd, other):
        each.may_answer.clear()
    async with registered(lookupd, other) as rig:
        await rig.meet(lookupd)
        await rig.meet(other)

        making = asyncio.create_task(make(rig))
        await until(lambda: bool(lookupd.requests and other.requests))
        for each in (lookupd, other):
            each.may_answer.set()

        assert await making == ["a", "b", "c"]


async def test_one_attempt_serves_all_who_ask(lookupd: ScriptedLookupd) -> None:
    """Who comes while it is under way waits for the same, who comes later for nothing; who goes leaves it be."""
    lookupd.channels = knowing("c")
    lookupd.may_answer.clear()
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        first, second, gone = (asyncio.create_task(make(rig)) for _ in range(3))
        await until(lambda: len(lookupd.requests) > 0)

        gone.cancel()
        await settle()
        assert not first.done()
        lookupd.may_answer.set()

        assert (await first, await second) == (["c"], ["c"])
        assert await make(rig) == ["c"]
        assert len(lookupd.requests) == 1


async def test_topic_that_was_there_is_not_asked_about(lookupd: ScriptedLookupd) -> None:
    """It was made once, and is what the store says."""
    node = nsqlite.open(clock=nsqlite.VirtualClock())
    node.topic("t")
    async with registered(lookupd, node=node) as rig:
        await rig.meet(lookupd, "REGISTER t")

        assert await make(rig) == []

        assert lookupd.requests == []


async def test_topic_made_again_is_asked_about_again(lookupd: ScriptedLookupd) -> None:
    """It is another one."""
    lookupd.channels = knowing("c")
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        for _ in range(3):
            assert await make(rig) == ["c"]
            rig.node.delete_topic("t")

        assert len(lookupd.requests) == 3


async def test_topic_of_the_program_gets_its_channels_behind_it(lookupd: ScriptedLookupd) -> None:
    """Its messages wait in the topic meanwhile, and go to all of them."""
    lookupd.channels = knowing("a", "b")
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)

        rig.node.publish_many("t", [b"1", b"2"])
        await until(lambda: rig.node.topic("t").channels == ["a", "b"])

        for name in ("a", "b"):
            assert [each.body for each in rig.node.topic("t").channel(name).receive_many(9)] == [b"1", b"2"]


@pytest.mark.parametrize("durability", ["commit", "fsync"])
async def test_channels_begin_at_the_same_place(lookupd: ScriptedLookupd, tmp_path: Path, durability: str) -> None:
    """All get what waits, also when the node is opened again."""
    lookupd.channels = knowing("a", "b")
    lookupd.may_answer.clear()
    clock = nsqlite.VirtualClock()
    node = nsqlite.open(tmp_path / "store", durability=durability, clock=clock)
    async with registered(lookupd, node=node) as rig:
        await rig.meet(lookupd)
        making = asyncio.create_task(make(rig))
        await until(lambda: len(lookupd.requests) > 0)
        rig.node.publish_many("t", [b"1", b"2", b"3", b"4"])
        rig.node.publish("t", b"5", delay=1)
        lookupd.may_answer.set()
        assert await making == ["a", "b"]

    clock.advance(1)
    with nsqlite.open(tmp_path / "store", durability=durability, clock=clock) as again:
        for name in ("a", "b"):
            assert {each.body for each in again.topic("t").channel(name).receive_many(9)} == {
                *map(b"%d".__mod__, range(1, 6))
            }


async def test_topic_deleted_meanwhile_stays_deleted(
    lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is made for what is gone, and nothing said."""
    lookupd.channels = knowing("c")
    lookupd.may_answer.clear()
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        getting = asyncio.create_task(rig.server.topics.get("t"))
        await until(lambda: len(lookupd.requests) > 0)

        rig.node.delete_topic("t")
        lookupd.may_answer.set()
        await getting

        assert rig.node.topics == []
    assert warned(caplog) == []


@pytest.mark.parametrize(
    "channels,names",
    [
        (b"{}", []),
        (b'{"channels":null}', []),
        (b'{"channels":["a","a","b c","","' + b"x" * 65 + b'","x#ephemeral"]}', ["a"]),
    ],
)
async def test_what_cannot_be_a_channel_is_left_out(
    lookupd: ScriptedLookupd, channels: bytes, names: list[str]
) -> None:
    """An nsqlookupd may know anything; names that NSQ forbids are not made."""
    lookupd.channels = channels
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)

        assert await make(rig) == names


@pytest.mark.parametrize("channels", [b"", b"[]", b'{"channels":"a"}', b'{"channels":[1]}', b"x" * (1 << 20 | 1)])
async def test_answer_that_is_none_is_told(
    lookupd: ScriptedLookupd, other: ScriptedLookupd, caplog: pytest.LogCaptureFixture, channels: bytes
) -> None:
    """The topic goes with what the others know."""
    lookupd.channels, other.channels = channels, knowing("c")
    async with registered(lookupd, other) as rig:
        await rig.meet(lookupd)
        await rig.meet(other)

        assert await make(rig) == ["c"]

    [line] = warned(caplog)
    assert line.startswith(f"asking nsqlookupd {lookupd.http_address} for the channels of topic t failed: ")


async def test_failing_question_is_told(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """The topic goes without."""
    lookupd.status = 500
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)

        assert await make(rig) == []

    [line] = warned(caplog)
    assert line.endswith("status 500")


async def test_question_has_a_limit(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """That of HTTP requests; a client does not wait longer for its topic."""
    lookupd.may_answer.clear()
    async with registered(lookupd, http_client_request_timeout=0.05) as rig:
        await rig.meet(lookupd)

        assert await make(rig) == []

    assert len(warned(caplog)) == 1


async def test_channels_are_bounded(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """More than a thousand are no topic of NSQ's, and the first in order are made."""
    lookupd.channels = knowing(*(f"c{number:04}" for number in range(MAX_CHANNELS + 5)))
    async with registered(lookupd) as rig:
        await lookupd.identified()
        await settle()
        names = await make(rig)

        assert (len(names), names[-1]) == (MAX_CHANNELS, f"c{MAX_CHANNELS - 1:04}")

    [line] = warned(caplog)
    assert "1005" in line


async def test_nobody_to_ask_is_told_once(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """While no nsqlookupd has said who it is, topics go without, and wait for nothing."""
    async with registered(lookupd) as rig:
        conversation = await lookupd.accept()
        assert await make(rig, "t") == []
        assert await make(rig, "u") == []
        assert len(warned(caplog)) == 1

        await conversation.identify(http_address=lookupd.http_address)
        await conversation.hear("REGISTER t", "REGISTER u")
        lookupd.channels = knowing("c")
        assert await make(rig, "t") == []
        assert await make(rig, "v") == ["c"]


async def test_full_store_is_told(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """A topic whose channels have no room goes without; a publish that follows is refused for itself."""
    lookupd.channels = knowing("c" * 64)
    lookupd.may_answer.clear()
    node = nsqlite.open(clock=nsqlite.VirtualClock(), max_store_bytes=4 << 20, max_msg_size=4 << 20)
    async with registered(lookupd, node=node) as rig:
        await rig.meet(lookupd)
        getting = asyncio.create_task(rig.server.topics.get("t"))
        await until(lambda: len(lookupd.requests) > 0)
        node.publish("t", b"x" * ((4 << 20) - 100))
        lookupd.may_answer.set()
        await getting

        assert node.topic("t").channels == []

    assert len(warned(caplog)) == 1


async def test_closing_ends_the_attempts(lookupd: ScriptedLookupd, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for one goes on without its channels."""
    caplog.set_level(logging.INFO)
    lookupd.may_answer.clear()
    async with registered(lookupd) as rig:
        await rig.meet(lookupd)
        making = asyncio.create_task(make(rig))
        await until(lambda: len(lookupd.requests) > 0)

        await rig.lookup.close()

        assert await making == []
    assert warned(caplog) == []
