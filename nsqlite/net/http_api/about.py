"""GET /ping and /info: whether it is well, and who it is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from nsqlite.gate import State
from nsqlite.net.binding import port_of
from nsqlite.net.http import answers
from nsqlite.net.http.router import Call, Routes
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.negotiation import VERSION
from nsqlite.options import SECOND_NS

if TYPE_CHECKING:
    from nsqlite.net.nsqd import Nsqd

_PLAIN = {"Content-Type": "text/plain; charset=utf-8", "Server": "nsqlite"}


class About:
    """Both endpoints of one server."""

    def __init__(self, nsqd: Nsqd) -> None:
        self._nsqd = nsqd

    def routes(self) -> Routes:
        """See Router."""
        return {"/ping": {"GET": self.ping}, "/info": {"GET": self.info}}

    async def ping(self, call: Call) -> web.Response:
        """The word OK, or 500 and the error of the last write to the store, or that there is no node any more."""
        engine = self._nsqd.engine
        health = engine.health.text
        if engine.state is not State.OPEN and health == "OK":
            health = f"NOK - the node is {engine.state.value}"
        return web.Response(
            status=200 if health == "OK" else 500, body=health.encode("utf-8", "replace"), headers=_PLAIN
        )

    async def info(self, call: Call) -> web.Response:
        """Version, addresses and limits."""
        nsqd = self._nsqd
        ns: Callable[[float], int] = lambda seconds: int(seconds * SECOND_NS)  # noqa: E731
        options = nsqd.options
        told = {
            "version": VERSION,
            "broadcast_address": nsqd.broadcast_address,
            "hostname": socket.gethostname(),
            "http_port": port_of(nsqd.http_address),
            "tcp_port": port_of(nsqd.tcp.address),
            "start_time": nsqd.engine.start_time_ns // SECOND_NS,
            "max_heartbeat_interval": ns(options.max_heartbeat_interval),
            "max_output_buffer_size": options.max_output_buffer_size,
            "max_output_buffer_timeout": ns(options.max_output_buffer_timeout),
            "max_deflate_level": options.max_deflate_level,
            "topology_zone": options.topology_zone,
            "topology_region": options.topology_region,
        }
        return answers.json(go_json.encode(told))
