"""IDENTIFY: what is asked, what is offered, what holds."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.errors import BadBodyError, IdentifyFailedError
from nsqlite.net.protocol.negotiation import (
    MAX_IDENTIFY_BYTES,
    VERSION,
    Agreement,
    IdentifyRequest,
    Terms,
    negotiate,
    parse_identify,
    response,
    unidentified,
)

MS = 1_000_000
TERMS = Terms(
    max_rdy_count=2500,
    max_msg_timeout_ns=900_000 * MS,
    msg_timeout_ns=60_000 * MS,
    max_heartbeat_interval_ns=60_000 * MS,
    min_output_buffer_timeout_ns=25 * MS,
    max_output_buffer_timeout_ns=30_000 * MS,
    output_buffer_timeout_ns=250 * MS,
    max_output_buffer_size=65536,
    max_deflate_level=6,
    has_tls=True,
    deflate=True,
    snappy=True,
    auth_required=False,
)
UNDECODABLE = b"E_BAD_BODY IDENTIFY failed to decode JSON body"


def agree(terms: Terms = TERMS, **asked: Any) -> Agreement:
    """Settle on what an IDENTIFY with these keys asks for."""
    return negotiate(parse_identify(json.dumps(asked).encode()), terms)


def test_version_is_strict_semver() -> None:
    """Tools parse the version as three numbers, and choose by it what the server can do."""
    assert [int(part) for part in VERSION.split(".")] == [1, 3, 0]


@pytest.mark.parametrize("body", [b"{}", b"null", b" { } ", b'{"client_id":null,"short_id":"x","Unknown":[1e999]}'])
def test_identify_that_asks_for_nothing_has_defaults(body: bytes) -> None:
    """Absent, null and unknown are all the same."""
    assert parse_identify(body) == IdentifyRequest()


def test_identify_reads_every_key() -> None:
    """Each key lands in the field of its name."""
    asked = {
        "client_id": "c",
        "hostname": "h",
        "user_agent": "u",
        "feature_negotiation": True,
        "heartbeat_interval": 1,
        "output_buffer_size": 2,
        "output_buffer_timeout": 3,
        "tls_v1": True,
        "snappy": True,
        "deflate": True,
        "deflate_level": 4,
        "sample_rate": 5,
        "msg_timeout": 6,
        "topology_region": "r",
        "topology_zone": "z",
    }

    request = parse_identify(json.dumps(asked).encode())

    assert attrs.asdict(request) == asked


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"a"',
        b"{}{}",
        b'{"heartbeat_interval":"1000"}',
        b'{"heartbeat_interval":1000.5}',
        b'{"heartbeat_interval":1000.0}',
        b'{"heartbeat_interval":1e3}',
        b'{"heartbeat_interval":true}',
        b'{"heartbeat_interval":9223372036854775808}',
        b'{"sample_rate":2147483648}',
        b'{"snappy":1}',
        b'{"snappy":"true"}',
        b'{"client_id":1}',
        b'{"client_id":"a","extra":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_identify_that_does_not_decode_is_refused(body: bytes) -> None:
    """No JSON, or a known key of another type, is the body's fault."""
    with pytest.raises(BadBodyError) as caught:
        parse_identify(body)

    assert caught.value.payload == UNDECODABLE


def test_identify_has_a_length_of_its_own() -> None:
    """A body that would hold up everybody else is refused before it is decoded."""
    longest = b'{"client_id":"' + b"x" * (MAX_IDENTIFY_BYTES - 16) + b'"}'

    assert len(parse_identify(longest).client_id) == MAX_IDENTIFY_BYTES - 16
    with pytest.raises(BadBodyError) as caught:
        parse_identify(longest + b" ")
    assert caught.value.payload == UNDECODABLE


KEYS = st.sampled_from([field.name for field in attrs.fields(IdentifyRequest)]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@given(st.binary() | st.dictionaries(KEYS, VALUES, max_size=5).map(lambda asked: json.dumps(asked).encode()))
def test_identify_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    """Whatever a client sends, it is a request or its own fault."""
    try:
        agreement = negotiate(parse_identify(body), TERMS)
    except (BadBodyError, IdentifyFailedError):
        return

    json_or_ok = response(agreement, TERMS)

    assert json_or_ok == b"OK" or json.loads(json_or_ok)["max_rdy_count"] == 2500


@pytest.mark.parametrize(
    "key,name,bad",
    [
        ("heartbeat_interval", "heartbeat interval", [999, 1, -2, 60001, 1 << 62]),
        ("output_buffer_timeout", "output buffer timeout", [24, 1, -2, 30001]),
        ("output_buffer_size", "output buffer size", [63, 1, -2, 65537]),
        ("sample_rate", "sample rate", [-1, 100]),
        ("msg_timeout", "msg timeout", [-1, 1, 999, 900001]),
    ],
)
def test_value_out_of_range_is_refused_by_name(key: str, name: str, bad: list[int]) -> None:
    """Each range has its ends, and the refusal names the value as it came."""
    for value in bad:
        with pytest.raises(BadBodyError) as caught:
            agree(**{key: value})

        assert caught.value.payload == f"E_BAD_BODY IDENTIFY {name} ({value}) is invalid".encode()


def test_values_are_checked_in_nsqs_order() -> None:
    """Of several that are wrong, the first in NSQ's order is named."""
    wrong = {
        "msg_timeout": -1,
        "sample_rate": -1,
        "output_buffer_size": 1,
        "output_buffer_timeout": 1,
        "heartbeat_interval": 1,
    }
    named = []
    while wrong:
        with pytest.raises(BadBodyError) as caught:
            agree(**wrong)
        named.append(caught.value.payload.decode().partition("IDENTIFY ")[2].partition(" (")[0].replace(" ", "_"))
        del wrong[named[-1]]

    assert named == ["heartbeat_interval", "output_buffer_timeout", "output_buffer_size", "sample_rate", "msg_timeout"]


@pytest.mark.parametrize(
    "key,value,field,holds",
    [
        ("heartbeat_interval", 0, "heartbeat_interval_ns", 30_000 * MS),
        ("heartbeat_interval", -1, "heartbeat_interval_ns", 0),
        ("heartbeat_interval", 1000, "heartbeat_interval_ns", 1000 * MS),
        ("heartbeat_interval", 60000, "heartbeat_interval_ns", 60_000 * MS),
        ("output_buffer_size", 0, "output_buffer_size", 16384),
        ("output_buffer_size", -1, "output_buffer_size", 1),
        ("output_buffer_size", 64, "output_buffer_size", 64),
        ("output_buffer_size", 65536, "output_buffer_size", 65536),
        ("output_buffer_timeout", 0, "output_buffer_timeout_ns", 250 * MS),
        ("output_buffer_timeout", -1, "output_buffer_timeout_ns", 0),
        ("output_buffer_timeout", 25, "output_buffer_timeout_ns", 25 * MS),
        ("output_buffer_timeout", 30000, "output_buffer_timeout_ns", 30_000 * MS),
        ("sample_rate", 99, "sample_rate", 99),
        ("msg_timeout", 0, "msg_timeout_ns", 60_000 * MS),
        ("msg_timeout", 1000, "msg_timeout_ns", 1000 * MS),
        ("msg_timeout", 900000, "msg_timeout_ns", 900_000 * MS),
        ("deflate_level", -5, "deflate_level", 6),
        ("deflate_level", 0, "deflate_level", 6),
        ("deflate_level", 1, "deflate_level", 1),
        ("deflate_level", 99, "deflate_level", 6),
    ],
)
def test_value_in_range_holds(key: str, value: int, field: str, holds: int) -> None:
    """0 keeps the default, -1 turns off what may be off, the ends of a range are in it."""
    assert getattr(agree(**{key: value}), field) == holds


def test_no_output_buffer_needs_no_timer() -> None:
    """With a buffer of nothing the timer is off, whatever was asked for."""
    agreement = agree(output_buffer_size=-1, output_buffer_timeout=100)

    assert (agreement.output_buffer_size, agreement.output_buffer_timeout_ns) == (1, 0)


def test_deflate_level_never_passes_the_servers() -> None:
    """The default level comes down to the highest that is allowed, too."""
    assert agree(attrs.evolve(TERMS, max_deflate_level=3)).deflate_level == 3


def test_nothing_is_upgraded_without_negotiation() -> None:
    """Without feature_negotiation TLS and compression stay off, while all else holds."""
    agreement = agree(tls_v1=True, snappy=True, deflate=True, sample_rate=7)

    assert (agreement.tls, agreement.snappy, agreement.deflate) == (False, False, False)
    assert agreement.sample_rate == 7
    assert response(agreement, TERMS) == b"OK"


def test_both_compressions_are_refused() -> None:
    """Deflate and snappy at once cannot be."""
    with pytest.raises(IdentifyFailedError) as caught:
        agree(feature_negotiation=True, snappy=True, deflate=True)

    assert caught.value.payload == b"E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"


def test_what_the_server_lacks_stays_off() -> None:
    """Of two compressions the one that is offered is on, and TLS needs a certificate."""
    terms = attrs.evolve(TERMS, snappy=False, has_tls=False)

    agreement = agree(terms, feature_negotiation=True, snappy=True, deflate=True, tls_v1=True)

    assert (agreement.tls, agreement.snappy, agreement.deflate) == (False, False, True)


def test_response_is_nsqs_to_the_byte() -> None:
    """Keys, order and spelling are those that clients have seen."""
    assert response(agree(feature_negotiation=True), TERMS) == (
        b'{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,'
        b'"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,'
        b'"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250,"topology_region":"",'
        b'"topology_zone":""}'
    )


def test_response_tells_what_holds_and_where_the_server_is() -> None:
    """Effective values are told; region and zone are the server's, not the client's."""
    terms = attrs.evolve(TERMS, topology_region="<eu>", topology_zone="a", auth_required=True)
    asked = {"tls_v1": True, "snappy": True, "msg_timeout": 5000, "sample_rate": 3, "output_buffer_size": -1}

    told = response(agree(terms, feature_negotiation=True, topology_region="us", **asked), terms)

    assert b'"topology_region":"\\u003ceu\\u003e"' in told
    assert json.loads(told) | {"tls_v1": True, "snappy": True, "auth_required": True} == json.loads(told)
    assert json.loads(told)["msg_timeout"] == 5000
    assert json.loads(told)["output_buffer_size"] == 1
    assert json.loads(told)["output_buffer_timeout"] == 0


def test_unidentified_connection_goes_by_its_ip() -> None:
    """A client that never identifies has the defaults and is called by its address; one that does is not."""
    agreement = unidentified(TERMS, "10.0.0.1")

    assert (agreement.client_id, agreement.hostname) == ("10.0.0.1", "10.0.0.1")
    assert attrs.evolve(agreement, client_id="", hostname="") == agree()
