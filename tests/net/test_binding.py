"""Tests of listening sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from nsqlite.errors import ListenError
from nsqlite.net.binding import Binding, rounds, shown
from tests.net.conftest import PemFiles


class Noted(asyncio.Protocol):
    """A connection that says hello, and is noted."""

    def __init__(self, made: list[Noted]) -> None:
        self.transport: Any = None
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = transport
        self._made.append(self)
        self.transport.write(b"hello")


async def bound(address: str, tls: ssl.SSLContext | None = None, **details: Any) -> tuple[Binding, list[Noted]]:
    """A binding, and its connections."""
    made: list[Noted] = []
    binding = Binding()
    await binding.start(lambda: Noted(made), address, tls, **details)
    return binding, made


async def greeting(address: Any) -> bytes:
    """What somebody who connects hears."""
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


async def ended(binding: Binding, made: list[Noted]) -> None:
    """Close everything."""
    await binding.close()
    for each in made:
        each.transport.abort()
    await rounds()


@pytest.mark.parametrize(
    "address,text",
    [(("127.0.0.1", 4150), "127.0.0.1:4150"), (("::1", 80), "[::1]:80"), ("/run/nsq", "/run/nsq"), ("", "")],
)
def test_address_is_shown_as_a_peer_takes_it(address: tuple[str, int] | str, text: str) -> None:
    """An IPv6 host in brackets."""
    assert shown(address) == text


async def test_port_is_bound() -> None:
    """Any free one for 0; it is told."""
    binding = Binding()
    assert (binding.address, binding.name, binding.is_open) == ("", "", False)

    binding, made = await bound("127.0.0.1:0")
    address: Any = binding.address

    assert address[0] == "127.0.0.1"
    assert address[1] > 0
    assert (binding.name, binding.is_open) == (f"127.0.0.1:{address[1]}", True)
    assert await greeting(address) == b"hello"
    await ended(binding, made)


@pytest.mark.parametrize("address", [":0", "localhost:0"])
async def test_all_addresses_of_a_host_have_one_port(address: str) -> None:
    """Without a host, they are those of every interface."""
    binding, made = await bound(address)
    addresses = [each.getsockname() for each in binding._server.sockets]

    assert {each[1] for each in addresses} == {binding.address[1]}
    assert await greeting(("127.0.0.1", binding.address[1])) == b"hello"
    await ended(binding, made)


async def test_close_accepts_nothing_more() -> None:
    """Connections go on; the address is free at once. Twice is fine, and so is closing what never was open."""
    binding, made = await bound("127.0.0.1:0")
    address: Any = binding.address
    reader, writer = await asyncio.open_connection(*address)
    await reader.readexactly(5)
    await binding.close()
    await binding.close()
    await Binding().close()

    assert not binding.is_open
    made[0].transport.write(b"still")
    assert await reader.readexactly(5) == b"still"
    again, _ = await bound(binding.name)
    await again.close()
    writer.close()
    await ended(binding, made)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no.such.host.invalid:0", "1.2.3.4.5.6:0", f"{'a' * 70}.x:0"])
async def test_address_that_cannot_be_had_is_named(address: str) -> None:
    """In the error, which is one of ours; nothing is open."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = address.format(port=other.getsockname()[1])
        binding = Binding()
        with pytest.raises(ListenError, match=taken.split(":")[0]):
            await binding.start(asyncio.Protocol, taken)

    assert not binding.is_open
    await binding.close()


async def test_unix_socket_is_bound(tmp_path: Path) -> None:
    """Its file is gone when it closes."""
    path = tmp_path / "socket"
    binding, made = await bound(str(path))

    assert (binding.address, binding.name) == (str(path), str(path))
    assert await greeting(str(path)) == b"hello"
    await ended(binding, made)
    assert not path.exists()


async def test_unix_socket_that_is_used_is_not_taken(tmp_path: Path) -> None:
    """One that a process left behind is."""
    path = str(tmp_path / "socket")
    binding, made = await bound(path)
    with pytest.raises(ListenError, match="another process listens there"):
        await bound(path)

    assert await greeting(path) == b"hello"
    await ended(binding, made)

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    again, made = await bound(path)

    assert await greeting(path) == b"hello"
    await ended(again, made)


async def test_file_is_not_taken_for_a_socket(tmp_path: Path) -> None:
    """Nor is it deleted."""
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ListenError):
        await bound(str(path))

    assert path.read_text() == "precious"
    with pytest.raises(ListenError):
        await bound(str(tmp_path / "no" / "folder"))


async def test_file_of_another_stays(tmp_path: Path) -> None:
    """Whoever has taken the place of a socket's file keeps it."""
    path = tmp_path / "socket"
    binding, _ = await bound(str(path))
    os.unlink(path)
    path.write_text("precious")
    await binding.close()

    assert path.read_text() == "precious"


async def test_start_that_is_cancelled_leaves_nothing_open() -> None:
    """Though the system had bound it already."""
    binding = Binding()
    task = asyncio.create_task(binding.start(asyncio.Protocol, "127.0.0.1:0"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not binding.is_open


async def test_tls_is_agreed_or_given_up(server_certificate: PemFiles, certificate_authority: str) -> None:
    """Who says nothing is left when the time for the handshake is up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate.cert, server_certificate.key)
    binding, made = await bound("127.0.0.1:0", context, handshake_seconds=0.05)
    address: Any = binding.address
    silent, silent_writer = await asyncio.open_connection(*address)

    assert await silent.read() == b""

    silent_writer.close()
    trusting = ssl.create_default_context(cafile=certificate_authority)
    binding_again, made_again = await bound("127.0.0.1:0", context)
    port = binding_again.address[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")

    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await ended(binding, made)
    await ended(binding_again, made_again)
