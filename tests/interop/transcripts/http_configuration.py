"""Checks 136 to 139: options read, and the two that can be changed while a server runs."""

from __future__ import annotations

from tests.interop.transcripts.http_steps import JSON, TEXT, Answer, Body, Request
from tests.interop.transcripts.http_wire import ask, exchange, masked, message
from tests.interop.transcripts.steps import Differs, Step, Transcript, server

MIB = 1 << 20
LOOKUPDS, LEVEL = "/config/nsqlookupd_tcp_addresses", "/config/log_level"
VALUES: dict[str, Body] = {
    "max_msg_size": b"1048576",
    "max_body_size": b"5242880",
    "msg_timeout": b"60000000000",
    "max_msg_timeout": b"900000000000",
    "max_req_timeout": b"3600000000000",
    "max_rdy_count": b"2500",
    "max_heartbeat_interval": b"60000000000",
    "max_output_buffer_size": b"65536",
    "max_output_buffer_timeout": b"30000000000",
    "min_output_buffer_timeout": b"25000000",
    "output_buffer_timeout": b"250000000",
    "max_channel_consumers": b"0",
    "mem_queue_size": b"10000",
    "broadcast_tcp_port": masked("<int>"),
    "broadcast_http_port": masked("<int>"),
    "http_client_connect_timeout": b"2000000000",
    "http_client_request_timeout": b"5000000000",
    "statsd_interval": b"60000000000",
    "statsd_mem_stats": b"true",
    "statsd_udp_packet_size": b"508",
    "statsd_exclude_ephemeral": b"false",
    "e2e_processing_latency_window_time": b"600000000000",
    "tls_required": b"0",
    "max_deflate_level": b"6",
    "deflate": b"true",
    "snappy": b"true",
}
TEXTS: dict[str, Body] = {
    "statsd_prefix": masked("nsq.<line>"),
    "tls_client_auth_policy": b"",
    "tls_root_ca_file": b"",
    "statsd_address": b"",
}
UNKNOWN = (
    "node_id",
    "nonsense",
    "logger",
    "client_timeout",
    "Msg_Timeout",
    "msg-timeout",
    "lookupd_tcp_address",
    "%zz",
)


def value(option: str, body: Body) -> tuple[Step, ...]:
    """GET of an option that is no text."""
    return Request("GET", f"/config/{option}"), Answer(200, body, JSON)


def put(path: str, status: int, answer: bytes | str, body: bytes) -> tuple[Step, ...]:
    """PUT of a value."""
    return ask("PUT", path, status, answer, body)


LOOKUPD_ADDRESSES = (
    exchange(
        136,
        "lookupds",
        "The addresses of nsqlookupds are a list, and what is put there is there.",
        Request("GET", LOOKUPDS),
        Answer(200, b"[]", JSON),
        put(LOOKUPDS, 200, b'["127.0.0.1:1"]', b'["127.0.0.1:1"]'),
        value("nsqlookupd_tcp_addresses", b'["127.0.0.1:1"]'),
        put(LOOKUPDS, 200, b'["127.0.0.1:1","127.0.0.1:2"]', b' [ "127.0.0.1:1",\n"127.0.0.1:2" ] '),
        put(LOOKUPDS, 400, "INVALID_VALUE", b"xx"),
        put(LOOKUPDS, 400, "INVALID_VALUE", b"127.0.0.1:1"),
        put(LOOKUPDS, 400, "INVALID_VALUE", b'"127.0.0.1:1"'),
        put(LOOKUPDS, 400, "INVALID_VALUE", b"{}"),
        put(LOOKUPDS, 400, "INVALID_VALUE", b"[1]"),
        put(LOOKUPDS, 400, "INVALID_VALUE", b"[] []"),
        put(LOOKUPDS, 413, "INVALID_VALUE", b""),
        ask("PUT", LOOKUPDS, 413, "INVALID_VALUE", b" " * (MIB + 1), by="I"),
        value("nsqlookupd_tcp_addresses", b'["127.0.0.1:1","127.0.0.1:2"]'),
        put(LOOKUPDS, 200, b"[]", b"[]" + b" " * (MIB - 2)),
        value("nsqlookupd_tcp_addresses", b"[]"),
        server=server(alone="lookupds"),
    ),
    exchange(
        136,
        "lookupds_null",
        "Nothing instead of a list is an empty list.",
        Request("PUT", LOOKUPDS, b"null"),
        Differs(
            (Answer(200, b"null", JSON),),
            (Answer(200, b"[]", JSON),),
            "Who reads it expects a list.",
        ),
        server=server(alone="lookupds_null"),
    ),
    exchange(
        136,
        "lookupds_that_are_no_addresses",
        "What is no address cannot be put.",
        Request("PUT", LOOKUPDS, b'["nonsense"]'),
        Differs(
            (Answer(200, b'["nonsense"]', JSON),),
            (Answer(400, message("INVALID_VALUE"), JSON),),
            "Nobody could ever be reached there.",
        ),
        server=server(alone="lookupds_bad"),
    ),
)

LOG_LEVEL = (
    exchange(
        137,
        "log_level",
        "A log level is put by its name, in any case, and is a number.",
        *(
            step
            for name, number in (
                ("debug", 1),
                ("INFO", 2),
                ("WARN", 3),
                ("Error", 4),
                ("fatal", 5),
                ("info", 2),
            )
            for step in (
                Request("PUT", LEVEL, name.encode()),
                Answer(200, str(number).encode(), JSON),
                *value("log_level", str(number).encode()),
            )
        ),
        *(
            step
            for bad in (b"bad", b'"debug"', b"3", b"info ", b"info\n", b"warning")
            for step in put(LEVEL, 400, "INVALID_VALUE", bad)
        ),
        put(LEVEL, 413, "INVALID_VALUE", b""),
        value("log_level", b"2"),
        server=server(alone="log_level"),
    ),
)

OPTIONS = (
    exchange(
        138,
        "put_others",
        "No other option can be changed.",
        *(
            step
            for option in ("mem_queue_size", "msg_timeout", "id", "nonsense")
            for step in put(f"/config/{option}", 400, "INVALID_OPTION", b"1")
        ),
        put("/config/nonsense", 413, "INVALID_VALUE", b""),
    ),
    *(
        exchange(
            138,
            f"get_unknown_{number}",
            f"{option} is no option's name.",
            ask("GET", f"/config/{option}", 400, "INVALID_OPTION"),
        )
        for number, option in enumerate(UNKNOWN)
        if option != "%zz"
    ),
    *(
        exchange(139, f"get_{option}", f"{option} can be read.", value(option, expected))
        for option, expected in VALUES.items()
    ),
    *(
        exchange(
            139,
            f"get_{option}",
            f"{option} can be read, as it is.",
            Request("GET", f"/config/{option}"),
            Answer(200, expected, TEXT if expected else {"content-type": None}),
        )
        for option, expected in TEXTS.items()
    ),
    exchange(
        139,
        "get_addresses",
        "Texts come as they are.",
        Request("GET", "/config/tcp_address"),
        Answer(200, b"127.0.0.1:0", TEXT),
        Request("GET", "/config/http_address"),
        Answer(200, b"127.0.0.1:0", TEXT),
    ),
    exchange(
        139,
        "get_changed",
        "Options are told as they were set.",
        value("msg_timeout", b"1500000000"),
        value("max_rdy_count", b"17"),
        value("e2e_processing_latency_percentiles", b"[0.99,0.5]"),
        server=server(msg_timeout=1.5, max_rdy_count=17, e2e_processing_latency_percentiles=(0.99, 0.5)),
    ),
    exchange(
        139,
        "get_lists",
        "What was not set is an empty list.",
        value("auth_http_addresses", b"[]"),
        value("e2e_processing_latency_percentiles", b"[]"),
    ),
    exchange(
        139,
        "get_tls",
        "What concerns TLS is told as numbers.",
        value("tls_required", b"1"),
        value("tls_min_version", b"770"),
        server=server(
            tls=True, tls_client_auth_policy="require-verify", tls_required="tcp-https", tls_min_version="tls1.1"
        ),
    ),
)

TRANSCRIPTS: tuple[Transcript, ...] = (*LOOKUPD_ADDRESSES, *LOG_LEVEL, *OPTIONS)
