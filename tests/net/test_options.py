"""Options of a listener are checked when they are made, and say what they take."""

import math

import attrs
import pytest

from nsqlite.errors import InvalidOptionError
from nsqlite.net.options import ListenerOptions, parse_address

DEFAULTS = {
    "tcp_address": "127.0.0.1:4150",
    "max_connections": 0,
    "http_address": "",
    "https_address": "",
    "http_token": "",
    "http_allowed_hosts": (),
    "max_http_connections": 1000,
    "http_page": "read-only",
    "http_metrics": True,
    "broadcast_address": "",
    "broadcast_tcp_port": 0,
    "broadcast_http_port": 0,
    "nsqlookupd_tcp_addresses": (),
    "statsd_address": "",
    "statsd_interval": 60.0,
    "statsd_prefix": "nsq.%s",
    "statsd_mem_stats": True,
    "statsd_udp_packet_size": 508,
    "statsd_exclude_ephemeral": False,
    "max_heartbeat_interval": 60.0,
    "max_output_buffer_size": 65536,
    "output_buffer_timeout": 0.25,
    "max_output_buffer_timeout": 30.0,
    "min_output_buffer_timeout": 0.025,
    "tls_cert": "",
    "tls_key": "",
    "tls_client_auth_policy": "",
    "tls_root_ca_file": "",
    "tls_required": False,
    "tls_min_version": "tls1.2",
    "deflate": True,
    "max_deflate_level": 6,
    "snappy": True,
    "auth_http_addresses": (),
    "auth_http_request_method": "get",
    "http_client_connect_timeout": 2.0,
    "http_client_request_timeout": 5.0,
    "topology_region": "",
    "topology_zone": "",
    "uvloop": None,
}
BAD = [
    ("tcp_address", ""),
    ("tcp_address", 4150),
    ("tcp_address", "localhost:65536"),
    ("tcp_address", "a\0b"),
    ("max_connections", -1),
    ("http_address", "localhost"),
    ("http_address", None),
    ("https_address", "localhost:4152"),
    ("http_token", "two words"),
    ("http_token", "caf\u00e9"),
    ("http_token", b"secret"),
    ("http_allowed_hosts", "nsq.example.com"),
    ("http_allowed_hosts", [""]),
    ("http_allowed_hosts", ["http://example.com"]),
    ("http_allowed_hosts", ["example.com:7451"]),
    ("http_allowed_hosts", ["*"]),
    ("http_allowed_hosts", ["*.example.com"]),
    ("http_allowed_hosts", ["a.example.com,b.example.com"]),
    ("http_allowed_hosts", ["bücher.example"]),
    ("broadcast_address", "bad host"),
    ("broadcast_address", "http://example.com"),
    ("broadcast_address", "host\n"),
    ("broadcast_address", "x" * 256),
    ("broadcast_address", None),
    ("max_http_connections", -1),
    ("http_page", "on"),
    ("http_metrics", 1),
    ("broadcast_address", None),
    ("broadcast_tcp_port", 65536),
    ("broadcast_http_port", -1),
    ("nsqlookupd_tcp_addresses", "localhost:4160"),
    ("nsqlookupd_tcp_addresses", ["localhost"]),
    ("nsqlookupd_tcp_addresses", ["localhost:0"]),
    ("nsqlookupd_tcp_addresses", ["localhost:4160"]),
    ("statsd_address", "localhost"),
    ("statsd_address", ":8125"),
    ("statsd_interval", 1.0),
    ("statsd_prefix", None),
    ("statsd_mem_stats", "yes"),
    ("statsd_udp_packet_size", 0),
    ("statsd_exclude_ephemeral", 0),
    ("max_heartbeat_interval", 0),
    ("max_heartbeat_interval", math.nan),
    ("max_output_buffer_size", 63),
    ("output_buffer_timeout", 0),
    ("max_output_buffer_timeout", "30"),
    ("max_output_buffer_timeout", 0.001),
    ("min_output_buffer_timeout", 31.0),
    ("tls_cert", None),
    ("tls_cert", "cert.pem"),
    ("tls_key", "key.pem"),
    ("tls_client_auth_policy", "demand"),
    ("tls_client_auth_policy", "require"),
    ("tls_required", True),
    ("tls_required", "tcp-https"),
    ("tls_required", "yes"),
    ("tls_required", 1),
    ("tls_min_version", "ssl3.0"),
    ("deflate", 1),
    ("max_deflate_level", 0),
    ("max_deflate_level", 10),
    ("snappy", "yes"),
    ("auth_http_addresses", "localhost:4181"),
    ("auth_http_addresses", ["localhost"]),
    ("auth_http_addresses", ["ftp://localhost/auth"]),
    ("auth_http_addresses", [":4181"]),
    ("auth_http_addresses", ["http://"]),
    ("auth_http_addresses", ["http://[nonsense/"]),
    ("auth_http_addresses", ["https://localhost:70000/"]),
    ("auth_http_addresses", [None]),
    ("auth_http_addresses", 4181),
    ("auth_http_request_method", "GET"),
    ("http_client_connect_timeout", 0),
    ("http_client_request_timeout", -1.0),
    ("topology_region", b"eu"),
    ("topology_zone", None),
    ("uvloop", 1),
]
FILES = {"tls_cert": "cert.pem", "tls_key": "key.pem"}


def test_defaults_are_nsqds() -> None:
    """Without arguments every option has nsqd's default, but for the interface and the oldest TLS."""
    assert attrs.asdict(ListenerOptions(), recurse=False) == DEFAULTS


def test_token_is_in_no_error_and_no_text() -> None:
    """What is secret stays so, in a repr and in the error that refuses it."""
    assert "s3cret" not in repr(ListenerOptions(http_token="s3cret"))

    with pytest.raises(InvalidOptionError) as caught:
        ListenerOptions(http_token="s3cret with blanks")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["nsq.example.com", "nsq.example.com.", "NSQ_1", "10.0.0.1", "::1", "xn--bcher-kva.example"]
)
def test_allowed_host_is_what_a_browser_may_send(name: str) -> None:
    """Any name, and any address; what else is given is told what is wrong with it."""
    assert ListenerOptions(http_allowed_hosts=[name]).http_allowed_hosts == (name,)
    assert ListenerOptions(broadcast_address=name).broadcast_address == name

    with pytest.raises(InvalidOptionError, match="the name only, without http:// and port"):
        ListenerOptions(http_allowed_hosts=[name, f"http://{name}"])


def test_docstring_lists_every_option() -> None:
    """The class tells of each option once, and of no other."""
    lines = (ListenerOptions.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0].splitlines()

    told = [line.strip().partition(":")[0] for line in lines if line.startswith(" " * 8) and line[8] != " "]

    assert sorted(told) == sorted(DEFAULTS)


@pytest.mark.parametrize("option,value", BAD)
def test_option_out_of_range_is_refused_by_name(option: str, value: object) -> None:
    """A value that an option does not take raises an error that names an option and shows what was given."""
    with pytest.raises(InvalidOptionError) as caught:
        ListenerOptions(**{option: value})  # type: ignore[arg-type]

    assert caught.value.option in DEFAULTS
    assert caught.value.option in str(caught.value)


@pytest.mark.parametrize(
    "text,address",
    [
        ("127.0.0.1:4150", ("127.0.0.1", 4150)),
        ("localhost:0", ("localhost", 0)),
        (":4150", ("", 4150)),
        ("[::1]:4150", ("::1", 4150)),
        ("[::]:65535", ("::", 65535)),
        ("/run/nsq.sock", "/run/nsq.sock"),
        ("/run/odd:1", "/run/odd:1"),
        ("./nsq.sock", "./nsq.sock"),
    ],
)
def test_address_is_host_and_port_or_a_path(text: str, address: object) -> None:
    """What does not parse as host:port is the path of a unix socket, if it has a slash."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "h:65536", "h:" + "9" * 5000, "/a\0b", "127.0.0.1", "localhost:nsqd", "localhost:", "::1:4150", "h:-1"]
)
def test_address_that_can_be_neither_is_refused(text: str) -> None:
    """A port that does not exist is a slip, and no name for a socket."""
    with pytest.raises(ValueError):
        parse_address(text)


@pytest.mark.parametrize(
    "given,is_tls_required,is_https_required",
    [
        ({}, False, False),
        (FILES, False, False),
        (FILES | {"tls_required": True}, True, True),
        (FILES | {"tls_required": "tcp-https"}, True, False),
        (FILES | {"tls_client_auth_policy": "require"}, True, True),
        (FILES | {"tls_client_auth_policy": "require-verify", "tls_required": False}, True, True),
        (FILES | {"tls_client_auth_policy": "require", "tls_required": "tcp-https"}, True, False),
    ],
)
def test_client_certificates_make_tls_required(
    given: dict[str, object], is_tls_required: bool, is_https_required: bool
) -> None:
    """A policy for client certificates requires TLS everywhere, unless plain HTTP was left open by name."""
    options = ListenerOptions(**given)  # type: ignore[arg-type]

    assert options.has_tls == bool(given)
    assert options.is_tls_required == is_tls_required
    assert options.is_https_required == is_https_required


def test_auth_addresses_are_kept_as_a_tuple() -> None:
    """Any iterable of addresses and URLs will do."""
    given = ["localhost:4181", "[::1]:4181", "https://auth.example.com/nsq?x=1"]

    assert ListenerOptions(auth_http_addresses=given).auth_http_addresses == tuple(given)  # type: ignore[arg-type]
    assert ListenerOptions(auth_http_addresses=iter(given)).auth_http_addresses == tuple(given)  # type: ignore[arg-type]
