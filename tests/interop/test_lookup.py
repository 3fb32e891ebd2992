"""Nodes register at the real nsqlookupd: whoever looks a topic up there finds them, as long as they are there."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

import nsqlite
from nsqlite.net.lookup import LookupPeers
from nsqlite.net.options import ListenerOptions
from nsqlite.net.tcp_server import TcpServer
from tests.interop.servers import PATIENCE_SECONDS, Lookupd, nsqlookupd

HTTP_PORT: Final = 4151  # told, and not served here


@attrs.frozen
class Member:
    """A node that registers.

    Attributes:
        node: Itself.
        server: Its TCP server.
        lookup: Its registration.
    """

    node: nsqlite.Node
    server: TcpServer
    lookup: LookupPeers

    @property
    def port(self) -> int:
        """Where its clients connect."""
        assert isinstance(self.server.address, tuple)
        return self.server.address[1]


@asynccontextmanager
async def member(*lookupds: Lookupd, path: Path | None = None, name: str = "127.0.0.1") -> AsyncIterator[Member]:
    """A node that registers, in this loop; it goes without a word."""
    addresses = [each.tcp_address for each in lookupds]
    options = ListenerOptions(
        tcp_address="127.0.0.1:0",
        broadcast_address=name,
        broadcast_http_port=HTTP_PORT,
        nsqlookupd_tcp_addresses=addresses,  # type: ignore[arg-type]
    )
    with nsqlite.open(path) as node:
        server = TcpServer(node.engine, options)
        await server.start()
        assert isinstance(server.address, tuple)
        lookup = LookupPeers(node.engine, server.door, options, tcp_port=server.address[1], http_port=HTTP_PORT)
        server.topics.lookup = lookup
        lookup.start()
        try:
            yield Member(node, server, lookup)
        finally:
            await lookup.close()
            await server.close()


def look(lookupd: Lookupd, path: str) -> Any:
    """What an nsqlookupd answers; nothing if it answers no 200."""
    try:
        return lookupd.ask(path)
    except urllib.error.HTTPError as error:
        error.close()
        return None


def post(lookupd: Lookupd, path: str) -> None:
    """Have something done."""
    request = urllib.request.Request(f"http://{lookupd.http_address}{path}", method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS):
        pass


async def until(lookupd: Lookupd, path: str, is_so: Callable[[Any], object]) -> Any:
    """Ask until the answer is as wanted."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + PATIENCE_SECONDS
    while not is_so(answer := await asyncio.to_thread(look, lookupd, path)):
        assert loop.time() < limit, f"{path} stays {answer}"
        await asyncio.sleep(0.01)
    return answer


async def until_found(lookupd: Lookupd, topic: str, ports: set[int], channels: set[str] | None = None) -> None:
    """Return when these nodes are found for a topic, and no others; with these channels."""

    def is_so(answer: Any) -> bool:
        if answer is None or {each["tcp_port"] for each in answer["producers"]} != ports:
            return False
        return channels is None or set(answer["channels"]) == channels

    await until(lookupd, f"/lookup?topic={topic}", is_so)


async def test_nodes_are_found_by_their_topics() -> None:
    """Two nodes, what they have, and what they call themselves."""
    with nsqlookupd() as lookupd:
        async with member(lookupd, name="one") as one, member(lookupd, name="two") as two:
            one.node.topic("shared").channel("a")
            two.node.topic("shared").channel("b")
            two.node.publish("alone", b"x")
            one.node.topic("e#ephemeral").channel("c#ephemeral")

            await until_found(lookupd, "shared", {one.port, two.port}, {"a", "b"})
            await until_found(lookupd, "alone", {two.port}, set())
            await until_found(lookupd, "e%23ephemeral", {one.port}, {"c#ephemeral"})
            nodes = (await asyncio.to_thread(look, lookupd, "/nodes"))["producers"]
            assert {each["broadcast_address"]: (each["tcp_port"], each["version"]) for each in nodes} == {
                "one": (one.port, "1.3.0"),
                "two": (two.port, "1.3.0"),
            }
            assert {each["http_port"] for each in nodes} == {HTTP_PORT}


async def test_what_is_deleted_is_found_no_more() -> None:
    """The node's part of it: an nsqlookupd keeps the names, but those that are ephemeral."""
    with nsqlookupd() as lookupd:
        async with member(lookupd) as one, member(lookupd) as two:
            for each in (one, two):
                each.node.topic("t").channel("c")
            one.node.topic("t").channel("e#ephemeral")
            await until_found(lookupd, "t", {one.port, two.port}, {"c", "e#ephemeral"})

            one.node.topic("t").delete_channel("e#ephemeral")
            await until_found(lookupd, "t", {one.port, two.port}, {"c"})
            one.node.delete_topic("t")
            await until_found(lookupd, "t", {two.port}, {"c"})
            one.node.topic("t").channel("d")
            await until_found(lookupd, "t", {one.port, two.port}, {"c", "d"})


async def test_making_a_topic_again_ends_its_tombstone() -> None:
    """A node that was hidden for a topic is found when it has that topic anew."""
    with nsqlookupd(tombstone_lifetime=600.0) as lookupd:
        async with member(lookupd) as one:
            one.node.topic("t").channel("c")
            await until_found(lookupd, "t", {one.port})
            await asyncio.to_thread(post, lookupd, f"/topic/tombstone?topic=t&node=127.0.0.1:{HTTP_PORT}")
            await until_found(lookupd, "t", set())

            one.node.delete_topic("t")
            one.node.topic("t").channel("c")

            await until_found(lookupd, "t", {one.port}, {"c"})


async def test_node_that_went_is_found_when_it_comes_back(tmp_path: Path) -> None:
    """Meanwhile its topics have no producer; with its store come its topics and channels."""
    with nsqlookupd() as lookupd:
        async with member(lookupd, path=tmp_path / "store") as one:
            one.node.topic("t").channel("c")
            await until_found(lookupd, "t", {one.port}, {"c"})
        await until_found(lookupd, "t", set(), {"c"})

        async with member(lookupd, path=tmp_path / "store") as again:
            await until_found(lookupd, "t", {again.port}, {"c"})


async def test_nsqlookupd_that_was_killed_is_told_all_again() -> None:
    """It forgets everything; what changed meanwhile is told, too."""
    async with member() as one, member() as two:
        with ExitStack() as first:
            lookupd = first.enter_context(nsqlookupd())
            for each in (one, two):
                each.node.topic("t").channel("c")
                each.lookup.set_addresses((lookupd.tcp_address,))
            await until_found(lookupd, "t", {one.port, two.port})
        one.node.topic("u").channel("c")
        two.node.delete_topic("t")

        with nsqlookupd(tcp_address=lookupd.tcp_address, http_address=lookupd.http_address):
            await until_found(lookupd, "t", {one.port}, {"c"})
            await until_found(lookupd, "u", {one.port}, {"c"})


async def test_addresses_change_at_run_time() -> None:
    """A node leaves one nsqlookupd and comes to another."""
    with nsqlookupd() as first, nsqlookupd() as second:
        async with member(first) as one:
            one.node.topic("t").channel("c")
            await until_found(first, "t", {one.port})

            one.lookup.set_addresses((first.tcp_address, second.tcp_address))
            await until_found(second, "t", {one.port}, {"c"})
            await until_found(first, "t", {one.port})
            one.lookup.set_addresses((second.tcp_address,))
            await until_found(first, "t", set())
            await until_found(second, "t", {one.port})


async def test_new_topic_gets_the_channels_that_are_known() -> None:
    """From two nsqlookupds: what consumers have elsewhere is there before the first message."""
    with nsqlookupd() as first, nsqlookupd() as second:
        for lookupd, channel in ((first, "a"), (second, "b"), (second, "e%23ephemeral")):
            await asyncio.to_thread(post, lookupd, f"/channel/create?topic=t&channel={channel}")
        async with member(first, second) as one:
            await until(first, "/nodes", lambda answer: answer["producers"])
            await until(second, "/nodes", lambda answer: answer["producers"])

            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(b"  V2PUB t\n\x00\x00\x00\x01x")
            assert await reader.readexactly(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
            writer.close()
            await writer.wait_closed()

            assert one.node.topic("t").channels == ["a", "b"]
            assert [one.node.topic("t").channel(name).depth for name in ("a", "b")] == [1, 1]
            await until_found(first, "t", {one.port}, {"a", "b"})
