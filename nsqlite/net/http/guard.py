"""Who may use an HTTP API: TLS where it is required, a token, and no pages of other sites."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from nsqlite.net.http.answers import HttpError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """What every request has to pass.

    A browser says with each request that changes something which page it comes from (Origin). It is
    refused when that is not the page of this very server, or when the server goes by a name in that
    browser that is none of its own: then somebody else's name leads here.
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
        self._bearer = f"Bearer {token}".encode() if token else b""
        self._open_paths = frozenset(open_paths)
        self._hosts = {"localhost", socket.gethostname().lower()} | {each.lower() for each in hosts}

    def admit(self, request: web.BaseRequest, path: str) -> None:
        """Let a request pass. Hot (benchmarks/http).

        Raises:
            HttpError: It may not.
        """
        if request.method not in SAFE_METHODS and ("Origin" in request.headers or "Sec-Fetch-Site" in request.headers):
            self._check_origin(request)
        if self._bearer and path not in self._open_paths:
            self._check_token(request)

    def _check_token(self, request: web.BaseRequest) -> None:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, self._bearer):
            raise HttpError(401, "UNAUTHORIZED", {"WWW-Authenticate": "Bearer"})

    def _check_origin(self, request: web.BaseRequest) -> None:
        host = request.headers.get("Host", "").lower()
        origin = request.headers.get("Origin")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise HttpError(403, "FOREIGN_ORIGIN")
        if origin is not None and (urlsplit(origin.lower()).netloc != host or not host):
            raise HttpError(403, "FOREIGN_ORIGIN")
        if origin is not None and not self._is_ours(host):
            raise HttpError(403, "FOREIGN_HOST")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


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
