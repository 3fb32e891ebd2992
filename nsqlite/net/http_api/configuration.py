"""GET and PUT /config/...: what nsqd's options are set to, under nsqd's names and in nsqd's units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from nsqlite.errors import InvalidOptionError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.bodies import Bodies
from nsqlite.net.http.router import Call, Routes
from nsqlite.net.protocol import go_json
from nsqlite.options import MIB, SECOND_NS

if TYPE_CHECKING:
    from nsqlite.net.nsqd import Nsqd

LOG_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
MAX_LOOKUPDS: Final = 128  # that one request may set; the option itself takes any number
_TLS_VERSIONS: Final = {"tls1.0": 769, "tls1.1": 770, "tls1.2": 771, "tls1.3": 772}
_OF_NODE: Final = ("mem_queue_size", "max_msg_size", "max_body_size", "max_rdy_count", "max_channel_consumers")
_TIMES_OF_NODE: Final = ("msg_timeout", "max_msg_timeout", "max_req_timeout", "e2e_processing_latency_window_time")
_OF_LISTENER: Final = (
    "tcp_address",
    "http_address",
    "https_address",
    "broadcast_tcp_port",
    "broadcast_http_port",
    "auth_http_request_method",
    "max_output_buffer_size",
    "statsd_address",
    "statsd_prefix",
    "statsd_mem_stats",
    "statsd_udp_packet_size",
    "statsd_exclude_ephemeral",
    "tls_cert",
    "tls_key",
    "tls_client_auth_policy",
    "tls_root_ca_file",
    "deflate",
    "max_deflate_level",
    "snappy",
    "topology_region",
    "topology_zone",
)
_TIMES_OF_LISTENER: Final = (
    "http_client_connect_timeout",
    "http_client_request_timeout",
    "max_heartbeat_interval",
    "max_output_buffer_timeout",
    "min_output_buffer_timeout",
    "output_buffer_timeout",
    "statsd_interval",
)
# What a node has no use for: nsqd's defaults, unless the command was told otherwise.
WITHOUT_EFFECT: Final[dict[str, Any]] = {
    "log_prefix": "[nsqd] ",
    "max_bytes_per_file": 100 * MIB,
    "sync_every": 2500,
    "sync_timeout": 2 * SECOND_NS,
    "queue_scan_selection_count": 20,
    "queue_scan_worker_pool_max": 4,
}


class Configuration:
    """The endpoint of one server."""

    def __init__(self, nsqd: Nsqd, bodies: Bodies) -> None:
        self._nsqd = nsqd
        self._bodies = bodies
        self._setters: dict[str, Callable[[bytes], None]] = {
            "nsqlookupd_tcp_addresses": self._set_lookupds,
            "log_level": _set_log_level,
        }

    def routes(self) -> Routes:
        """See Router."""
        return {"/config/*": {"GET": self.get, "PUT": self.put}}

    async def get(self, call: Call) -> web.Response:
        """One option's value."""
        return self._answer(call.suffix)

    async def put(self, call: Call) -> web.Response:
        """Set one of the two that can be set while it runs; not kept over a restart."""
        body = await self._bodies.read(call.request, self._nsqd.engine.options.max_msg_size, "INVALID_VALUE")
        if not body:
            raise HttpError(413, "INVALID_VALUE")
        setter = self._setters.get(call.suffix)
        if setter is None:
            raise HttpError(400, "INVALID_OPTION")
        try:
            setter(body)
        except (ValueError, InvalidOptionError) as error:
            raise HttpError(400, "INVALID_VALUE") from error
        return self._answer(call.suffix)

    def _set_lookupds(self, body: bytes) -> None:
        addresses = go_json.decode(body)
        if not isinstance(addresses, list | None):
            raise ValueError("no array")  # noqa: TRY004  # the value is wrong, not the call
        if addresses is not None and len(addresses) > MAX_LOOKUPDS:
            raise ValueError("too many")  # each is a connection and a task
        self._nsqd.set_lookupds(tuple(addresses or ()))

    def _answer(self, name: str) -> web.Response:
        values = values_of(self._nsqd)
        if name not in values:
            raise HttpError(400, "INVALID_OPTION")
        value = values[name]
        if isinstance(value, str):
            return answers.text(value.encode()) if value else answers.empty()
        return answers.json(go_json.encode({"": value})[4:-1])


def values_of(nsqd: Nsqd) -> Mapping[str, Any]:
    """Every option of nsqd's by its name in the config file."""
    node, listener = nsqd.engine.options, nsqd.options
    values: dict[str, Any] = dict(WITHOUT_EFFECT)
    values |= {name: getattr(node, name) for name in _OF_NODE}
    values |= {name: int(getattr(node, name) * SECOND_NS) for name in _TIMES_OF_NODE}
    values |= {name: getattr(listener, name) for name in _OF_LISTENER}
    values |= {name: int(getattr(listener, name) * SECOND_NS) for name in _TIMES_OF_LISTENER}
    values |= {
        "id": nsqd.engine.broker.node_id,
        "data_path": nsqd.data_path,
        "broadcast_address": nsqd.broadcast_address,
        "nsqlookupd_tcp_addresses": list(nsqd.lookupd_addresses),
        "auth_http_addresses": list(listener.auth_http_addresses),
        "e2e_processing_latency_percentiles": sorted(node.e2e_processing_latency_percentiles, reverse=True),
        "tls_required": 2 if listener.is_https_required else int(listener.is_tls_required),
        "tls_min_version": _TLS_VERSIONS[listener.tls_min_version],
        "log_level": _log_level(),
    }
    return values | dict(nsqd.config)


def _log_level() -> int:
    """The logger's, counted from 1 as nsqd does."""
    level = logging.getLogger("nsqlite").getEffectiveLevel()
    return 1 + sum(level > each for each in list(LOG_LEVELS.values())[:-1])


def _set_log_level(body: bytes) -> None:
    """As one of nsqd's words in any case.

    Raises:
        ValueError: It is none of them.
    """
    level = LOG_LEVELS.get(body.decode("utf-8", "replace").lower())
    if level is None:
        raise ValueError("no level")
    logging.getLogger("nsqlite").setLevel(level)
