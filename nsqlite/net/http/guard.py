"""Who may use an HTTP API: TLS where it is required, a token, and no pages of other sites.

No answer ever has a header of CORS, so a page of another site can read none.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDictProxy

from nsqlite.net.http.answers import HttpError

NODE_AGENTS: Final = ("node", "undici")
OWN_SITE: Final = ("same-origin", "none")  # "none": the address bar, a bookmark


class Guard:
    """What every request has to pass.

    A browser sends requests for every page that it shows, so they must come from the page of this very
    server (Origin, Sec-Fetch-Site); only following a link to here is free to all. And the browser must
    know this server by a name of its own (Host): else the name is somebody else's, led here to let its
    page read what it likes (DNS rebinding). A name that is only numbers cannot be led anywhere.

    Browsers are told by headers that each of them sends and no page can take away; programs send none,
    but for Node's fetch, which has a language and calls itself by its name.
    """

    def __init__(
        self,
        *,
        token: str = "",
        open_paths: Collection[str] = (),
        hosts: Collection[str] = (),
    ) -> None:
        """Prepare it.

        Args:
            token: What "Authorization: Bearer" has to say; "" for nothing.
            open_paths: Paths that need no token.
            hosts: Names of this server, besides addresses, localhost and the host's name.
        """
        self._token = token.encode()
        self._open_paths = frozenset(open_paths)
        self._hosts = {_bare(each) for each in ("localhost", socket.gethostname(), *hosts)}

    def admit(self, request: web.BaseRequest, path: str) -> None:
        """Let a request pass. Hot (benchmarks/http).

        Raises:
            HttpError: It may not.
        """
        headers = request.headers
        has_language = "Accept-Language" in headers and not _is_of_node(headers)
        if has_language or "Origin" in headers or "Sec-Fetch-Site" in headers:
            self._check_browser(request.method, headers)
        if self._token and path not in self._open_paths:
            self._check_token(headers)

    def _check_token(self, headers: CIMultiDictProxy[str]) -> None:
        scheme, _, shown = headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_right or scheme.lower() != "bearer":
            raise HttpError(401, "UNAUTHORIZED", {"WWW-Authenticate": "Bearer"})

    def _check_browser(self, method: str, headers: CIMultiDictProxy[str]) -> None:
        host = headers.get("Host", "").lower()
        if not self._is_ours(host):
            raise HttpError(403, "FOREIGN_HOST")
        is_link = method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate"
        if headers.get("Sec-Fetch-Site", "none") not in OWN_SITE and not is_link:
            raise HttpError(403, "FOREIGN_ORIGIN")
        origin = headers.get("Origin")
        if origin is not None and _host_of(origin) != host:
            raise HttpError(403, "FOREIGN_ORIGIN")

    def _is_ours(self, host: str) -> bool:
        try:
            name = _bare(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_of_node(headers: CIMultiDictProxy[str]) -> bool:
    return headers["Accept-Language"] == "*" and headers.get("User-Agent") in NODE_AGENTS


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


def _host_of(origin: str) -> str | None:
    """Host and port of an Origin; None for "null", and for what is none."""
    scheme, mark, host = origin.lower().partition("://")
    return host if mark and scheme in ("http", "https") else None


class TlsOnly(Guard):
    """The guard of plain HTTP where TLS is required: it lets nobody pass, and says where to go."""

    def __init__(self, https_port: Callable[[], int]) -> None:
        super().__init__()
        self._https_port = https_port

    def admit(self, request: web.BaseRequest, path: str) -> None:
        """See Guard."""
        raise TlsRequiredError(self._https_port())


class TlsRequiredError(HttpError):
    """A plain request where only TLS is allowed; nsqadmin looks for the port and comes again."""

    def __init__(self, https_port: int) -> None:
        self.https_port = https_port
        super().__init__(403, "TLS_REQUIRED")

    @property
    def body(self) -> bytes:
        """See HttpError; with blanks, as nsqd writes this one."""
        return b'{"message": "TLS_REQUIRED", "https_port": %d}' % self.https_port
