"""Options of an nsqlookupd are checked when they are made."""

from typing import Any

import pytest

from nsqlite.errors import InvalidOptionError
from nsqlite.net.lookupd import LookupdOptions


def test_defaults_are_nsqlookupds() -> None:
    """Ports and times are the real one's; the addresses are loopback."""
    options = LookupdOptions()

    assert (options.tcp_address, options.http_address) == ("127.0.0.1:4160", "127.0.0.1:4161")
    assert (options.inactive_producer_timeout_ns, options.tombstone_lifetime_ns) == (300 * 10**9, 45 * 10**9)


@pytest.mark.parametrize(
    "name,value",
    [
        ("tcp_address", "nowhere"),
        ("tcp_address", "/run/socket"),
        ("tcp_address", "127.0.0.1:65536"),
        ("tcp_address", 4160),
        ("http_address", ""),
        ("http_address", None),
        ("broadcast_address", None),
        ("broadcast_address", "x" * 256),
        ("inactive_producer_timeout", -1),
        ("tombstone_lifetime", float("nan")),
        ("max_connections", -1),
        ("max_http_connections", True),
        ("max_registrations", 0),
        ("max_producer_registrations", 1.5),
        ("http_allowed_hosts", ("",)),
        ("http_allowed_hosts", 1),
        ("http_allowed_hosts", ("example.com:4161",)),
        ("broadcast_address", "bad host"),
    ],
)
def test_wrong_value_is_named(name: str, value: Any) -> None:
    """A value out of its range is an error that says which option it is."""
    with pytest.raises(InvalidOptionError) as caught:
        LookupdOptions(**{name: value})

    assert caught.value.option == name


@pytest.mark.parametrize("address", [":4160", "[::1]:0", "localhost:1"])
def test_addresses_have_a_port(address: str) -> None:
    """Any host does, and none, which is every interface."""
    assert LookupdOptions(tcp_address=address).tcp_address == address
