"""Asks the auth servers what a client may do, over HTTP. The answer's meaning is `permissions`' affair.

Secrets go out in requests and are kept from everything else: an error names the server and
what was wrong, never the request.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from nsqlite.errors import InvalidOptionError, NsqliteError
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.permissions import Permissions, parse_permissions
from nsqlite.net.tls import client_context

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES: Final = 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
OK: Final = 200
FORBIDDEN: Final = 403
_HEADERS: Final = {
    "Accept": "application/vnd.nsq; version=1.0",
    "Accept-Encoding": "identity",  # what is read is what was sent, so its bound holds
}


class AuthQueryError(NsqliteError):
    """No auth server gave an answer that counts.

    Attributes:
        causes: One sentence for each server that was asked, in that order.
    """

    def __init__(self, causes: list[str]) -> None:
        self.causes = causes
        super().__init__("no auth server answered: " + "; ".join(causes))


class AuthServers:
    """The auth servers of one listener; lives in one loop.

    Each query has a connection of its own: they are rare, and one that was kept is as likely
    as not to have been closed by the other side.
    """

    def __init__(self, options: ListenerOptions, *, draw: Callable[[int], int] = random.randrange) -> None:
        """Prepare queries; nothing is connected yet. `draw(n)` says which of n servers comes first.

        Raises:
            InvalidOptionError: aiohttp is not installed, or `tls_root_ca_file` cannot be used.
        """
        try:
            import aiohttp  # only here, so that whoever has no auth servers need not have it
        except ImportError as error:
            wanted = "install nsqlite[net], which brings the HTTP client for it"
            raise InvalidOptionError("auth_http_addresses", options.auth_http_addresses, wanted) from error
        self._urls = [each if "://" in each else f"http://{each}/auth" for each in options.auth_http_addresses]
        self._is_post = options.auth_http_request_method == "post"
        self._draw = draw
        self._ssl = client_context(options)
        self._timeout = aiohttp.ClientTimeout(
            total=options.http_client_request_timeout, sock_connect=options.http_client_connect_timeout
        )
        self._session: aiohttp.ClientSession | None = None

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
            except _Refusal as error:
                causes.append(f"{_place(url)}: {error}")
            except ValueError as error:
                causes.append(f"{_place(url)}: not an answer: {error}")
        raise AuthQueryError(causes)

    async def close(self) -> None:
        """End what is under way. Closing twice is fine; a later query begins anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _fetch(self, url: str, asked: list[tuple[str, str | bytes]]) -> bytes:
        """Get the answer's body.

        Raises:
            _Refusal: There is none.
        """
        status, body = await self._request(url, asked)
        if status == FORBIDDEN and url.startswith("http://"):
            status, body = await self._request(_https(url, body), asked)
        if status != OK:
            raise _Refusal(f"status {status}")
        return body

    async def _request(self, url: str, asked: list[tuple[str, str | bytes]]) -> tuple[int, bytes]:
        import aiohttp
        from yarl import URL

        headers, body = _HEADERS, None
        if self._is_post:
            headers = _HEADERS | {"Content-Type": "application/json"}
            body = go_json.encode({name: [_text(value)] for name, value in asked})
        else:
            url += ("&" if urlsplit(url).query else "?") + urlencode(asked)
        method = "POST" if self._is_post else "GET"
        try:
            # encoded: the query is written as Go writes it, and is not to be put in order again
            async with self._open().request(method, URL(url, encoded=True), data=body, headers=headers) as response:
                return response.status, await _body(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Without its cause: aiohttp's words may hold the URL, and that the secret.
            raise _Refusal(getattr(error, "strerror", None) or type(error).__name__) from None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._ssl, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                auto_decompress=False,
            )
        return self._session


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    """Why one server's answer does not count."""


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _Refusal(f"more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")  # encoding makes it U+FFFD


def _https(url: str, body: bytes) -> str:
    """Where a server that wants TLS has it: its refusal names the port."""
    try:
        port = go_json.read_fields(go_json.decode(body), {"https_port": go_json.int64}).get("https_port", 0)
    except ValueError:
        port = 0
    if not 0 < port <= 65535:
        raise _Refusal(f"status {FORBIDDEN}")
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts._replace(scheme="https", netloc=f"[{host}]:{port}" if ":" in host else f"{host}:{port}").geturl()


def _place(url: str) -> str:
    """Scheme, host and path, without a user's password or a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
