"""What of two answers must be equal, and where a node is known to answer something else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from tests.interop.differential.side import Heard, Side
from tests.interop.differential.stream import Http
from tests.interop.transcripts.http_wire import Reply

HEADERS: Final = ("content-type", "x-nsq-content-type", "allow", "location")
# What is another number in every run.
_TEXT_MASKS: Final = (
    (re.compile(rb"\(built w/.*?\)"), b"(built w/)"),
    (re.compile(rb"^start_time .*$", re.MULTILINE), b"start_time"),
    (re.compile(rb"^uptime .*$", re.MULTILINE), b"uptime"),
    (re.compile(rb"\t\d+$", re.MULTILINE), b"\t0"),
    (re.compile(rb"be-depth: \d+ *"), b"be-depth"),
    (re.compile(rb"connected: .*$", re.MULTILINE), b"connected"),
    (re.compile(rb"\[V2 (\S+):\d+ *\]"), rb"[\1]"),
)
_ANY_TOPIC: Final = re.compile(rb"msgs: \d+ +topics: \S+")
_TOPIC: Final = re.compile("[?&]topic(?:=([^&]*))?(?:&|$)")
_ID: Final = re.compile(r"\b[0-9a-f]{16}\b")


@attrs.frozen
class Known:
    """A difference that is meant.

    Attributes:
        because: Why.
        is_it: Tells from a request, nsqd's answer and the node's whether this is it.
    """

    because: str
    is_it: Callable[[Http, Reply, Reply], bool]


def _is_root(step: Http, nsqd: Reply, node: Reply) -> bool:
    return step.is_of == "/" and nsqd.status == 404


def _is_bad_path(step: Http, nsqd: Reply, node: Reply) -> bool:
    return (nsqd.status, node.status) == (400, 404) and b"400 Bad Request" in nsqd.body


def _is_big_batch(step: Http, nsqd: Reply, node: Reply) -> bool:
    is_refused = (nsqd.status, node.status) == (413, 413)
    return is_refused and step.is_of == "/mpub" and b"BAD_MESSAGE" in nsqd.body and b"BAD_BODY" in node.body


def _is_info(step: Http, nsqd: Reply, node: Reply) -> bool:
    if step.is_of != "/info" or (nsqd.status, node.status) != (200, 200):
        return False
    ports = {"http_port": 0, "tcp_port": 0, "start_time": 0}
    theirs, ours = json.loads(nsqd.body) | ports, json.loads(node.body) | ports
    return {name: ours[name] for name in theirs} == theirs


KNOWN: Final = (
    Known("A node has a page for people at /.", _is_root),
    Known("A path whose escapes are damaged is a path that is unknown, and not a bad request.", _is_bad_path),
    Known(
        "Messages that say they add up to more than max-body-size are refused before they are missed.", _is_big_batch
    ),
    Known("Ports and times are each server's own, and a node tells topology_region and topology_zone.", _is_info),
)


def is_known(step: Http, nsqd: Reply, node: Reply) -> bool:
    """Whether two answers differ as they are meant to."""
    return any(each.is_it(step, nsqd, node) for each in KNOWN)


def comparable(side: Side, step: Http, reply: Reply) -> Any:
    """What must be equal of an answer."""
    headers = {name: reply.headers.get(name) for name in HEADERS}
    body: Any = reply.body
    if step.is_of == "/stats" and reply.status == 200:
        is_json = str(reply.headers.get("content-type")).startswith("application/json")
        body = comparable_stats(side, json.loads(body), step) if is_json else _comparable_text(step, body)
    return reply.status, headers, body


def _comparable_text(step: Http, body: bytes) -> list[bytes]:
    """Lines; nsqd lists clients in no order, and of what a producer published one topic, see comparable_stats."""
    for pattern, mask in _TEXT_MASKS:
        body = pattern.sub(mask, body)
    if not _is_of_topic(step):
        body = _ANY_TOPIC.sub(b"msgs", body)
    return sorted(body.split(b"\n"))


def comparable_stats(side: Side, stats: Mapping[str, Any], step: Http | None = None) -> dict[str, Any]:
    """Statistics with the names of connections instead of their addresses, and without times.

    nsqd tells one topic of those that a producer published to, any, unless one is asked for; a node
    tells all. It has no topology_region and topology_zone, which came later. Backend depth is what did not
    fit into nsqd's queue in memory, and what a node's storage has settled.
    """
    names = {client.address: name for name, client in side.clients.items()}
    is_of_topic = step is not None and _is_of_topic(step)

    def comparable_client(client: dict[str, Any]) -> dict[str, Any]:
        known = {key: value for key, value in client.items() if not key.startswith("topology_")}
        known["remote_address"] = names.get(client["remote_address"], "gone")
        known["connect_ts"] = 0
        if not is_of_topic:
            known["pub_counts"] = bool(client.get("pub_counts"))
        return known

    def comparable_clients(clients: Any) -> Any:
        return clients and sorted(map(comparable_client, clients), key=lambda each: str(each["remote_address"]))

    def comparable_channel(channel: dict[str, Any]) -> dict[str, Any]:
        return channel | {"clients": comparable_clients(channel["clients"]), "backend_depth": 0}

    topics = [
        topic | {"channels": [*map(comparable_channel, topic["channels"])], "backend_depth": 0}
        for topic in stats["topics"] or ()
    ]
    return dict(stats) | {
        "start_time": 0,
        "topics": topics if stats["topics"] is not None else None,
        "producers": comparable_clients(stats["producers"]),
        "memory": sorted(stats.get("memory", ())),
    }


def _is_of_topic(step: Http) -> bool:
    """Whether statistics of one topic are asked for; the first value counts."""
    found = _TOPIC.search(step.request.target)
    return bool(found and found[1])


def comparable_heard(heard: Heard) -> tuple[list[tuple[str, str]], list[tuple[str, bytes, int]]]:
    """Frames with ids masked; messages in no order."""
    frames = [(by, _ID.sub("id", text)) for by, text in heard.frames]
    return sorted(frames, key=lambda each: each[0]), sorted(heard.messages)


def differences(nsqd: Any, node: Any, where: str = "") -> Iterator[str]:
    """What is not equal, a line each."""
    if isinstance(nsqd, dict) and isinstance(node, dict):
        for name in sorted(nsqd.keys() | node.keys()):
            yield from differences(nsqd.get(name), node.get(name), f"{where}.{name}")
    elif isinstance(nsqd, list | tuple) and isinstance(node, list | tuple) and len(nsqd) == len(node):
        for number, each in enumerate(zip(nsqd, node, strict=True)):
            yield from differences(*each, f"{where}[{number}]")
    elif nsqd != node:
        yield f"{where}: nsqd {str(nsqd)[:400]}, node {str(node)[:400]}"
