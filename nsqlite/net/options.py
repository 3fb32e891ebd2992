"""Options of a listener: nsqd's names, ranges and defaults where nsqd has them.

Those of the node (message sizes, timeouts, RDY) stay with the node; here is what only a
network needs. Nothing is opened or looked up: files and addresses are used by who listens.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs

from nsqlite.errors import InvalidOptionError
from nsqlite.options import KIB, as_tuple, boolean, integer, one_of, optional, seconds

MIN_OUTPUT_BUFFER_BYTES: Final = 64
MAX_PORT: Final = 65535
MAX_DATAGRAM_BYTES: Final = 65507
MAX_HOST_LENGTH: Final = 255  # of a name in DNS
HttpPage = Literal["off", "read-only", "read-write"]
ClientAuthPolicy = Literal["", "require", "require-verify"]
TlsRequired = Literal[False, True, "tcp-https"]
TlsVersion = Literal["tls1.0", "tls1.1", "tls1.2", "tls1.3"]
# An IPv6 host has colons of its own, so it stands in brackets; a host has no slash, a path may.
_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]/]*)\]|(?P<plain>[^:\[\]/]*)):(?P<port>[0-9]+)")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")


def parse_address(text: str) -> tuple[str, int] | str:
    """Host and port, or the path of a unix socket when it is not host:port.

    An empty host means every interface, port 0 any free port.

    Raises:
        ValueError: If the port is above 65535, or there is nothing at all.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None:
        if "/" not in text or "\0" in text:  # nsqd takes any text for a path: a forgotten port makes a file
            raise ValueError(f"{text!r} is neither host:port nor the path of a socket, which has a /")
        return text
    port = int(found["port"]) if len(found["port"]) <= 5 else MAX_PORT + 1
    if port > MAX_PORT:
        raise ValueError(f"port {found['port'][:10]} is above {MAX_PORT}")
    return found["plain"] if found["bracketed"] is None else found["bracketed"], port


def _address(_: object, field: attrs.Attribute[str], value: str) -> None:
    try:
        parse_address(value)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(field.name, value, "give host:port, or the path of a unix socket") from error


def _address_or_none(_: object, field: attrs.Attribute[str], value: str) -> None:
    if value != "":
        _address(_, field, value)


def _is_host_port(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        address = parse_address(value)
    except ValueError:
        return False
    return isinstance(address, tuple) and bool(address[0]) and address[1] != 0


def _host_port_or_none(_: object, field: attrs.Attribute[str], value: object) -> None:
    if value != "" and not _is_host_port(value):
        raise InvalidOptionError(field.name, value, "give host:port")


def _host_ports(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(map(_is_host_port, value)):
        raise InvalidOptionError(field.name, value, "give several of host:port, as a list")


def host_names(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Take names as a browser has them in Host, or addresses; what could never be one is refused."""
    if not isinstance(value, tuple) or not all(map(_is_host_name, value)):
        wanted = "give several host names, as a list: the name only, without http:// and port"
        raise InvalidOptionError(field.name, value, wanted)


def _is_host_name(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_HOST_LENGTH:
        return False
    if _HOST_NAME.fullmatch(value):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def host_or_none(_: object, field: attrs.Attribute[str], value: object) -> None:
    """Take what others may be told to connect to, and no text that is no host to anybody."""
    is_text = isinstance(value, str) and len(value) <= MAX_HOST_LENGTH and value.isprintable()
    if not is_text or any(each in "/ " for each in str(value)):
        raise InvalidOptionError(field.name, value, "give a host's name or address, without http:// and blanks")


def _token(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not all("!" <= each <= "~" for each in value):
        # the token itself is a secret, and errors are logged
        raise InvalidOptionError(field.name, "...", "give a str of visible ASCII without blanks")


def _text(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or "\0" in value:
        raise InvalidOptionError(field.name, value, "give a str")


def _tls_required(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool) and value != "tcp-https":
        raise InvalidOptionError(field.name, value, "give False, True or 'tcp-https'")


def _auth_addresses(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(map(_is_auth_address, value)):
        raise InvalidOptionError(field.name, value, "give several of host:port or http(s)://..., as a list")


def _is_auth_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        if not value.startswith(("http://", "https://")):
            address = parse_address(value)
            return isinstance(address, tuple) and bool(address[0])
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0  # a port that is none raises
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class ListenerOptions:
    """How a node is reached over the network. Times are seconds, sizes are bytes; checked when made.

    Attributes:
        tcp_address: host:port, with an IPv6 host in brackets and port 0 for any free one;
            anything else is the path of a unix socket. nsqd listens on every interface by
            default, this on loopback.
        max_connections: Connections open at once, 0 for any number. One more is closed at once.
        max_heartbeat_interval: Longest heartbeat interval a client may ask for.
        max_output_buffer_size: Largest output buffer a client may ask for.
        output_buffer_timeout: Longest that a message waits in the output buffer of a client
            that does not ask for another time.
        max_output_buffer_timeout: Longest time that a client may ask for there.
        min_output_buffer_timeout: Shortest time that a client may ask for there.
        tls_cert: Path of the server's certificate with its chain, PEM. Empty: no TLS.
        tls_key: Path of its private key, PEM, without a passphrase.
        tls_client_auth_policy: Whether clients show a certificate: "" they are not asked,
            "require" they must, "require-verify" it must chain to `tls_root_ca_file`. Anything
            but "" makes TLS required.
        tls_root_ca_file: Path of the authorities that client certificates, and auth servers
            over https, are checked against, PEM. Empty: the system's.
        tls_required: False, True, or "tcp-https" for TLS on this protocol but open plain HTTP.
            What holds in the end is `is_tls_required` and `is_https_required`.
        tls_min_version: Oldest version spoken. nsqd's default is "tls1.0", which is broken.
        deflate: Offer deflate.
        max_deflate_level: Highest level a client gets, 1 to 9.
        snappy: Offer snappy.
        http_address: Where nsqd's HTTP API is served, as `tcp_address`; "" for nowhere.
        https_address: The same over TLS, with the certificate of `tls_cert`; "" for nowhere.
        http_token: Who uses the HTTP API shows it, as "Authorization: Bearer ..."; "" for nobody has to,
            which `nsqlite nsqd` takes only by leaving its option out.
        http_allowed_hosts: Names under which browsers may reach the HTTP API to change something, besides
            addresses, localhost, this host's name and `broadcast_address`; without scheme and port.
        max_http_connections: Connections open at once at each of both, 0 for any number. One more is closed at once.
        http_page: The page for people at "/": "off", "read-only", or "read-write" with buttons.
        http_metrics: Whether "/metrics" is served, for Prometheus.
        broadcast_address: Under which address others reach this node; "" for the host's name.
        broadcast_tcp_port: At which port, 0 for the one that is bound.
        broadcast_http_port: The same for HTTP.
        nsqlookupd_tcp_addresses: Several of host:port, each an nsqlookupd where the node registers.
        statsd_address: host:port (UDP) of a statsd; "" for none.
        statsd_interval: Seconds between two pushes, more than 1.
        statsd_prefix: In front of every name; "%s" becomes the broadcast address and HTTP port.
        statsd_mem_stats: Whether figures of the process's memory are pushed, too.
        statsd_udp_packet_size: Bytes of a datagram at most.
        statsd_exclude_ephemeral: Leave ephemeral topics and channels out.
        auth_http_addresses: Auth servers, host:port or a whole URL; any of them means that
            clients must AUTH before they publish or subscribe.
        auth_http_request_method: "get", or "post" to keep the secret out of their access logs.
        http_client_connect_timeout: Seconds until connecting to an auth server, or to the HTTP API of an
            nsqlookupd, has failed.
        http_client_request_timeout: Seconds until the whole request has failed.
        topology_region: Where this node is, told to clients.
        topology_zone: The same, within the region.
        uvloop: Loop of the listener's own thread: True uvloop, False asyncio's, None uvloop
            when it is installed. A listener in a running loop uses that one.

    Raises:
        InvalidOptionError: Naming the option and what it takes.
    """

    tcp_address: str = attrs.field(default="127.0.0.1:4150", validator=_address)
    max_connections: int = attrs.field(default=0, validator=integer(0))
    http_address: str = attrs.field(default="", validator=_address_or_none)
    https_address: str = attrs.field(default="", validator=_address_or_none)
    http_token: str = attrs.field(default="", validator=_token, repr=False)
    http_allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=host_names)
    max_http_connections: int = attrs.field(default=1000, validator=integer(0))
    http_page: HttpPage = attrs.field(default="read-only", validator=one_of("off", "read-only", "read-write"))
    http_metrics: bool = attrs.field(default=True, validator=boolean)
    broadcast_address: str = attrs.field(default="", validator=host_or_none)
    broadcast_tcp_port: int = attrs.field(default=0, validator=integer(0, MAX_PORT))
    broadcast_http_port: int = attrs.field(default=0, validator=integer(0, MAX_PORT))
    nsqlookupd_tcp_addresses: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=_host_ports)
    statsd_address: str = attrs.field(default="", validator=_host_port_or_none)
    statsd_interval: float = attrs.field(default=60.0, validator=seconds(1.001))
    statsd_prefix: str = attrs.field(default="nsq.%s", validator=_text)
    statsd_mem_stats: bool = attrs.field(default=True, validator=boolean)
    statsd_udp_packet_size: int = attrs.field(default=508, validator=integer(1, MAX_DATAGRAM_BYTES))
    statsd_exclude_ephemeral: bool = attrs.field(default=False, validator=boolean)
    max_heartbeat_interval: float = attrs.field(default=60.0, validator=seconds(0.001))
    max_output_buffer_size: int = attrs.field(default=64 * KIB, validator=integer(MIN_OUTPUT_BUFFER_BYTES, 1 << 30))
    output_buffer_timeout: float = attrs.field(default=0.25, validator=seconds(0.001))
    max_output_buffer_timeout: float = attrs.field(default=30.0, validator=seconds(0.001))
    min_output_buffer_timeout: float = attrs.field(default=0.025, validator=seconds(0.001))
    tls_cert: str = attrs.field(default="", validator=_text)
    tls_key: str = attrs.field(default="", validator=_text)
    tls_client_auth_policy: ClientAuthPolicy = attrs.field(
        default="", validator=one_of("", "require", "require-verify")
    )
    tls_root_ca_file: str = attrs.field(default="", validator=_text)
    tls_required: TlsRequired = attrs.field(default=False, validator=_tls_required)
    tls_min_version: TlsVersion = attrs.field(
        default="tls1.2", validator=one_of("tls1.0", "tls1.1", "tls1.2", "tls1.3")
    )
    deflate: bool = attrs.field(default=True, validator=boolean)
    max_deflate_level: int = attrs.field(default=6, validator=integer(1, 9))
    snappy: bool = attrs.field(default=True, validator=boolean)
    auth_http_addresses: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=_auth_addresses)
    auth_http_request_method: Literal["get", "post"] = attrs.field(default="get", validator=one_of("get", "post"))
    http_client_connect_timeout: float = attrs.field(default=2.0, validator=seconds(0.001))
    http_client_request_timeout: float = attrs.field(default=5.0, validator=seconds(0.001))
    topology_region: str = attrs.field(default="", validator=_text)
    topology_zone: str = attrs.field(default="", validator=_text)
    uvloop: bool | None = attrs.field(default=None, validator=optional(boolean))

    def __attrs_post_init__(self) -> None:
        """Check what concerns two options."""
        if self.min_output_buffer_timeout > self.max_output_buffer_timeout:
            wanted = "give no more than max_output_buffer_timeout"
            raise InvalidOptionError("min_output_buffer_timeout", self.min_output_buffer_timeout, wanted)
        if self.tls_cert and not self.tls_key:
            raise InvalidOptionError("tls_key", self.tls_key, "give the key of tls_cert")
        if self.tls_key and not self.tls_cert:
            raise InvalidOptionError("tls_cert", self.tls_cert, "give the certificate of tls_key")
        if self.https_address and not self.tls_cert:
            raise InvalidOptionError("https_address", self.https_address, "give tls_cert and tls_key with it")
        if self.nsqlookupd_tcp_addresses and not (self.broadcast_http_port or self._has_http_port):
            wanted = "give http_address as host:port, or broadcast_http_port: nsqlookupds take nobody without"
            raise InvalidOptionError("nsqlookupd_tcp_addresses", self.nsqlookupd_tcp_addresses, wanted)
        if self.is_tls_required and not self.has_tls:
            option = "tls_required" if self.tls_required else "tls_client_auth_policy"
            raise InvalidOptionError(option, getattr(self, option), "give tls_cert and tls_key with it")

    @property
    def _has_http_port(self) -> bool:
        return bool(self.http_address) and isinstance(parse_address(self.http_address), tuple)

    @property
    def has_tls(self) -> bool:
        """Whether there is a certificate to offer TLS with."""
        return bool(self.tls_cert)

    @property
    def is_tls_required(self) -> bool:
        """Whether a client must upgrade to TLS before anything else."""
        return bool(self.tls_required or self.tls_client_auth_policy)

    @property
    def is_https_required(self) -> bool:
        """Whether plain HTTP is refused: as TLS is required, unless that is "tcp-https"."""
        return self.is_tls_required and self.tls_required != "tcp-https"
