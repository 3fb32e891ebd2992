"""An nsqlookupd runs in a thread of its own, or in a running loop."""

import asyncio
import builtins
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

import nsqlite
import nsqlite.net.lookupd
from nsqlite.errors import InvalidOptionError, ListenError
from tests.net.lookupd.client import LookupdClient, identify, request

ANY: dict[str, Any] = {"tcp_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}


def threads() -> list[str]:
    """Threads that are not the tests' own."""
    return [each.name for each in threading.enumerate() if each.name.startswith("nsqlite-lookupd")]


def test_listen_tells_its_real_ports(caplog: pytest.LogCaptureFixture) -> None:
    """As attributes, and in the log as nsqlookupd words it."""
    with caplog.at_level(logging.INFO, "nsqlite"), nsqlite.net.lookupd.listen(**ANY) as lookupd:
        tcp, http = lookupd.tcp_address, lookupd.http_address

        assert tcp[0] == http[0] == "127.0.0.1"
        assert tcp[1] != http[1]
        assert str(tcp[1]) in repr(lookupd)
        assert lookupd.options.tcp_address == "127.0.0.1:0"
        messages = [record.getMessage() for record in caplog.records]
        assert f"TCP: listening on 127.0.0.1:{tcp[1]}" in messages
        assert f"HTTP: listening on 127.0.0.1:{http[1]}" in messages


def test_closing_ends_everything() -> None:
    """Connections, the thread, both addresses; twice is fine."""
    lookupd = nsqlite.net.lookupd.listen(**ANY)
    client = LookupdClient(lookupd.tcp_address)
    client.ask(identify())

    lookupd.close()
    lookupd.close()

    assert client.rest() == b""
    client.close()
    assert threads() == []
    for address in (lookupd.tcp_address, lookupd.http_address):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@pytest.mark.parametrize("name", ["tcp_address", "http_address"])
def test_address_that_is_taken_is_an_error(name: str) -> None:
    """And the other address is free again."""
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.close()
        addresses = dict.fromkeys(ANY, f"127.0.0.1:{port}") | {name: f"127.0.0.1:{taken.getsockname()[1]}"}

        with pytest.raises(ListenError):
            nsqlite.net.lookupd.listen(**addresses)

        assert threads() == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_serve_runs_in_the_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The same with await, or async with, in any loop, and no thread."""

    async def main() -> None:
        async with nsqlite.net.lookupd.serve(**ANY) as lookupd:
            assert threads() == []
            client = await asyncio.to_thread(LookupdClient, lookupd.tcp_address)
            assert (await asyncio.to_thread(client.ask, identify())).startswith(b"{")
            nodes = await asyncio.to_thread(request, lookupd.http_address, "/nodes")
            assert len(nodes.json["producers"]) == 1
            refused = await asyncio.to_thread(LookupdClient, lookupd.tcp_address, b"  V2")
            assert await asyncio.to_thread(refused.rest) == b"\x00\x00\x00\x0eE_BAD_PROTOCOL"
            refused.close()
            assert str(lookupd.tcp_address[1]) in repr(lookupd)
        assert await asyncio.to_thread(client.rest) == b""
        client.close()
        again = await nsqlite.net.lookupd.serve(**ANY)
        await again.close()
        await again.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_time_is_the_clock_that_was_given() -> None:
    """A test advances it instead of waiting."""
    clock = nsqlite.VirtualClock()
    with nsqlite.net.lookupd.listen(clock=clock, inactive_producer_timeout=10, **ANY) as lookupd:
        client = LookupdClient(lookupd.tcp_address)
        client.ask(identify())

        clock.advance(10)
        assert len(request(lookupd.http_address, "/nodes").json["producers"]) == 1
        clock.advance(1)
        assert request(lookupd.http_address, "/nodes").json == {"producers": []}
        client.close()


def test_broadcast_address_is_the_hosts_name_by_default() -> None:
    """As nsqlookupd's."""
    with nsqlite.net.lookupd.listen(**ANY) as lookupd:
        client = LookupdClient(lookupd.tcp_address)

        assert f'"broadcast_address":"{socket.gethostname()}"'.encode() in client.ask(identify())
        client.close()


def test_unknown_option_is_an_error() -> None:
    """By name, before anything is opened."""
    with pytest.raises(InvalidOptionError, match="no_such"):
        nsqlite.net.lookupd.listen(no_such=1)
    with pytest.raises(InvalidOptionError):
        nsqlite.net.lookupd.serve(options=nsqlite.Options())  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        _ = nsqlite.net.lookupd.no_such  # type: ignore[attr-defined]


def test_names_are_public() -> None:
    """They are listed, though they are loaded late."""
    assert {"listen", "serve", "Lookupd", "LoopLookupd", "LookupdOptions"} <= set(dir(nsqlite.net.lookupd))


def test_importing_brings_no_aiohttp() -> None:
    """Only listening does."""
    script = (
        "import sys, nsqlite.net.lookupd as it; it.listen, it.LookupdOptions(); assert 'aiohttp' not in sys.modules"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_missing_aiohttp_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "aiohttp":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(InvalidOptionError, match=r"nsqlite\[net\]"):
        nsqlite.net.lookupd.listen(**ANY)
    assert threads() == []
