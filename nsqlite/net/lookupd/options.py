"""Options of an nsqlookupd: the real one's names and defaults, and bounds that it has not."""

from __future__ import annotations

import attrs

from nsqlite.errors import InvalidOptionError
from nsqlite.net.options import host_names, host_or_none, parse_address
from nsqlite.options import SECOND_NS, as_tuple, integer, seconds


def _host_and_port(_: object, field: attrs.Attribute[str], value: object) -> None:
    try:
        is_unix = isinstance(parse_address(str(value)), str)
    except ValueError:
        is_unix = True
    if is_unix or not isinstance(value, str):  # nsqds are told a port, so there has to be one
        raise InvalidOptionError(field.name, value, "give host:port")


@attrs.frozen(kw_only=True)
class LookupdOptions:
    """How an nsqlookupd is reached, and what it keeps. Times are seconds; checked when made.

    Attributes:
        tcp_address: Where nsqds register: host:port, with an IPv6 host in brackets, port 0 for any free
            one, and no host for every interface. nsqlookupd listens on every interface by default, this
            on loopback.
        http_address: Where consumers and nsqadmin ask; the same.
        broadcast_address: Under which address nsqds reach the HTTP address; "" for the host's name.
        inactive_producer_timeout: Seconds without a PING after which a producer is hidden.
        tombstone_lifetime: Seconds for which a tombstoned producer is hidden.
        max_connections: TCP connections open at once, 0 for any number. One more is closed at once.
        max_http_connections: The same for HTTP.
        max_registrations: Topics, channels, and producers at each of them, all together. One more is refused.
        max_producer_registrations: How many topics and channels one producer may register.
        http_allowed_hosts: Names under which browsers may reach the HTTP API to change something, besides
            addresses, localhost, this host's name and `broadcast_address`; without scheme and port.

    Raises:
        InvalidOptionError: Naming the option and what it takes.
    """

    tcp_address: str = attrs.field(default="127.0.0.1:4160", validator=_host_and_port)
    http_address: str = attrs.field(default="127.0.0.1:4161", validator=_host_and_port)
    broadcast_address: str = attrs.field(default="", validator=host_or_none)
    inactive_producer_timeout: float = attrs.field(default=300.0, validator=seconds(0.0))
    tombstone_lifetime: float = attrs.field(default=45.0, validator=seconds(0.0))
    max_connections: int = attrs.field(default=10_000, validator=integer(0))
    max_http_connections: int = attrs.field(default=1_000, validator=integer(0))
    max_registrations: int = attrs.field(default=1_000_000, validator=integer(1))
    max_producer_registrations: int = attrs.field(default=100_000, validator=integer(1))
    http_allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=host_names)

    @property
    def inactive_producer_timeout_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.inactive_producer_timeout * SECOND_NS)

    @property
    def tombstone_lifetime_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.tombstone_lifetime * SECOND_NS)
