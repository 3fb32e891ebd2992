"""`/metrics`: a node's statistics as Prometheus and OpenMetrics read them, written by prometheus-client.

The text of a big node is made in slices of a few milliseconds, so that whoever shares the loop is
served in between. A scrape holds one snapshot and one slice, however slowly its client reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nsqlite.engine import Engine
from nsqlite.errors import StoreError
from nsqlite.net import figures
from nsqlite.net.figures import Figure
from nsqlite.net.gathering import gathered
from nsqlite.reporting import node_stats
from nsqlite.stats import ChannelStats, HistogramStats, NodeStats

if TYPE_CHECKING:
    from aiohttp import web
    from prometheus_client import Metric

    from nsqlite.net.http.router import Call, Routes

SLICE_SERIES: Final = 250
MAX_SCRAPES: Final = 4
SCRAPE_SECONDS: Final = 30.0  # of real time, until a client that reads too slowly is given up
_REST: Final = ("", "")
Labels = tuple[str, ...]
T = TypeVar("T")


def is_available() -> bool:
    """Whether prometheus-client is installed."""
    return find_spec("prometheus_client") is not None


class Metrics:
    """The endpoint of one HTTP server. Importing what it needs takes a tenth of a second, once, when it is made."""

    def __init__(self, engine: Engine) -> None:
        """Prepare it.

        Args:
            engine: Whose figures are shown.

        Raises:
            ImportError: prometheus-client is not installed.
        """
        import prometheus_client.exposition  # noqa: F401  # here, and not while the first scrape waits

        self._engine = engine
        self._scrapes = 0

    def routes(self) -> Routes:
        """See Router."""
        return {"/metrics": {"GET": self.get}}

    async def get(self, call: Call) -> web.StreamResponse:
        """Answer a scrape. One more than MAX_SCRAPES at once is refused with 503."""
        from aiohttp import web

        from nsqlite.net.http.answers import NSQ, HttpError

        if self._scrapes >= MAX_SCRAPES:
            raise HttpError(503, "TOO_MANY_SCRAPES")
        self._scrapes += 1
        try:
            stats = await self._gathered()
            pieces, content_type = slices(stats, call.request.headers.get("Accept", ""))
            answer = web.StreamResponse(headers=NSQ | {"Content-Type": content_type})
            await answer.prepare(call.request)
            with suppress(ConnectionError):
                async with asyncio.timeout(SCRAPE_SECONDS):
                    for piece in pieces:
                        await answer.write(piece)
                        await asyncio.sleep(0)
                    await answer.write_eof()
            return answer
        finally:
            self._scrapes -= 1

    async def _gathered(self) -> NodeStats:
        from nsqlite.net.http.answers import HttpError

        try:
            return node_stats(self._engine, await gathered(self._engine))
        except StoreError as error:
            raise HttpError(500, "INTERNAL_ERROR") from error


def render(stats: NodeStats, accept: str = "") -> tuple[bytes, str]:
    """The whole text and its content type, as an Accept header wants it."""
    pieces, content_type = slices(stats, accept)
    return b"".join(pieces), content_type


def slices(stats: NodeStats, accept: str = "") -> tuple[Iterator[bytes], str]:
    """As `render`, made bit by bit; a bit is some hundred lines."""
    from prometheus_client import exposition

    try:
        encode, content_type = exposition.choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = exposition.choose_encoder("")
    return _texts(stats, encode), content_type


def _texts(stats: NodeStats, encode: Callable[[Any], bytes]) -> Iterator[bytes]:
    """Texts of many families, each of which may come in several parts, as one text."""
    end = b""
    before = ""
    for family in _families(stats):
        text = encode(_Collected(family))
        if text.endswith(b"# EOF\n"):
            end = b"# EOF\n"
            text = text.removesuffix(end)
        if family.name == before:  # its head was written with its first part
            while text.startswith(b"# "):
                text = text.partition(b"\n")[2]
        before = family.name
        yield text
    yield end


class _Collected:
    """A registry with one family: what prometheus-client makes text of."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client.registry.Collector."""
        return (self._family,)


def _families(stats: NodeStats) -> Iterator[Metric]:
    from prometheus_client import metrics_core
    from prometheus_client.process_collector import ProcessCollector

    yield metrics_core.InfoMetricFamily("nsqlite_build", "What runs here.", {"version": stats.version})
    for figure in figures.NODE:
        yield _family(figure, (), [((), figure.read(stats))])
    yield _histograms(figures.SYNC, (), [((), stats.sync_seconds)])
    yield _histograms(figures.SETTLEMENT, (), [((), stats.settlement_seconds)])
    yield _histograms(figures.E2E, (), [((), stats.e2e_seconds)])
    topics: list[tuple[Labels, Any]] = [((topic.topic_name,), topic) for topic in stats.topics]
    for figure in figures.TOPIC:
        yield from _parts(figure, ("topic",), topics)
    channels: list[tuple[Labels, Any]] = [
        ((topic.topic_name, each.channel_name), each) for topic in stats.topics for each in topic.channels
    ]
    for figure in figures.CHANNEL:
        yield from _parts(figure, ("topic", "channel"), channels)
    yield from _channel_histograms(channels)
    yield from ProcessCollector(registry=None).collect()


def _parts(figure: Figure, names: Labels, things: list[tuple[Labels, Any]]) -> Iterator[Metric]:
    """A family, so many series at a time; what is beyond the bound is one series with empty labels."""
    for part in _chunks(things[: figures.MAX_LABELLED], SLICE_SERIES):
        yield _family(figure, names, [(labels, figure.read(each)) for labels, each in part])
    rest = things[figures.MAX_LABELLED :]
    if rest:
        yield _family(figure, names, [(_REST[: len(names)], figure.fold(figure.read(each) for _, each in rest))])


def _family(figure: Figure, names: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    family: Any = kind(f"nsqlite_{figure.name}", figure.about, labels=names, unit=_unit(figure.name))
    for labels, value in values:
        family.add_metric(labels, value)
    return family  # type: ignore[no-any-return]


def _unit(name: str) -> str:
    """The unit that a name ends in, which OpenMetrics tells beside it."""
    return next((unit for unit in ("seconds", "bytes") if name.removesuffix("_total").endswith(f"_{unit}")), "")


def _channel_histograms(channels: list[tuple[Labels, ChannelStats]]) -> Iterator[Metric]:
    """Of channels that have one; nobody pays for those that have none."""
    found = [(labels, each.e2e_seconds) for labels, each in channels if each.e2e_seconds is not None]
    shown = found[: figures.MAX_LABELLED_HISTOGRAMS]
    rest = [histogram for _, histogram in found[figures.MAX_LABELLED_HISTOGRAMS :]]
    for part in _chunks(shown, SLICE_SERIES // 16):
        yield _histograms(figures.CHANNEL_E2E, ("topic", "channel"), part)
    if rest:
        yield _histograms(figures.CHANNEL_E2E, ("topic", "channel"), [(_REST, _added(rest))])


def _histograms(
    name_and_about: tuple[str, str], names: Labels, values: Iterable[tuple[Labels, HistogramStats]]
) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    name, about = name_and_about
    family = HistogramMetricFamily(f"nsqlite_{name}", about, labels=names, unit="seconds")
    for labels, histogram in values:
        buckets = [(str(bound), count) for bound, count in histogram.buckets]
        family.add_metric(labels, [*buckets, ("+Inf", histogram.count)], histogram.sum_seconds)
    return family


def _added(histograms: list[HistogramStats]) -> HistogramStats:
    """One histogram of several with the same bounds."""
    bounds = [bound for bound, _ in histograms[0].buckets]
    counts = [sum(each) for each in zip(*([n for _, n in one.buckets] for one in histograms), strict=True)]
    return HistogramStats(
        buckets=tuple(zip(bounds, counts, strict=True)),
        sum_seconds=sum(each.sum_seconds for each in histograms),
        count=sum(each.count for each in histograms),
    )


def _chunks(things: list[T], size: int) -> Iterator[list[T]]:
    remaining = iter(things)
    while chunk := list(islice(remaining, size)):
        yield chunk
