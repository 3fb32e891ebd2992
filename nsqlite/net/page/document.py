"""What the page is told: one JSON document with the figures it shows, no more than it can show."""

from __future__ import annotations

import json
from collections.abc import Iterable
from heapq import nlargest, nsmallest
from itertools import islice
from typing import Any, Final

import attrs

from nsqlite._version import __version__
from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.net.page.history import WINDOW_NS, History, TopicRow, row_of
from nsqlite.net.page.series import DEPTH, IN, OUT, Series, binned, rates
from nsqlite.options import SECOND_NS
from nsqlite.stats import ClientStats
from nsqlite.storage.durable import DurableStorage

BINS: Final = 50
MAX_ROWS: Final = 1_000
MAX_CLIENTS: Final = 500
MAX_CLIENTS_A_CHANNEL: Final = 50
_CLIENT_FIELDS: Final = (
    "client_id",
    "hostname",
    "user_agent",
    "remote_address",
    "connect_ts",
    "ready_count",
    "in_flight_count",
    "message_count",
    "finish_count",
    "requeue_count",
)


@attrs.frozen
class View:
    """What somebody looks at.

    Attributes:
        topic: One topic with its channels; "" for all topics.
        text: Only what has this in its name.
        order: "name", "depth" or "rate"; the largest first.
        limit: So many rows.
        producers: Whether clients that publish are shown.
    """

    topic: str = ""
    text: str = ""
    order: str = "name"
    limit: int = 100
    producers: bool = False

    @classmethod
    def of(cls, params: dict[str, str]) -> View:
        """As the query of a request has it; what it does not understand is as if it were not there."""
        limit = params.get("limit", "")
        return cls(
            topic=params.get("topic", ""),
            text=params.get("filter", "").lower(),
            order=params.get("order", "name"),
            limit=min(MAX_ROWS, int(limit)) if limit.isdecimal() and len(limit) < 9 else 100,
            producers=params.get("producers") == "true",
        )


class Documents:
    """Makes the document of one node."""

    def __init__(self, engine: Engine, history: History, mode: str) -> None:
        self._engine = engine
        self._history = history
        self._mode = mode

    async def document(self, view: View) -> bytes:
        """All that a view shows, as JSON.

        Raises:
            NodeClosedError, NodeFailedError: The node can be asked nothing more.
        """
        await self._history.look(view.topic)
        times_ns = self._history.times_ns()
        found: dict[str, Any] = {
            "node": self._node(),
            "totals": self._totals(),
            "ages": [round((times_ns[-1] - each) / SECOND_NS, 1) for each in times_ns],
            "history": _whole(self._history.totals, times_ns),
            "topics": None if view.topic else self._topics(view, times_ns),
            "topic": self._topic(view, times_ns) if view.topic else None,
        }
        if view.producers:
            found["producers"] = self._producers()
        return json.dumps(found, separators=(",", ":")).encode()

    def _node(self) -> dict[str, Any]:
        engine, storage = self._engine, self._engine.storage
        is_durable = isinstance(storage, DurableStorage)
        return {
            "version": __version__,
            "mode": self._mode,
            "health": engine.health.text,
            "start_ns": str(engine.start_time_ns),  # as text: too large for a number of JavaScript
            "up_seconds": max(0, engine.clock.wall_ns() - engine.start_time_ns) // SECOND_NS,
            "durability": engine.options.durability or ("fsync" if is_durable else "memory"),
            "store_bytes": storage.store_bytes,
            "journal_bytes": storage.journal.record_bytes if isinstance(storage, DurableStorage) else 0,
        }

    def _totals(self) -> dict[str, Any]:
        rows = self._history.rows.values()
        return {
            "topics": len(rows),
            "channels": self._history.channel_count,
            "depth": sum(row.depth for row in rows),
            "in_flight": sum(row.in_flight_count for row in rows),
            "deferred": sum(row.deferred_count for row in rows),
            "clients": sum(row.client_count for row in rows),
        }

    # -- all topics -----------------------------------------------------------------------

    def _topics(self, view: View, times_ns: list[int]) -> dict[str, Any]:
        rows = [row for row in self._history.rows.values() if view.text in row.name.lower()]
        rows = self._engine.locked(lambda broker: [row for row in rows if row.name in broker.topics])
        bins = _bins(times_ns)
        return {
            "count": len(rows),
            "rows": [self._topic_row(row, times_ns, bins) for row in _ordered(rows, view)],
        }

    def _topic_row(self, row: TopicRow, times_ns: list[int], bins: list[int]) -> dict[str, Any]:
        series = self._history.topic_series(row.number)
        return _row(row) | {"spark": None if series is None else _spark(series, times_ns, bins)}

    # -- one topic ------------------------------------------------------------------------

    def _topic(self, view: View, times_ns: list[int]) -> dict[str, Any] | None:
        found = self._engine.locked(lambda broker: _one(broker, view))
        if found is None:
            return None
        row, count, channels = found
        last = self._history.rows.get(view.topic)
        row.rate = last.rate if last is not None else 0.0
        for each in channels:
            series = self._history.channel_series(each.pop("number"))
            each["history"] = None if series is None else _whole(series, times_ns)
        own = self._history.topic_series(row.number)
        return _row(row) | {
            "own_depth": row.own_depth,
            "history": None if own is None else _whole(own, times_ns),
            "count": count,
            "rows": channels,
        }

    def _producers(self) -> dict[str, Any]:
        found = [each for tell in self._engine.producers for each in tell()]
        return {"count": len(found), "rows": [_producer(each) for each in found[:MAX_CLIENTS_A_CHANNEL]]}


def _row(row: TopicRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "paused": row.is_paused,
        "depth": row.depth,
        "in_flight": row.in_flight_count,
        "deferred": row.deferred_count,
        "clients": row.client_count,
        "channels": row.channel_count,
        "messages": row.message_count,
        "rate": _short(row.rate),
    }


def _ordered(rows: list[TopicRow], view: View) -> list[TopicRow]:
    if view.order == "depth":
        return nlargest(view.limit, rows, key=lambda row: row.depth)
    if view.order == "rate":
        return nlargest(view.limit, rows, key=lambda row: row.rate)
    return rows[: view.limit]  # by name as they are


def _one(broker: Broker, view: View) -> tuple[TopicRow, int, list[dict[str, Any]]] | None:
    """A topic as it is now, how many of its channels a view has, and those that it shows. Under the lock."""
    topic: Topic | None = broker.topics.get(view.topic)
    if topic is None:
        return None
    channels = [channel for name, channel in topic.channels.items() if view.text in name.lower()]
    if view.order == "depth":
        shown = nlargest(view.limit, channels, key=lambda channel: channel.depth)
    else:
        shown = nsmallest(view.limit, channels, key=lambda channel: channel.name)
    room = MAX_CLIENTS
    found = []
    for channel in shown:
        clients = [_client(each.stats()) for each in islice(channel.consumers, min(room, MAX_CLIENTS_A_CHANNEL))]
        room -= len(clients)
        found.append(_channel(channel) | {"clients": clients})
    return row_of(topic), len(channels), found


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "number": channel.number,
        "name": channel.name,
        "paused": channel.is_paused,
        "depth": channel.depth,
        "in_flight": channel.in_flight_count,
        "deferred": channel.deferred_count,
        "client_count": len(channel.consumers),
        "messages": channel.message_count,
        "finished": channel.finish_count,
        "requeued": channel.requeue_count,
        "timed_out": channel.timeout_count,
        "dropped": channel.dropped_count,
    }


def _client(client: ClientStats) -> dict[str, Any]:
    return {field: getattr(client, field) for field in _CLIENT_FIELDS}


def _producer(client: ClientStats) -> dict[str, Any]:
    topics: Iterable[Any] = client.pub_counts[:10]
    return _client(client) | {"topics": [[each.topic, each.count] for each in topics]}


def _bins(times_ns: list[int]) -> list[int]:
    """Bins begin at round times, so that a value does not move between them from one look to the next."""
    width_ns = WINDOW_NS // BINS
    last = times_ns[-1] // width_ns if times_ns else 0
    return [max(0, BINS - 1 - (last - each // width_ns)) for each in times_ns]


def _whole(series: Series, times_ns: list[int]) -> dict[str, Any]:
    """All values of the last five minutes; the last of each list is of now."""
    count = min(len(series), len(times_ns))
    times = times_ns[len(times_ns) - count :]
    came, gone = (series.of(field)[len(series) - count :] for field in (IN, OUT))
    return {
        "depth": series.of(DEPTH)[len(series) - count :],
        "in": [_short(each) for each in rates(came, times)],
        "out": [_short(each) for each in rates(gone, times)],
    }


def _spark(series: Series, times_ns: list[int], bins: list[int]) -> dict[str, Any]:
    count = min(len(series), len(times_ns))
    came = rates(series.of(IN)[len(series) - count :], times_ns[len(times_ns) - count :])
    return {"depth": _told(binned(series.of(DEPTH), bins, BINS)), "in": _told(binned(came, bins, BINS))}


def _told(values: list[float | None]) -> list[float | None]:
    """Values as they are sent: those before the first are left out, the last is of now."""
    first = next((index for index, value in enumerate(values) if value is not None), len(values))
    return [None if value is None else _short(value) for value in values[first:]]


def _short(value: float) -> float:
    """A rate with as many digits as anybody reads."""
    return round(value, 1) if value < 100 else round(value)
