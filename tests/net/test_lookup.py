"""A node registers at nsqlookupds as nsqd does, whoever makes and deletes its topics and channels."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.door import Door
from nsqlite.errors import InvalidOptionError
from nsqlite.net.lookup import LookupPeers
from nsqlite.net.options import ListenerOptions
from tests.fakes.caller import Caller
from tests.fakes.lookupd import ScriptedLookupd, advance, scripted_lookupd, settle
from tests.net.lookup_rig import registered


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


async def test_identity_has_what_is_bound(lookupd: ScriptedLookupd) -> None:
    """Unless the options say something else, the host's name and the real ports."""
    async with registered(lookupd, http_port=4151) as rig:
        said = await (await lookupd.accept()).identify()

        assert said == {
            "broadcast_address": socket.gethostname(),
            "hostname": socket.gethostname(),
            "http_port": 4151,
            "tcp_port": rig.server.address[1],
            "version": "1.3.0",
        }


async def test_identity_has_what_is_broadcast(lookupd: ScriptedLookupd) -> None:
    """What the options say goes ahead of what is bound; topology comes with it."""
    options = {"broadcast_address": "a", "broadcast_tcp_port": 1, "broadcast_http_port": 2, "topology_zone": "z"}
    async with registered(lookupd, **options):
        said = await (await lookupd.accept()).identify()

        assert said["hostname"] == socket.gethostname()
        assert {name: said[name] for name in ("broadcast_address", "tcp_port", "http_port", "topology_zone")} == {
            "broadcast_address": "a",
            "tcp_port": 1,
            "http_port": 2,
            "topology_zone": "z",
        }


async def test_all_changes_are_told(lookupd: ScriptedLookupd) -> None:
    """Topics and channels that the program makes and deletes, from the start on."""
    node = nsqlite.open(clock=nsqlite.VirtualClock())
    node.topic("old").channel("c")
    async with registered(lookupd, node=node) as rig:
        conversation = await rig.meet(lookupd, "REGISTER old c")

        topic = node.topic("t")
        await conversation.hear("REGISTER t")
        topic.channel("c")
        await conversation.hear("REGISTER t c")
        node.publish("u", b"x")
        await conversation.hear("REGISTER u")
        topic.delete_channel("c")
        await conversation.hear("UNREGISTER t c")
        node.delete_topic("old")
        await conversation.hear("UNREGISTER old c", "UNREGISTER old")


async def test_what_changes_nothing_tells_nothing(lookupd: ScriptedLookupd) -> None:
    """Publishing, pausing, emptying and consuming."""
    async with registered(lookupd) as rig:
        channel = rig.node.topic("t").channel("c")
        conversation = await rig.meet(lookupd, "REGISTER t c")

        rig.node.publish("t", b"x")
        rig.node.topic("t").pause()
        rig.node.topic("t").unpause()
        channel.receive().finish()
        channel.empty()

        assert await conversation.is_silent()


async def test_ephemeral_ones_are_told_too(lookupd: ScriptedLookupd) -> None:
    """They go with their last user, wherever that is."""
    async with registered(lookupd) as rig:
        conversation = await rig.meet(lookupd)

        channel = rig.node.topic("t#ephemeral").channel("c#ephemeral")
        await conversation.hear("REGISTER t#ephemeral c#ephemeral")
        with channel.consume():
            pass

        await conversation.hear("UNREGISTER t#ephemeral c#ephemeral", "UNREGISTER t#ephemeral")


async def test_what_is_made_again_is_told_again(lookupd: ScriptedLookupd) -> None:
    """Also when it was gone for no time at all, since it has another number; that ends a tombstone."""
    async with registered(lookupd) as rig:
        rig.node.topic("t").channel("c")
        conversation = await rig.meet(lookupd, "REGISTER t c")

        rig.node.topic("t").delete_channel("c")
        rig.node.topic("t").channel("c")
        await conversation.hear("UNREGISTER t c", "REGISTER t c")
        rig.node.delete_topic("t")
        rig.node.topic("t").channel("c")
        await conversation.hear("UNREGISTER t c", "UNREGISTER t", "REGISTER t c")


async def test_changes_by_other_threads_are_told(lookupd: ScriptedLookupd) -> None:
    """Whoever makes a topic, the loop hears of it."""
    async with registered(lookupd) as rig:
        conversation = await rig.meet(lookupd)

        Caller(lambda: rig.node.topic("t")).outcome()

        await conversation.hear("REGISTER t")


async def test_changes_that_wait_for_a_sync_are_told(lookupd: ScriptedLookupd, tmp_path: Path) -> None:
    """A turn for several callers tells once it is kept."""
    node = nsqlite.open(tmp_path / "store", clock=nsqlite.VirtualClock())
    async with registered(lookupd, node=node) as rig:
        conversation = await rig.meet(lookupd)

        node.topic("t").channel("c")

        await conversation.hear("REGISTER t c")


async def test_each_is_told_for_itself(lookupd: ScriptedLookupd, other: ScriptedLookupd) -> None:
    """One that is slow keeps no other waiting."""
    async with registered(lookupd, other) as rig:
        assert rig.lookup.addresses == (lookupd.address, other.address)
        slow = await rig.meet(lookupd)
        fast = await rig.meet(other)

        rig.node.topic("t")
        await slow.expect(b"REGISTER t\n")
        await fast.hear("REGISTER t")
        rig.node.topic("u")
        await fast.hear("REGISTER u")
        slow.answer()
        await slow.hear("REGISTER u")


async def test_addresses_change_at_run_time(lookupd: ScriptedLookupd, other: ScriptedLookupd) -> None:
    """New ones are connected to at once, dropped ones closed without a word, the others left alone."""
    async with registered(lookupd) as rig:
        rig.node.topic("t")
        first = await rig.meet(lookupd, "REGISTER t")

        rig.lookup.set_addresses((lookupd.address, other.address, other.address))
        second = await rig.meet(other, "REGISTER t")
        assert await first.is_silent()
        assert lookupd.is_alone
        assert other.is_alone
        assert rig.lookup.identified == (lookupd.http_address, other.http_address)

        rig.lookup.set_addresses((other.address,))
        assert await first.ends()
        assert await second.is_silent()
        assert rig.lookup.addresses == (other.address,)
        assert rig.lookup.identified == (other.http_address,)

        rig.lookup.set_addresses(())
        assert await second.ends()
        rig.node.topic("u")
        await advance(rig.clock, 60)
        assert lookupd.is_alone
        assert other.is_alone

        rig.lookup.set_addresses([lookupd.address])
        await rig.meet(lookupd, "REGISTER t", "REGISTER u")


async def test_node_without_any_works(lookupd: ScriptedLookupd) -> None:
    """Nothing is connected, nothing waits."""
    async with registered() as rig:
        rig.node.topic("t").publish(b"x")
        assert (await rig.server.topics.get("u")).name == "u"

        assert (rig.lookup.addresses, rig.lookup.identified) == ((), ())


async def test_pings_go_by_the_nodes_clock(lookupd: ScriptedLookupd) -> None:
    """Fifteen seconds of virtual time are as good as any."""
    async with registered(lookupd) as rig:
        conversation = await rig.meet(lookupd)

        await advance(rig.clock, 15)

        await conversation.hear("PING")


async def test_response_is_bounded_by_max_body_size(lookupd: ScriptedLookupd) -> None:
    """The node's own limit."""
    node = nsqlite.open(clock=nsqlite.VirtualClock(), max_body_size=100, max_msg_size=100)
    async with registered(lookupd, node=node):
        conversation = await lookupd.accept()
        await conversation.identify(b'{"version":"' + b"x" * 100 + b'"}')

        assert await conversation.ends()


async def test_closed_node_stays_told(lookupd: ScriptedLookupd) -> None:
    """A node that is closed ahead of its listener is no fault of the registration's."""
    async with registered(lookupd) as rig:
        rig.node.topic("t")
        conversation = await rig.meet(lookupd, "REGISTER t")

        rig.node.close()
        rig.lookup.wake()

        assert await conversation.is_silent()


async def test_wakes_of_one_round_are_one_look(lookupd: ScriptedLookupd) -> None:
    """A thousand new topics are looked at once for all, and told one by one."""
    async with registered(lookupd) as rig:
        conversation = await rig.meet(lookupd)

        for number in range(1000):
            rig.node.topic(f"t{number}")

        await conversation.hear(*(f"REGISTER t{number}" for number in range(1000)))


async def test_loop_that_is_gone_is_not_told() -> None:
    """A topic may be made when the listener's loop has ended in the middle of everything."""
    node = nsqlite.open()
    lookups: list[LookupPeers] = []

    def serve() -> None:
        async def run() -> None:
            door = Door(node.engine)
            lookups.append(LookupPeers(node.engine, door, ListenerOptions(), tcp_port=1, http_port=2))
            lookups[0].start()
            door.close()

        asyncio.run(run())

    Caller(serve).outcome()

    node.topic("t")

    assert node.topics == ["t"]
    node.close()


async def test_missing_library_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiohttp nobody can be asked for channels, so the option that needs it says what to install."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with nsqlite.open() as node:
        door = Door(node.engine)
        door.close()
        with pytest.raises(InvalidOptionError, match=r"nsqlite\[net\]") as caught:
            LookupPeers(node.engine, door, ListenerOptions(), tcp_port=1, http_port=2)

    assert caught.value.option == "nsqlookupd_tcp_addresses"


async def test_close_ends_everything(lookupd: ScriptedLookupd) -> None:
    """The socket closes without UNREGISTER, and no change is listened to any more."""
    async with registered(lookupd) as rig:
        rig.node.topic("t")
        conversation = await rig.meet(lookupd, "REGISTER t")

        await rig.lookup.close()

        assert await conversation.ends()
        assert rig.node.engine.watchers == []
        rig.node.topic("u")
        rig.lookup.wake()
        await settle()
        assert lookupd.is_alone
