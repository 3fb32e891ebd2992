"""A peer tells its nsqlookupd what there is, again after every loss, and pings it by the node's clock."""

import json
import logging
import re
import socket
from collections.abc import AsyncIterator

import attrs
import pytest

from nsqlite.clock import VirtualClock
from nsqlite.net.lookup_peer import Identity, LookupPeer, Registry, difference
from tests.fakes.lookupd import Conversation, ScriptedLookupd, advance, scripted_lookupd, settle

IDENTITY = Identity(broadcast_address="10.0.0.1", hostname="one", tcp_port=4150, http_port=4151)


@attrs.define
class Rig:
    """A peer at a scripted nsqlookupd, on virtual time.

    Attributes:
        registry: What there is to tell.
    """

    clock: VirtualClock
    lookupd: ScriptedLookupd
    registry: Registry = attrs.field(factory=dict)
    peers: list[LookupPeer] = attrs.field(factory=list)

    def start(self, address: str = "", identity: Identity = IDENTITY) -> LookupPeer:
        """A peer that has begun."""
        peer = LookupPeer(address or self.lookupd.address, self.clock, identity, lambda: self.registry, 1000)
        self.peers.append(peer)
        return peer

    def change(self, registry: Registry) -> None:
        """There is something else to tell."""
        self.registry = registry
        for peer in self.peers:
            peer.changed()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """An nsqlookupd, and no peer yet."""
    async with scripted_lookupd() as lookupd:
        made = Rig(VirtualClock(), lookupd)
        yield made
        for peer in made.peers:
            await peer.close()
        await settle()


@pytest.fixture
def free_port() -> int:
    """A port of loopback at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The events that were logged."""
    return [getattr(record, "event", "") for record in caplog.records if record.name == "nsqlite"]


# -- what is said --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before,after,commands",
    [
        ({}, {}, []),
        ({}, {"t": (1, {})}, ["REGISTER t"]),
        ({}, {"t": (1, {"a": 2, "b": 3})}, ["REGISTER t a", "REGISTER t b"]),
        ({}, {"t#ephemeral": (1, {"a#ephemeral": 2})}, ["REGISTER t#ephemeral a#ephemeral"]),
        ({"t": (1, {})}, {"t": (1, {"a": 2})}, ["REGISTER t a"]),
        ({"t": (1, {"a": 2})}, {"t": (1, {})}, ["UNREGISTER t a"]),
        ({"t": (1, {"a": 2})}, {"t": (1, {"a": 3})}, ["UNREGISTER t a", "REGISTER t a"]),
        ({"t": (1, {"a": 2})}, {}, ["UNREGISTER t a", "UNREGISTER t"]),
        ({"t": (1, {})}, {"t": (2, {})}, ["UNREGISTER t", "REGISTER t"]),
        ({"t": (1, {"a": 2})}, {"t": (3, {"a": 4})}, ["UNREGISTER t a", "UNREGISTER t", "REGISTER t a"]),
        ({"t": (1, {}), "u": (2, {})}, {"u": (2, {}), "v": (3, {})}, ["UNREGISTER t", "REGISTER v"]),
    ],
)
def test_difference_is_told_by_number(before: Registry, after: Registry, commands: list[str]) -> None:
    """What went is unregistered, what came registered; what was made again is both, and what stayed neither."""
    assert difference(before, after) == [f"{command}\n".encode() for command in commands]
    assert difference(after, after) == []


def test_identity_is_nsqds_to_the_byte() -> None:
    """The keys of nsqd 1.3.0, sorted."""
    assert IDENTITY.command() == (
        b'IDENTIFY\n\x00\x00\x00\x64{"broadcast_address":"10.0.0.1","hostname":"one","http_port":4151,"tcp_port":4150,'
        b'"version":"1.3.0"}'
    )


def test_topology_is_told_where_there_is_one() -> None:
    """It stands between the others; an nsqlookupd that does not know it passes it by."""
    command = attrs.evolve(IDENTITY, topology_region="eu", topology_zone="b").command()

    said = json.loads(command[13:])
    assert (said["topology_region"], said["topology_zone"]) == ("eu", "b")
    assert list(said) == sorted(said)


async def test_all_is_told_at_the_start(rig: Rig) -> None:
    """The magic, who it is, then a REGISTER for each channel, or for a topic without any."""
    rig.registry = {"empty": (1, {}), "full": (2, {"a": 3, "b": 4})}

    rig.start()
    conversation = await rig.lookupd.accept()
    said = await conversation.identify()

    assert said["hostname"] == "one"
    await conversation.hear("REGISTER empty", "REGISTER full a", "REGISTER full b")


async def test_nothing_is_said_before_the_answer(rig: Rig) -> None:
    """One round trip at a time."""
    rig.registry = {"t": (1, {"a": 2, "b": 3})}
    rig.start()
    conversation = await rig.lookupd.identified()

    await conversation.expect(b"REGISTER t a\n")
    assert await conversation.is_silent()
    conversation.answer()
    await conversation.expect(b"REGISTER t b\n")
    assert await conversation.is_silent()


async def test_changes_are_told_at_once(rig: Rig) -> None:
    """One after another, also those that come while others are told."""
    rig.start()
    conversation = await rig.lookupd.identified()
    assert await conversation.is_silent()

    rig.change({"t": (1, {})})
    await conversation.expect(b"REGISTER t\n")
    rig.change({"t": (1, {"c": 2})})
    rig.change({"t": (1, {"c": 2}), "u": (3, {})})
    assert await conversation.is_silent()
    conversation.answer()
    await conversation.hear("REGISTER t c", "REGISTER u")
    rig.change({"t": (4, {})})
    await conversation.hear("UNREGISTER t c", "UNREGISTER t", "UNREGISTER u", "REGISTER t")


async def test_pings_come_every_fifteen_seconds(rig: Rig) -> None:
    """By the clock, whatever else is said; those that were missed are not made up for."""
    rig.start()
    conversation = await rig.lookupd.identified()

    for _ in range(3):
        await advance(rig.clock, 14.999)
        rig.change({} if rig.registry else {"t": (1, {})})
        await conversation.hear("REGISTER t" if rig.registry else "UNREGISTER t")
        await advance(rig.clock, 0.001)
        await conversation.hear("PING")
    await advance(rig.clock, 100)
    await conversation.hear("PING")
    await advance(rig.clock, 4.999)
    assert await conversation.is_silent()
    await advance(rig.clock, 0.001)
    await conversation.hear("PING")


async def test_where_to_ask_is_what_it_said(rig: Rig) -> None:
    """Its address and HTTP port, which stay known when the connection is lost."""
    peer = rig.start()
    conversation = await rig.lookupd.accept()
    assert peer.http_address == ""

    await conversation.identify(b'{"broadcast_address":"::1","http_port":4161,"tcp_port":4160,"version":"1"}')
    await settle()

    assert peer.http_address == "[::1]:4161"
    conversation.hang_up()
    await settle()
    assert peer.http_address == "[::1]:4161"


async def test_one_without_an_address_is_told_all_the_same(rig: Rig) -> None:
    """As with nsqd: it only cannot be asked for channels."""
    rig.registry = {"t": (1, {})}
    peer = rig.start()
    conversation = await rig.lookupd.accept()

    await conversation.identify(b"{}")

    await conversation.hear("REGISTER t")
    assert peer.http_address == ""


async def test_responses_are_not_looked_at(rig: Rig) -> None:
    """Unless they are errors."""
    rig.registry = {"t": (1, {}), "u": (2, {})}
    rig.start()
    conversation = await rig.lookupd.identified()

    for line in (b"REGISTER t\n", b"REGISTER u\n"):
        await conversation.expect(line)
        conversation.answer(b"whatever")

    assert await conversation.is_silent()


# -- losses --------------------------------------------------------------------------------


async def identify_anew(rig: Rig, conversation: Conversation) -> Conversation:
    """Lose a connection, and get the next one."""
    conversation.hang_up()
    return await rig.lookupd.identified()


async def test_lost_connection_is_made_again_and_told_all(rig: Rig) -> None:
    """At once if it has held for a second: the new one knows nothing."""
    rig.registry = {"t": (1, {"c": 2})}
    rig.start()
    conversation = await rig.lookupd.identified()
    await conversation.hear("REGISTER t c")
    rig.change({"t": (1, {"c": 2}), "u": (3, {})})
    await conversation.hear("REGISTER u")
    await advance(rig.clock, 1)

    again = await identify_anew(rig, conversation)

    await again.hear("REGISTER t c", "REGISTER u")


@pytest.mark.parametrize(
    "info,excerpt",
    [
        (b"E_INVALID", "E_INVALID"),
        (b"E_BAD_BODY IDENTIFY missing fields", "missing fields"),
        (b"\xff\n", "\\\\ufffd\\\\n"),
        (b'{"http_port":"x"}', "http_port"),
        (b"[]", "\\[\\]"),
        (b"x" * 1000, "x{200}$"),
    ],
)
async def test_refused_identity_is_told_and_tried_again(
    rig: Rig, caplog: pytest.LogCaptureFixture, info: bytes, excerpt: str
) -> None:
    """The log has its words, as far as they are printable and short; nothing else is said to it."""
    rig.registry = {"t": (1, {})}
    rig.start()
    conversation = await rig.lookupd.accept()

    await conversation.identify(info)

    assert await conversation.ends()
    assert re.search(excerpt, caplog.messages[0])
    await advance(rig.clock, 1)
    await (await rig.lookupd.identified()).hear("REGISTER t")


async def test_refused_command_is_told_and_tried_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """An error ends the connection, as it does on the other side."""
    rig.registry = {"t": (1, {})}
    rig.start()
    conversation = await rig.lookupd.identified()

    await conversation.expect(b"REGISTER t\n")
    conversation.answer(b"E_BAD_TOPIC REGISTER topic name 't' is not valid")

    assert await conversation.ends()
    address = rig.lookupd.address
    words = "REGISTER t was refused: E_BAD_TOPIC REGISTER topic name 't' is not valid"
    assert caplog.messages == [f"LOOKUPD({address}): {words}"]


async def test_silence_is_a_loss(rig: Rig) -> None:
    """An nsqlookupd that does not answer a ping within a second is left, and connected to again."""
    rig.start()
    conversation = await rig.lookupd.identified()
    await advance(rig.clock, 15)
    await conversation.expect(b"PING\n")

    await advance(rig.clock, 1)

    assert await conversation.ends()
    await rig.lookupd.identified()


async def test_attempts_become_rarer(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A second apart, then two, four, eight, and fifteen for good; well again, it begins anew. One line each way."""
    caplog.set_level(logging.INFO, "nsqlite")
    rig.start()
    for seconds in (1, 2, 4, 8, 15, 15):
        conversation = await rig.lookupd.accept()
        await conversation.identify(b"E_INVALID")
        assert await conversation.ends()
        await advance(rig.clock, seconds - 0.001)
        assert rig.lookupd.is_alone
        await advance(rig.clock, 0.001)
    assert told(caplog) == ["lookupd_failed"]

    conversation = await rig.lookupd.identified()
    await settle()
    assert told(caplog) == ["lookupd_failed", "lookupd_registered"]
    conversation.hang_up()
    await settle()
    assert rig.lookupd.is_alone
    await advance(rig.clock, 1)
    await rig.lookupd.identified()
    await settle()
    assert told(caplog)[2:] == ["lookupd_failed", "lookupd_registered"]


async def test_change_brings_the_next_attempt_forward(rig: Rig) -> None:
    """As nsqd tries again when it has something to say; not sooner than a second after the last attempt."""
    rig.start()
    for seconds in (1, 2, 4, 8):
        await (await rig.lookupd.accept()).identify(b"E_INVALID")
        await advance(rig.clock, seconds)
    await (await rig.lookupd.accept()).identify(b"E_INVALID")
    await advance(rig.clock, 0.5)

    rig.change({"t": (1, {})})
    await settle()
    assert rig.lookupd.is_alone
    await advance(rig.clock, 0.5)
    conversation = await rig.lookupd.accept()
    await conversation.identify(b"E_INVALID")
    await advance(rig.clock, 14.999)
    assert rig.lookupd.is_alone
    rig.change({"u": (2, {})})
    await (await rig.lookupd.identified()).hear("REGISTER u")


async def test_one_that_is_not_there_is_found_when_it_comes(
    rig: Rig, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A node starts without its nsqlookupds, says so once, and registers when they come."""
    rig.registry = {"t": (1, {})}
    rig.start(f"127.0.0.1:{free_port}")
    for seconds in (1, 2, 4):
        await advance(rig.clock, seconds)
    assert told(caplog) == ["lookupd_failed"]

    async with scripted_lookupd(free_port) as lookupd:
        await advance(rig.clock, 8)
        await (await lookupd.identified()).hear("REGISTER t")


# -- the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["at once", "connected", "telling", "idle", "resting"])
async def test_closing_only_closes_the_socket(rig: Rig, moment: str) -> None:
    """Nothing is unregistered, whatever it was doing; twice is fine."""
    rig.registry = {"t": (1, {})}
    peer = rig.start()
    conversation = None
    if moment != "at once":
        conversation = await rig.lookupd.accept()
        await conversation.expect(b"  V1")
        await conversation.read(len(IDENTITY.command()))
    if moment == "resting":
        conversation.answer(b"E_INVALID")
        await settle()
    elif moment not in ("at once", "connected"):
        conversation.answer(b"{}")
    if moment in ("telling", "idle"):
        await conversation.expect(b"REGISTER t\n")
    if moment == "idle":
        conversation.answer()
        await settle()

    await peer.close()
    await peer.close()

    if conversation is not None:
        assert await conversation.ends()
    await advance(rig.clock, 60)
    assert rig.lookupd.is_alone or moment == "at once"


async def test_fault_of_the_registry_is_heard_at_the_end(rig: Rig) -> None:
    """What goes wrong here, and not in the network, is not taken for an outage."""

    def broken() -> Registry:
        raise ValueError("broken")

    peer = LookupPeer(rig.lookupd.address, rig.clock, IDENTITY, broken, 1000)
    await (await rig.lookupd.accept()).identify()
    await settle()

    with pytest.raises(ValueError, match="broken"):
        await peer.close()
