"""Requests to NSQ's own HTTP servers: bounded, over TLS where they want it, and quiet about what was asked.

A query may hold a secret: an error names the server and what was wrong, never the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from nsqlite.errors import InvalidOptionError, NsqliteError
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol import go_json
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


class HttpRefusedError(NsqliteError):
    """A server gave no answer that counts; the sentence says why, without the request."""


class HttpClient:
    """Asks HTTP servers; lives in one loop.

    Each request has a connection of its own: they are rare, and one that was kept is as likely
    as not to have been closed by the other side.
    """

    def __init__(self, options: ListenerOptions, wanted_by: str) -> None:
        """Prepare requests; nothing is connected yet.

        Args:
            options: Time limits, and the authorities for https.
            wanted_by: The option that makes requests necessary, for the error.

        Raises:
            InvalidOptionError: aiohttp is not installed, or `tls_root_ca_file` cannot be used.
        """
        try:
            import aiohttp  # only here, so that whoever asks no servers need not have it
        except ImportError as error:
            wanted = "install nsqlite[net], which brings the HTTP client for it"
            raise InvalidOptionError(wanted_by, getattr(options, wanted_by), wanted) from error
        # True is the system's authorities, which aiohttp has read already: that takes 50 ms
        self._ssl = client_context(options) if options.tls_root_ca_file else True
        self._timeout = aiohttp.ClientTimeout(
            total=options.http_client_request_timeout, sock_connect=options.http_client_connect_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> bytes:
        """The body of what a server answers to GET.

        Takes up to `http_client_request_timeout`, and once more if it wants TLS. May be cancelled.

        Raises:
            HttpRefusedError: There is none.
        """
        return await self._fetch(url, None)

    async def post(self, url: str, body: bytes) -> bytes:
        """The body of what a server answers to POST of JSON. See `get`."""
        return await self._fetch(url, body)

    async def close(self) -> None:
        """End what is under way. Closing twice is fine; a later request begins anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _fetch(self, url: str, body: bytes | None) -> bytes:
        status, answer = await self._request(url, body)
        if status == FORBIDDEN and url.startswith("http://"):
            status, answer = await self._request(_https(url, answer), body)
        if status != OK:
            raise HttpRefusedError(f"status {status}")
        return answer

    async def _request(self, url: str, body: bytes | None) -> tuple[int, bytes]:
        import aiohttp
        from yarl import URL

        method, headers = "GET", _HEADERS
        if body is not None:
            method, headers = "POST", _HEADERS | {"Content-Type": "application/json"}
        try:
            # encoded: the query is written as Go writes it, and is not to be put in order again
            async with self._open().request(method, URL(url, encoded=True), data=body, headers=headers) as response:
                return response.status, await _body(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Without its cause: aiohttp's words may hold the URL, and that the secret.
            raise HttpRefusedError(getattr(error, "strerror", None) or type(error).__name__) from None

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


def place(url: str) -> str:
    """Scheme, host and path, without a user's password or a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise HttpRefusedError(f"more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _https(url: str, body: bytes) -> str:
    """Where a server that wants TLS has it: its refusal names the port."""
    try:
        port = go_json.read_fields(go_json.decode(body), {"https_port": go_json.int64}).get("https_port", 0)
    except ValueError:
        port = 0
    if not 0 < port <= 65535:
        raise HttpRefusedError(f"status {FORBIDDEN}")
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts._replace(scheme="https", netloc=f"[{host}]:{port}" if ":" in host else f"{host}:{port}").geturl()
