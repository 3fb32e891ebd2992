"""IDENTIFY: what a client asks for, what the server offers, and what both then keep to.

Pure: bytes and values in, bytes and values out. Ranges, their order and the wording of
refusals are NSQ's (its protocol reference, section on IDENTIFY); clients match on them.
"""

from __future__ import annotations

from typing import Final

import attrs

from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.errors import BadBodyError, IdentifyFailedError

# What clients take for the server's version. Tools parse it as strict semver and choose by it
# what the server can do, so it says which NSQ this is compatible with, not which nsqlite it is.
VERSION: Final = "1.3.0"

# A body of 5 MiB, which NSQ's limit for all bodies allows, takes a second to decode if it is made
# to, and nobody else is served meanwhile; what clients send has some hundred bytes.
MAX_IDENTIFY_BYTES: Final = 64 * 1024

MILLISECOND_NS: Final = 1_000_000
DEFAULT_HEARTBEAT_NS: Final = 30_000 * MILLISECOND_NS
MIN_HEARTBEAT_MS: Final = 1000
DEFAULT_OUTPUT_BUFFER_BYTES: Final = 16 * 1024
MIN_OUTPUT_BUFFER_BYTES: Final = 64
DEFAULT_DEFLATE_LEVEL: Final = 6
MIN_MSG_TIMEOUT_MS: Final = 1000
MAX_SAMPLE_RATE: Final = 99
ASKED_FOR_NONE: Final = -1


@attrs.frozen(kw_only=True)
class IdentifyRequest:
    """A body of IDENTIFY, as it came: well-formed, but no value is checked yet.

    Attributes:
        client_id: Shown in the statistics.
        hostname: The same.
        user_agent: The same.
        feature_negotiation: Whether the answer is to be JSON, and TLS and compression may follow.
        heartbeat_interval: Milliseconds; 0 for the default, -1 for none.
        output_buffer_size: Bytes; 0 for the default, -1 for none.
        output_buffer_timeout: Milliseconds; 0 for the default, -1 for none.
        tls_v1: Asks for TLS, of whatever version.
        snappy: Asks for snappy.
        deflate: Asks for deflate.
        deflate_level: 0 or less for the default.
        sample_rate: Percent of the messages to be sent; 0 for all.
        msg_timeout: Milliseconds; 0 for the default.
        topology_region: Where the client is.
        topology_zone: The same, within the region.
    """

    client_id: str = ""
    hostname: str = ""
    user_agent: str = ""
    feature_negotiation: bool = False
    heartbeat_interval: int = 0
    output_buffer_size: int = 0
    output_buffer_timeout: int = 0
    tls_v1: bool = False
    snappy: bool = False
    deflate: bool = False
    deflate_level: int = 0
    sample_rate: int = 0
    msg_timeout: int = 0
    topology_region: str = ""
    topology_zone: str = ""


@attrs.frozen(kw_only=True)
class Terms:
    """What the server offers and how far it lets a client go; the same for all of a listener.

    Attributes:
        max_rdy_count: Highest RDY.
        version: What the server says it is; see `VERSION`.
        max_msg_timeout_ns: Longest message timeout.
        msg_timeout_ns: Message timeout of who asks for none.
        max_heartbeat_interval_ns: Longest heartbeat interval.
        min_output_buffer_timeout_ns: Shortest time a message waits in the output buffer.
        max_output_buffer_timeout_ns: Longest.
        output_buffer_timeout_ns: That of who asks for none.
        max_output_buffer_size: Largest output buffer, in bytes.
        max_deflate_level: Highest level of deflate.
        has_tls: Whether there is a certificate.
        deflate: Whether deflate is offered.
        snappy: Whether snappy is offered.
        auth_required: Whether AUTH must come first.
        topology_region: Where the server is.
        topology_zone: The same, within the region.
    """

    max_rdy_count: int
    version: str = VERSION
    max_msg_timeout_ns: int
    msg_timeout_ns: int
    max_heartbeat_interval_ns: int
    min_output_buffer_timeout_ns: int
    max_output_buffer_timeout_ns: int
    output_buffer_timeout_ns: int
    max_output_buffer_size: int
    max_deflate_level: int
    has_tls: bool
    deflate: bool
    snappy: bool
    auth_required: bool
    topology_region: str = ""
    topology_zone: str = ""


@attrs.frozen(kw_only=True)
class Agreement:
    """What holds for one connection.

    Attributes:
        client_id: The client's name for itself; its IP if it never identified.
        hostname: The same.
        user_agent: Its library.
        heartbeat_interval_ns: 0 for no heartbeats and no deadlines.
        output_buffer_size: Bytes of messages that may wait; 1 for none.
        output_buffer_timeout_ns: 0 for no timer.
        sample_rate: Percent of the messages that are sent; 0 for all.
        msg_timeout_ns: Time to answer a message.
        topology_region: Where the client is.
        topology_zone: The same, within the region.
        is_negotiated: Whether the answer is JSON; without it nothing of the next four is on.
        tls: TLS follows.
        snappy: Snappy follows.
        deflate: Deflate follows.
        deflate_level: Its level, reported also when deflate is off.
    """

    client_id: str = ""
    hostname: str = ""
    user_agent: str = ""
    heartbeat_interval_ns: int
    output_buffer_size: int = DEFAULT_OUTPUT_BUFFER_BYTES
    output_buffer_timeout_ns: int
    sample_rate: int = 0
    msg_timeout_ns: int
    topology_region: str = ""
    topology_zone: str = ""
    is_negotiated: bool = False
    tls: bool = False
    snappy: bool = False
    deflate: bool = False
    deflate_level: int = DEFAULT_DEFLATE_LEVEL


_READERS: Final[dict[str, go_json.Reader]] = {
    "client_id": go_json.text,
    "hostname": go_json.text,
    "user_agent": go_json.text,
    "feature_negotiation": go_json.flag,
    "heartbeat_interval": go_json.int64,
    "output_buffer_size": go_json.int64,
    "output_buffer_timeout": go_json.int64,
    "tls_v1": go_json.flag,
    "snappy": go_json.flag,
    "deflate": go_json.flag,
    "deflate_level": go_json.int64,
    "sample_rate": go_json.int32,
    "msg_timeout": go_json.int64,
    "topology_region": go_json.text,
    "topology_zone": go_json.text,
}


def unidentified(terms: Terms, remote_ip: str) -> Agreement:
    """What holds for a connection until it identifies, which it need not do."""
    return Agreement(
        client_id=remote_ip,
        hostname=remote_ip,
        heartbeat_interval_ns=DEFAULT_HEARTBEAT_NS,
        output_buffer_timeout_ns=terms.output_buffer_timeout_ns,
        msg_timeout_ns=terms.msg_timeout_ns,
        deflate_level=_deflate_level(0, terms),
    )


def parse_identify(body: bytes) -> IdentifyRequest:
    """Read a body of IDENTIFY.

    Keys match in any case, unknown ones are passed over, null is as good as absent, and an
    integer is written as one. `null` alone is a body, too.

    Raises:
        BadBodyError: It is no such JSON, holds a value of another type, or is longer than
            `MAX_IDENTIFY_BYTES`.
    """
    try:
        if len(body) > MAX_IDENTIFY_BYTES:
            raise go_json.JsonError("longer than any client needs")
        return IdentifyRequest(**go_json.read_fields(go_json.decode(body), _READERS))
    except ValueError as error:
        raise BadBodyError("IDENTIFY failed to decode JSON body") from error


def negotiate(request: IdentifyRequest, terms: Terms) -> Agreement:
    """Check what a client asks for, and settle on it.

    Raises:
        BadBodyError: A value is out of its range; the first in NSQ's order is named.
        IdentifyFailedError: Both compressions would be on.
    """
    heartbeat_interval_ns = _heartbeat_ns(request.heartbeat_interval, terms)
    output_buffer_timeout_ns = _output_buffer_timeout_ns(request.output_buffer_timeout, terms)
    output_buffer_size = _output_buffer_size(request.output_buffer_size, terms)
    if request.output_buffer_size == ASKED_FOR_NONE:
        output_buffer_timeout_ns = 0  # nothing waits, so there is nothing to time
    _check("sample rate", request.sample_rate, 0, MAX_SAMPLE_RATE)
    msg_timeout_ns = _msg_timeout_ns(request.msg_timeout, terms)
    is_negotiated = request.feature_negotiation
    snappy = is_negotiated and request.snappy and terms.snappy
    deflate = is_negotiated and request.deflate and terms.deflate
    if snappy and deflate:
        raise IdentifyFailedError("cannot enable both deflate and snappy compression")
    return Agreement(
        client_id=request.client_id,
        hostname=request.hostname,
        user_agent=request.user_agent,
        heartbeat_interval_ns=heartbeat_interval_ns,
        output_buffer_size=output_buffer_size,
        output_buffer_timeout_ns=output_buffer_timeout_ns,
        sample_rate=request.sample_rate,
        msg_timeout_ns=msg_timeout_ns,
        topology_region=request.topology_region,
        topology_zone=request.topology_zone,
        is_negotiated=is_negotiated,
        tls=is_negotiated and request.tls_v1 and terms.has_tls,
        snappy=snappy,
        deflate=deflate,
        deflate_level=_deflate_level(request.deflate_level, terms),
    )


def response(agreement: Agreement, terms: Terms) -> bytes:
    """The data of the answer to IDENTIFY: OK, or what was agreed on, in NSQ's order of keys."""
    if not agreement.is_negotiated:
        return b"OK"
    return go_json.encode(
        {
            "max_rdy_count": terms.max_rdy_count,
            "version": terms.version,
            "max_msg_timeout": terms.max_msg_timeout_ns // MILLISECOND_NS,
            "msg_timeout": agreement.msg_timeout_ns // MILLISECOND_NS,
            "tls_v1": agreement.tls,
            "deflate": agreement.deflate,
            "deflate_level": agreement.deflate_level,
            "max_deflate_level": terms.max_deflate_level,
            "snappy": agreement.snappy,
            "sample_rate": agreement.sample_rate,
            "auth_required": terms.auth_required,
            "output_buffer_size": agreement.output_buffer_size,
            "output_buffer_timeout": agreement.output_buffer_timeout_ns // MILLISECOND_NS,
            "topology_region": terms.topology_region,
            "topology_zone": terms.topology_zone,
        }
    )


def _heartbeat_ns(asked_ms: int, terms: Terms) -> int:
    if asked_ms == ASKED_FOR_NONE:
        return 0
    if asked_ms == 0:
        return DEFAULT_HEARTBEAT_NS
    _check("heartbeat interval", asked_ms, MIN_HEARTBEAT_MS, terms.max_heartbeat_interval_ns // MILLISECOND_NS)
    return asked_ms * MILLISECOND_NS


def _output_buffer_timeout_ns(asked_ms: int, terms: Terms) -> int:
    if asked_ms == ASKED_FOR_NONE:
        return 0
    if asked_ms == 0:
        return terms.output_buffer_timeout_ns
    low_ms = terms.min_output_buffer_timeout_ns // MILLISECOND_NS
    _check("output buffer timeout", asked_ms, low_ms, terms.max_output_buffer_timeout_ns // MILLISECOND_NS)
    return asked_ms * MILLISECOND_NS


def _output_buffer_size(asked_bytes: int, terms: Terms) -> int:
    if asked_bytes == ASKED_FOR_NONE:
        return 1
    if asked_bytes == 0:
        return DEFAULT_OUTPUT_BUFFER_BYTES
    _check("output buffer size", asked_bytes, MIN_OUTPUT_BUFFER_BYTES, terms.max_output_buffer_size)
    return asked_bytes


def _msg_timeout_ns(asked_ms: int, terms: Terms) -> int:
    if asked_ms == 0:
        return terms.msg_timeout_ns
    _check("msg timeout", asked_ms, MIN_MSG_TIMEOUT_MS, terms.max_msg_timeout_ns // MILLISECOND_NS)
    return asked_ms * MILLISECOND_NS


def _deflate_level(asked: int, terms: Terms) -> int:
    return min(asked if asked > 0 else DEFAULT_DEFLATE_LEVEL, terms.max_deflate_level)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadBodyError(f"IDENTIFY {name} ({value}) is invalid")
