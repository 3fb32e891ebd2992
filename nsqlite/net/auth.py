"""Asks the auth servers what a client may do, over HTTP. The answer's meaning is `permissions`' affair.

Secrets go out in requests and are kept from everything else: an error names the server and
what was wrong, never the request.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from nsqlite.errors import NsqliteError
from nsqlite.net.http_client import HttpClient, HttpRefusedError, place
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.permissions import Permissions, parse_permissions


class AuthQueryError(NsqliteError):
    """No auth server gave an answer that counts.

    Attributes:
        causes: One sentence for each server that was asked, in that order.
    """

    def __init__(self, causes: list[str]) -> None:
        self.causes = causes
        super().__init__("no auth server answered: " + "; ".join(causes))


class AuthServers:
    """The auth servers of one listener; lives in one loop."""

    def __init__(self, options: ListenerOptions, *, draw: Callable[[int], int] = random.randrange) -> None:
        """Prepare queries; nothing is connected yet. `draw(n)` says which of n servers comes first.

        Raises:
            InvalidOptionError: aiohttp is not installed, or `tls_root_ca_file` cannot be used.
        """
        self._client = HttpClient(options, "auth_http_addresses")
        self._urls = [each if "://" in each else f"http://{each}/auth" for each in options.auth_http_addresses]
        self._is_post = options.auth_http_request_method == "post"
        self._draw = draw

    async def query(self, remote_ip: str, is_tls: bool, common_name: str, secret: bytes, now_ns: int) -> Permissions:
        """Ask one server after the other, beginning anywhere, until one gives an answer that counts.

        Takes up to `http_client_request_timeout` for each. May be cancelled.

        Raises:
            AuthQueryError: None did.
        """
        asked: list[tuple[str, str | bytes]] = [
            ("common_name", common_name),
            ("remote_ip", remote_ip),
            ("secret", secret),
            ("tls", "true" if is_tls else "false"),
        ]
        causes = []
        first = self._draw(len(self._urls))
        for url in self._urls[first:] + self._urls[:first]:
            try:
                return parse_permissions(await self._fetch(url, asked), now_ns)
            except HttpRefusedError as error:
                causes.append(f"{place(url)}: {error}")
            except ValueError as error:
                causes.append(f"{place(url)}: not an answer: {error}")
        raise AuthQueryError(causes)

    async def close(self) -> None:
        """End what is under way. Closing twice is fine; a later query begins anew."""
        await self._client.close()

    async def _fetch(self, url: str, asked: list[tuple[str, str | bytes]]) -> bytes:
        """Get the answer's body.

        Raises:
            HttpRefusedError: There is none.
        """
        if self._is_post:
            return await self._client.post(url, go_json.encode({name: [_text(value)] for name, value in asked}))
        return await self._client.get(url + ("&" if urlsplit(url).query else "?") + urlencode(asked))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")  # encoding makes it U+FFFD
