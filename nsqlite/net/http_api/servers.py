"""The HTTP servers of a listener: one router behind both addresses, and what has to be there for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nsqlite.net.binding import port_of
from nsqlite.net.http.bodies import Bodies
from nsqlite.net.http.guard import Guard, TlsOnly
from nsqlite.net.http.router import Router, Routes
from nsqlite.net.http.server import HttpServer
from nsqlite.net.http_api.about import About
from nsqlite.net.http_api.administration import Administration
from nsqlite.net.http_api.configuration import Configuration
from nsqlite.net.http_api.publishing import Publishing
from nsqlite.net.http_api.statistics import Statistics
from nsqlite.net.page.history import History
from nsqlite.net.page.page import PATH as PAGE_PATH
from nsqlite.net.page.page import Page

if TYPE_CHECKING:
    from nsqlite.net.nsqd import Nsqd

OPEN_PATHS = ("/ping", PAGE_PATH)  # they tell nothing, so they need no token


class HttpServers:
    """Both servers of a listener."""

    def __init__(self, nsqd: Nsqd) -> None:
        self._nsqd = nsqd
        self._history: History | None = None
        self._prepared: Routes = {}

    def prepare(self) -> None:
        """Bring all that is served, which may be imported only now; nothing is bound yet."""
        self._prepared = self._routes()

    async def start(self) -> None:
        """Bind and serve what was prepared.

        Raises:
            ListenError: An address cannot be had.
        """
        nsqd, options, routes = self._nsqd, self._nsqd.options, self._prepared
        guard = Guard(
            token=options.http_token,
            open_paths=OPEN_PATHS,
            hosts=(nsqd.broadcast_address, *options.http_allowed_hosts),
        )
        if options.http_address:
            plain = TlsOnly(lambda: port_of(nsqd.https_address)) if options.is_https_required else guard
            nsqd.http = HttpServer(Router(routes, plain).handle, max_connections=options.max_http_connections)
            await nsqd.http.start(options.http_address)
        if options.https_address:
            nsqd.https = HttpServer(Router(routes, guard).handle, max_connections=options.max_http_connections)
            await nsqd.https.start(options.https_address, nsqd.tcp.tls)
        if self._history is not None:
            self._history.start()

    def _routes(self) -> Routes:
        nsqd = self._nsqd
        tcp, engine = nsqd.tcp, nsqd.engine
        bodies = Bodies(tcp.limits.max_body_size)
        routes: dict[str, dict[str, object]] = {}
        parts: list[Routes] = [
            About(nsqd).routes(),
            Publishing(tcp, bodies).routes(),
            Administration(engine, tcp.door, tcp.topics).routes(),
            Statistics(nsqd).routes(),
            Configuration(nsqd, bodies).routes(),
        ]
        if nsqd.options.http_page != "off":
            self._history = History(engine)
            parts.append(Page(engine, self._history, nsqd.options.http_page).routes())
        if nsqd.options.http_metrics:
            parts.append(self._metrics())
        for part in parts:
            routes |= part  # type: ignore[arg-type]
        return routes  # type: ignore[return-value]

    def _metrics(self) -> Routes:
        from nsqlite.net import metrics  # brings prometheus-client, which only this needs

        if not metrics.is_available():
            return {}
        return metrics.Metrics(self._nsqd.engine).routes()

    async def close(self) -> None:
        """Accept nothing more, answer what is being answered, and end every connection."""
        nsqd = self._nsqd
        if self._history is not None:
            await self._history.close()
        await asyncio.gather(*(each.close() for each in (nsqd.https, nsqd.http) if each is not None))
