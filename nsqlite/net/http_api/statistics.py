"""GET /stats: all counters, as JSON or as text, made in slices so that deliveries go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
from aiohttp import web

from nsqlite import reporting
from nsqlite.core.latency import Latencies, Sketch
from nsqlite.net.http import answers
from nsqlite.net.http.router import Call, Routes
from nsqlite.net.http_api.arguments import BOOLEANS
from nsqlite.net.http_api.identity import who
from nsqlite.net.http_api.statistics_text import text_parts
from nsqlite.net.memory_stats import MemoryStats
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.negotiation import VERSION
from nsqlite.options import SECOND_NS
from nsqlite.reporting import TopicRows
from nsqlite.stats import ClientStats, Latency, TopicStats

if TYPE_CHECKING:
    from nsqlite.net.nsqd import Nsqd

AT_ONCE: Final = 2  # requests that are being answered; the others wait
SLICE_SECONDS: Final = 0.002  # of real time, after which the loop goes on with others
_CLIENTS_AT_ONCE: Final = 50
_CHANNELS_AT_ONCE: Final = 100
_NO_LATENCY: Final = '{"count":0,"percentiles":null}'
_BOOLEANS: Final = ("false", "true")
# No name has a character that JSON would mind.
_CHANNEL: Final = (
    '%s{"channel_name":"%s","depth":%d,"backend_depth":%d,"in_flight_count":%d,"deferred_count":%d,"message_count":%d,'
    '"requeue_count":%d,"timeout_count":%d,"client_count":%d,"clients":'
)
_CHANNEL_END: Final = '%s,"paused":%s,"e2e_processing_latency":%s}'
_WHOLE_CHANNEL: Final = _CHANNEL + _CHANNEL_END
_TOPIC: Final = '%s{"topic_name":"%s","channels":['
_TOPIC_END: Final = (
    '],"depth":%d,"backend_depth":%d,"message_count":%d,"message_bytes":%d,"paused":%s,"e2e_processing_latency":%s}'
)


@attrs.frozen
class Wanted:
    """What a request asks for.

    Attributes:
        topic: Only this one; "" for all.
        channel: Only this one, and only topics that have it; "" for all.
        has_clients: Whether clients and producers are listed.
        has_memory: Whether the process's memory is.
    """

    topic: str
    channel: str
    has_clients: bool
    has_memory: bool

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Wanted:
        """As nsqd reads the parameters: what is no boolean is true."""
        return cls(
            topic=params.get("topic", ""),
            channel=params.get("channel", ""),
            has_clients=BOOLEANS.get(params.get("include_clients", ""), True),
            has_memory=BOOLEANS.get(params.get("include_mem", ""), True),
        )


class Statistics:
    """The endpoint of one server."""

    def __init__(self, nsqd: Nsqd) -> None:
        self._nsqd = nsqd
        self._turnstile = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> Routes:
        """See Router."""
        return {"/stats": {"GET": self.stats}}

    async def stats(self, call: Call) -> web.Response:
        """JSON for exactly ``format=json``, else text."""
        params = call.params()
        wanted = Wanted.of(params)
        is_json = params.get("format") == "json"
        async with self._turnstile:
            body = await slowly(json_parts(self._nsqd, wanted) if is_json else self._text(wanted))
        return answers.json(body) if is_json else answers.text(body)

    def _text(self, wanted: Wanted) -> Iterator[bytes]:
        engine = self._nsqd.engine
        topics = topics_of(self._nsqd, wanted)
        yield from text_parts(
            health=engine.health.text,
            start_time_ns=engine.start_time_ns,
            now_ns=engine.clock.wall_ns(),
            memory=self._nsqd.memory_stats() if wanted.has_memory else None,
            topics=() if topics is None else topics,
            producers=producers_of(self._nsqd, wanted) or (),
            topic_name=wanted.topic,
        )


async def slowly(parts: Iterable[bytes]) -> bytes:
    """All parts together, made with a pause for the loop's other work after each slice of time."""
    loop = asyncio.get_running_loop()
    made: list[bytes] = []
    until = loop.time() + SLICE_SECONDS
    for part in parts:
        made.append(part)
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + SLICE_SECONDS
    return b"".join(made)


def topics_of(nsqd: Nsqd, wanted: Wanted) -> Iterator[TopicStats] | None:
    """The topics asked for; None for one that is not there."""
    names = _names(nsqd, wanted)
    if names is not None and not names:
        return None
    every = reporting.iter_topic_stats(nsqd.engine, names, with_clients=wanted.has_clients, with_oldest=False)
    return _with_channel(every, wanted.channel) if wanted.channel else every


def _names(nsqd: Nsqd, wanted: Wanted) -> list[str] | None:
    """Of the topics asked for; None for all, an empty list for one that is not there."""
    if not wanted.topic:
        return None
    return [wanted.topic] if wanted.topic in nsqd.engine.broker.topics else []


def _with_channel(topics: Iterable[TopicStats], name: str) -> Iterator[TopicStats]:
    for topic in topics:
        channels = tuple(each for each in topic.channels if each.channel_name == name)
        if channels:
            yield attrs.evolve(topic, channels=channels)


def producers_of(nsqd: Nsqd, wanted: Wanted) -> list[ClientStats] | None:
    """Clients that have published; None if there is none, none is wanted, or an unknown topic is."""
    if not wanted.has_clients or (wanted.topic and wanted.topic not in nsqd.engine.broker.topics):
        return None
    return [each for tell in nsqd.engine.producers for each in tell()] or None


def json_parts(nsqd: Nsqd, wanted: Wanted) -> Iterator[bytes]:
    """The whole document, in nsqd's order of keys."""
    engine = nsqd.engine
    head = go_json.encode(
        {"version": VERSION, "health": engine.health.text, "start_time": engine.start_time_ns // SECOND_NS}
    )
    yield head[:-1] + b',"topics":'
    names = _names(nsqd, wanted)
    if names is not None and not names:
        yield b"null"
    else:
        comma = "["
        for topic in reporting.iter_topic_rows(engine, names, with_clients=wanted.has_clients, with_oldest=False):
            if not wanted.channel or any(counts[0] == wanted.channel for counts, _, _ in topic.channels):
                yield from _topic(topic, engine.broker.latencies, wanted, comma)
                comma = ","
        yield b"[]" if comma == "[" else b"]"
    if wanted.has_memory:
        yield b',"memory":' + go_json.encode(memory_fields(nsqd.memory_stats()))
    yield b',"producers":'
    producers = producers_of(nsqd, wanted)
    yield from [b"null"] if producers is None else _clients(producers, wanted.topic)
    yield b"}"


def _topic(topic: TopicRows, latencies: Latencies | None, wanted: Wanted, comma: str) -> Iterator[bytes]:
    """One topic, so many channels at a time. Hot (benchmarks/http): text is made of rows, nothing in between."""
    made = [_TOPIC % (comma, topic.topic.name)]
    sketches: list[Sketch] = []
    latency, comma = _NO_LATENCY, ""
    for counts, _, measured in topic.channels:
        if latencies is not None and measured is not None:
            sketch, found = latencies.merged(measured[0])
            sketches.append(sketch)
            latency = _latency(found)
        if wanted.channel and counts[0] != wanted.channel:
            continue
        if counts[11]:
            yield "".join([*made, _CHANNEL % (comma, *counts[:8], counts[10])]).encode()
            yield from _clients(counts[11], wanted.topic)
            made = [_CHANNEL_END % ("", _BOOLEANS[counts[12]], latency)]
        else:
            clients = "[]" if wanted.has_clients else "null"
            made.append(_WHOLE_CHANNEL % (comma, *counts[:8], counts[10], clients, _BOOLEANS[counts[12]], latency))
        comma = ","
        if len(made) >= _CHANNELS_AT_ONCE:
            yield "".join(made).encode()
            made.clear()
    if latencies is not None:
        latency = _latency(latencies.merged(sketches)[1]) if sketches else _NO_LATENCY
    *counted, _, is_paused = topic.counts
    made.append(_TOPIC_END % (*counted, _BOOLEANS[is_paused], latency))
    yield "".join(made).encode()


def _latency(latency: Latency) -> str:
    if not latency.percentiles:
        return _NO_LATENCY
    told = {
        "count": latency.count,
        "percentiles": [{"quantile": each.quantile, "value": each.value_ns} for each in latency.percentiles],
    }
    return go_json.encode(told).decode()


def _clients(clients: Iterable[ClientStats], topic: str) -> Iterator[bytes]:
    """An array, in slices."""
    made: list[bytes] = []
    comma = b"["
    for client in clients:
        made.append(comma + go_json.encode(client_fields(client, topic)))
        comma = b","
        if len(made) == _CLIENTS_AT_ONCE:
            yield b"".join(made)
            made.clear()
    yield b"".join(made) + (b"[]" if comma == b"[" else b"]")


def client_fields(client: ClientStats, topic: str = "") -> dict[str, Any]:
    """A client as nsqd writes it.

    Args:
        client: Whom.
        topic: Of what it published, only this; "" for all.
    """
    hostname, remote_address, user_agent = who(client)
    fields: dict[str, Any] = {
        "client_id": client.client_id,
        "hostname": hostname,
        "version": client.version or "V2",
        "remote_address": remote_address,
        "state": client.state,
        "ready_count": client.ready_count,
        "in_flight_count": client.in_flight_count,
        "message_count": client.message_count,
        "finish_count": client.finish_count,
        "requeue_count": client.requeue_count,
        "connect_ts": client.connect_ts,
        "sample_rate": client.sample_rate,
        "deflate": client.deflate,
        "snappy": client.snappy,
        "user_agent": user_agent,
    }
    if client.authed:
        fields["authed"] = True
    if client.auth_identity:
        fields["auth_identity"] = client.auth_identity
    if client.auth_identity_url:
        fields["auth_identity_url"] = client.auth_identity_url
    fields |= {"topology_zone": client.topology_zone, "topology_region": client.topology_region}
    counts = [{"topic": each.topic, "count": each.count} for each in client.pub_counts if topic in ("", each.topic)]
    if counts:
        fields["pub_counts"] = counts
    return fields | {
        "tls": client.tls,
        "tls_cipher_suite": client.tls_cipher_suite,
        "tls_version": client.tls_version,
        "tls_negotiated_protocol": "",
        "tls_negotiated_protocol_is_mutual": client.tls_negotiated_protocol_is_mutual,
    }


def memory_fields(memory: MemoryStats) -> dict[str, int]:
    """The process's memory under nsqd's names."""
    fields: dict[str, int] = attrs.asdict(memory)
    return fields
