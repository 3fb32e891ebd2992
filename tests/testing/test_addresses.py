"""Addresses as text, and ports that are kept."""

import socket

import pytest

from nsqlite.testing.addresses import Address, Ports


def test_address_is_text_with_parts() -> None:
    """An address is what any client takes, and has its host and port."""
    address = Address("127.0.0.1:4150")

    assert f"http://{address}/ping" == "http://127.0.0.1:4150/ping"
    assert (address.host, address.port) == ("127.0.0.1", 4150)


@pytest.mark.parametrize(
    "bound,text",
    [(("127.0.0.1", 4150), "127.0.0.1:4150"), (("::1", 4150), "[::1]:4150"), ("/tmp/s", "/tmp/s"), ("", "")],
)
def test_address_of_what_is_bound_is_what_a_client_takes(bound: tuple[str, int] | str, text: str) -> None:
    """A server's address becomes text, whatever it is; nothing stays nothing."""
    assert Address.of(bound) == text


@pytest.mark.parametrize("text", ["", "/tmp/s"])
def test_address_without_port_has_none(text: str) -> None:
    """A unix socket, or nothing, has neither host nor port."""
    address = Address(text)

    assert (address.host, address.port) == ("", 0)


def test_ports_are_refused_until_somebody_listens() -> None:
    """A port that is held is one's own: nobody answers there, and a server can bind it again and again."""
    ports = Ports()
    address = ports.take()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))
    for _ in range(2):
        with socket.create_server((address.host, address.port)) as server, socket.socket() as client:
            client.connect(server.getsockname())

    ports.close()
    ports.close()


def test_ports_are_all_different() -> None:
    """No port is given out twice while it is held."""
    ports = Ports()

    taken = [ports.take() for _ in range(20)]

    assert len(set(taken)) == 20
    ports.close()
