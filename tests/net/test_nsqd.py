"""Tests of everything a listener is, in one loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import nsqlite
from nsqlite.errors import InvalidOptionError, ListenError, NodeClosedError
from nsqlite.net.binding import shown
from nsqlite.net.nsqd import Nsqd
from nsqlite.net.options import ListenerOptions

LOCAL = "127.0.0.1:0"


@asynccontextmanager
async def started(node: nsqlite.Node | None = None, **options: Any) -> AsyncIterator[Nsqd]:
    """One that serves."""
    made = node or nsqlite.open()
    nsqd = Nsqd(made.engine, ListenerOptions(**{"tcp_address": LOCAL} | options))
    try:
        await nsqd.start()
        yield nsqd
    finally:
        await nsqd.close()
        made.close()


def is_free(address: Any) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as client:
        return client.connect_ex(address) != 0


async def test_tcp_is_served_alone() -> None:
    """Unless there is more to serve."""
    async with started() as nsqd:
        assert not is_free(nsqd.tcp.address)
        assert (nsqd.http, nsqd.https, nsqd.http_address, nsqd.https_address) == (None, None, "", "")
        assert (nsqd.broadcast_http_port, nsqd.lookupd_addresses) == (0, ())
    assert is_free(nsqd.tcp.address)


async def test_both_listen_at_once() -> None:
    """What HTTP needs is brought before TCP is bound, so who can connect to one can to the other."""
    seen = []

    class Watched(Nsqd):
        """Says what was imported when TCP was bound."""

        def _prepared_http(self) -> Any:
            servers = super()._prepared_http()
            seen.append((self.tcp.address, sorted(servers._prepared)[:2]))
            return servers

    with nsqlite.open() as node:
        nsqd = Watched(node.engine, ListenerOptions(tcp_address=LOCAL, http_address=LOCAL))
        await nsqd.start()
        await nsqd.close()

    assert seen == [("", ["/", "/channel/create"])]


async def test_closing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In nsqd's words, once for each address, when its last connection is gone."""
    caplog.set_level(logging.INFO, "nsqlite")
    async with started(http_address=LOCAL) as nsqd:
        names = {"TCP": shown(nsqd.tcp.address), "HTTP": shown(nsqd.http_address)}
        await nsqd.close()

    for kind, name in names.items():
        assert caplog.messages.count(f"{kind}: closing {name}") == 1


async def test_addresses_are_told() -> None:
    """Those that are bound, unless others are to be told."""
    async with started(http_address=LOCAL) as nsqd:
        assert nsqd.broadcast_address == socket.gethostname()
        assert nsqd.broadcast_tcp_port == nsqd.tcp.address[1]
        assert nsqd.broadcast_http_port == nsqd.http_address[1]
    broadcast: dict[str, Any] = {"broadcast_address": "nsq.example", "broadcast_tcp_port": 1, "broadcast_http_port": 2}
    async with started(http_address=LOCAL, **broadcast) as nsqd:
        told = (nsqd.broadcast_address, nsqd.broadcast_tcp_port, nsqd.broadcast_http_port)
        assert told == ("nsq.example", 1, 2)


async def test_unix_sockets_have_no_port(tmp_path: Path) -> None:
    """It is told as -1, as nsqd tells it."""
    async with started(tcp_address=str(tmp_path / "a"), http_address=str(tmp_path / "b")) as nsqd:
        assert (nsqd.broadcast_tcp_port, nsqd.broadcast_http_port) == (-1, -1)


async def test_data_path_is_the_store(tmp_path: Path) -> None:
    """A node in memory has none."""
    async with started() as nsqd:
        assert nsqd.data_path == ""
    async with started(nsqlite.open(tmp_path / "store")) as nsqd:
        assert Path(nsqd.data_path) == tmp_path / "store"


async def test_memory_is_told() -> None:
    """Of the process."""
    async with started() as nsqd:
        assert nsqd.memory_stats().heap_in_use_bytes > 0


@pytest.mark.parametrize("option", ["tcp_address", "http_address"])
async def test_what_cannot_start_leaves_nothing_open(option: str) -> None:
    """Whichever address is taken, the other is free again."""
    with socket.create_server(("127.0.0.1", 0)) as other, nsqlite.open() as node:
        port = other.getsockname()[1]
        options: dict[str, Any] = {"tcp_address": LOCAL, "http_address": LOCAL, option: f"127.0.0.1:{port}"}
        nsqd = Nsqd(node.engine, ListenerOptions(**options))
        with pytest.raises(ListenError):
            await nsqd.start()

        assert node.engine.producers == []
        for address in (nsqd.tcp.address, nsqd.http_address):
            assert not address or is_free(address)


async def test_closed_node_is_not_served() -> None:
    """It says so, and nothing is open."""
    node = nsqlite.open()
    node.close()
    nsqd = Nsqd(node.engine, ListenerOptions(tcp_address=LOCAL, http_address=LOCAL))
    with pytest.raises(NodeClosedError):
        await nsqd.start()

    assert (nsqd.tcp.address, nsqd.http) == ("", None)


async def test_closing_twice_is_fine() -> None:
    """Also at once."""
    async with started(http_address=LOCAL) as nsqd:
        await asyncio.gather(nsqd.close(), nsqd.close())
        await nsqd.close()


async def test_lookupds_are_set_while_it_runs() -> None:
    """Those that are none are refused, and none are as good as some."""
    with socket.create_server(("127.0.0.1", 0)) as lookupd:
        address = f"127.0.0.1:{lookupd.getsockname()[1]}"
        async with started(http_address=LOCAL) as nsqd:
            told = [nsqd.lookupd_addresses]
            for addresses in ((), (address,), ()):
                nsqd.set_lookupds(addresses)
                told.append(nsqd.lookupd_addresses)
            with pytest.raises(InvalidOptionError):
                nsqd.set_lookupds(("nonsense",))

    assert told == [(), (), (address,), ()]
