"""The HTTP API of an nsqlookupd: consumers look topics up, nsqadmin administers.

Every path, parameter, refusal and order of keys is nsqlookupd's. A request's body is never
used, so it is not read. `topic=*`, by which nsqlookupd finds, and deletes, all topics at once,
is here a name like any other that nobody has.

An answer is as long as what is registered: some 230 bytes for each in /debug. How much may be on
its way is bounded by who sends it (net.http.sending).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from nsqlite.clock import Clock
from nsqlite.names import is_valid_name
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.router import Call, Endpoint
from nsqlite.net.lookupd.registry import NEVER_NS, Producer, Registry, Tombstone, TooManyRegistrationsError
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.negotiation import VERSION

_PING_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "Server": "nsqlite"}


class LookupdApi:
    """The endpoints of one registry."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def routes(self) -> dict[str, dict[str, Endpoint]]:
        """Paths and methods, for a Router."""
        return {
            "/ping": {"GET": self.ping},
            "/info": {"GET": self.info},
            "/debug": {"GET": self.debug},
            "/lookup": {"GET": self.lookup},
            "/topics": {"GET": self.topics},
            "/channels": {"GET": self.channels},
            "/nodes": {"GET": self.nodes},
            "/topic/create": {"POST": self.create_topic},
            "/topic/delete": {"POST": self.delete_topic},
            "/channel/create": {"POST": self.create_channel},
            "/channel/delete": {"POST": self.delete_channel},
            "/topic/tombstone": {"POST": self.tombstone_topic},
        }

    # -- what is asked --------------------------------------------------------------------

    async def ping(self, call: Call) -> web.Response:
        """GET /ping: it is there."""
        return web.Response(body=b"OK", headers=_PING_HEADERS)

    async def info(self, call: Call) -> web.Response:
        """GET /info: which NSQ it is compatible with."""
        return answers.json(go_json.encode({"version": VERSION}))

    async def topics(self, call: Call) -> web.Response:
        """GET /topics: all there are, with producers or without."""
        return answers.json(go_json.encode({"topics": self._registry.topic_names()}))

    async def channels(self, call: Call) -> web.Response:
        """GET /channels?topic: all of a topic."""
        topic = _param(call.params(), "topic")
        return answers.json(go_json.encode({"channels": self._registry.channel_names(topic)}))

    async def lookup(self, call: Call) -> web.Response:
        """GET /lookup?topic: its channels, and where consumers should connect."""
        topic = _param(call.params(), "topic")
        producers = self._registry.lookup(topic, self._clock.monotonic_ns())
        if producers is None:
            raise HttpError(404, "TOPIC_NOT_FOUND")
        found = {"channels": self._registry.channel_names(topic), "producers": [_peer(each) for each in producers]}
        return answers.json(go_json.encode(found))

    async def nodes(self, call: Call) -> web.Response:
        """GET /nodes: all nsqds, and what they have. Both lists of a node have the same order."""
        nodes = [
            go_json.encode(_peer(producer) | {"tombstones": list(topics.values()), "topics": list(topics)})
            for producer, topics in self._registry.nodes(self._clock.monotonic_ns())
        ]
        return answers.json(b'{"producers":[' + b",".join(nodes) + b"]}")

    async def debug(self, call: Call) -> web.Response:
        """GET /debug: everything that has a producer."""
        return answers.json(b"{" + b",".join(self._debugged()) + b"}")

    def _debugged(self) -> Iterator[bytes]:
        """One key after another: as one document of Python's they would take some times their JSON."""
        for key, producers in sorted(self._registry.registrations(), key=lambda item: item[0]):
            if producers:
                yield go_json.encode({key: [_debugged(*each) for each in producers.items()]})[1:-1]

    # -- what is changed ------------------------------------------------------------------

    async def create_topic(self, call: Call) -> web.Response:
        """POST /topic/create?topic."""
        topic = _param(call.params(), "topic")
        _check_name(topic, "topic")
        return self._create(topic)

    async def create_channel(self, call: Call) -> web.Response:
        """POST /channel/create?topic&channel: both, if need be."""
        return self._create(*_topic_and_channel(call))

    async def delete_topic(self, call: Call) -> web.Response:
        """POST /topic/delete?topic: with its channels; also if there is none."""
        self._registry.delete_topic(_param(call.params(), "topic"))
        return answers.empty()

    async def delete_channel(self, call: Call) -> web.Response:
        """POST /channel/delete?topic&channel."""
        if not self._registry.delete_channel(*_topic_and_channel(call)):
            raise HttpError(404, "CHANNEL_NOT_FOUND")
        return answers.empty()

    async def tombstone_topic(self, call: Call) -> web.Response:
        """POST /topic/tombstone?topic&node: hide a producer of a topic for a while; also if there is none."""
        params = call.params()
        topic, node = _param(params, "topic"), _param(params, "node")
        self._registry.tombstone(topic, node, self._clock.monotonic_ns(), self._clock.wall_ns())
        return answers.empty()

    def _create(self, topic: str, channel: str = "") -> web.Response:
        try:
            self._registry.create(topic, channel)
        except TooManyRegistrationsError as error:
            raise HttpError(503, "TOO_MANY_REGISTRATIONS") from error
        return answers.empty()


def _peer(producer: Producer) -> dict[str, object]:
    return {
        "remote_address": producer.remote_address,
        "hostname": producer.hostname,
        "broadcast_address": producer.broadcast_address,
        "tcp_port": producer.tcp_port,
        "http_port": producer.http_port,
        "version": producer.version,
    }


def _debugged(producer: Producer, tombstone: Tombstone | None) -> dict[str, object]:
    return {
        "broadcast_address": producer.broadcast_address,
        "hostname": producer.hostname,
        "http_port": producer.http_port,
        "id": producer.remote_address,
        "last_update": producer.last_update_wall_ns,
        "tcp_port": producer.tcp_port,
        "tombstoned": tombstone is not None,  # also when it has expired
        "tombstoned_at": NEVER_NS if tombstone is None else tombstone.at_wall_ns,
        "version": producer.version,
    }


def _param(params: dict[str, str], name: str) -> str:
    if name not in params:
        raise HttpError(400, f"MISSING_ARG_{name.upper()}")
    return params[name]


def _check_name(value: str, name: str) -> None:
    if not is_valid_name(value):
        raise HttpError(400, f"INVALID_ARG_{name.upper()}")


def _topic_and_channel(call: Call) -> tuple[str, str]:
    """Both names, checked in nsqlookupd's order."""
    params = call.params()
    topic = _param(params, "topic")
    _check_name(topic, "topic")
    channel = _param(params, "channel")
    _check_name(channel, "channel")
    return topic, channel
