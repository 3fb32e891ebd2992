"""Auth servers are asked over HTTP as nsqd asks them: real servers on loopback, in the test's loop."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest
from aiohttp import web

from nsqlite.errors import InvalidOptionError
from nsqlite.net.auth import AuthQueryError, AuthServers
from nsqlite.net.http_client import MAX_ANSWER_BYTES
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol.permissions import Permissions
from tests.net.conftest import PemFiles

GOOD = b'{"ttl":60,"identity":"bob","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish"]}]}'
SECRET = b"s3cr\xffet &="


@attrs.define
class AuthServer:
    """A server that gives one answer and notes what it was asked.

    Attributes:
        address: host:port.
        status: Of its answer.
        body: Of its answer.
        requests: What it was asked: method, path with query as they came, and body.
        headers: Of the last request.
        is_silent: Whether it never answers, until the test is over.
    """

    address: str = ""
    status: int = 200
    body: bytes = GOOD
    requests: list[tuple[str, str, bytes]] = attrs.field(factory=list)
    headers: dict[str, str] = attrs.field(factory=dict)
    is_silent: bool = False
    is_over: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Give the answer."""
        self.requests.append((request.method, request.raw_path, await request.read()))
        self.headers = dict(request.headers)
        if self.is_silent:
            await self.is_over.wait()
        return web.Response(status=self.status, body=self.body)

    @property
    def port(self) -> str:
        """Port alone."""
        return self.address.rpartition(":")[2]


Start = Callable[..., Awaitable[AuthServer]]


@pytest.fixture
async def start(server_certificate: PemFiles) -> AsyncIterator[Start]:
    """Start servers on loopback."""
    runners, servers = [], []

    async def run(is_https: bool = False, **fields: object) -> AuthServer:
        server = AuthServer(**fields)  # type: ignore[arg-type]
        servers.append(server)
        context = None
        if is_https:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(server_certificate.cert, server_certificate.key)
        runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        server.address = f"127.0.0.1:{runner.addresses[0][1]}"
        return server

    yield run
    for server in servers:
        server.is_over.set()
    for runner in runners:
        await runner.cleanup()


async def ask(*addresses: str, first: int = 0, secret: bytes = b"s", **fields: object) -> Permissions:
    """Query these servers, beginning with that one."""
    options = ListenerOptions(auth_http_addresses=addresses, **fields)  # type: ignore[arg-type]
    servers = AuthServers(options, draw=lambda count: first)
    try:
        return await servers.query("127.0.0.1", False, "", secret, 7)
    finally:
        await servers.close()


async def test_query_is_nsqds_to_the_byte(start: Start) -> None:
    """The request is a GET whose parameters are sorted and escaped as Go does it."""
    server = await start()

    permissions = await ask(server.address, secret=b"sec ret&=~")

    assert permissions.identity == "bob"
    assert permissions.expires_ns == 60_000_000_007
    assert server.requests == [("GET", "/auth?common_name=&remote_ip=127.0.0.1&secret=sec+ret%26%3D~&tls=false", b"")]
    assert server.headers["Accept"] == "application/vnd.nsq; version=1.0"


async def test_query_by_post_is_nsqds_to_the_byte(start: Start) -> None:
    """With "post" the parameters go as JSON, each in an array, and stay out of the URL."""
    server = await start()
    options = ListenerOptions(auth_http_addresses=[server.address], auth_http_request_method="post")  # type: ignore[arg-type]
    servers = AuthServers(options)

    await servers.query("1.2.3.4", True, "b&b", b"s\xff", 0)
    await servers.close()

    body = b'{"common_name":["b\\u0026b"],"remote_ip":["1.2.3.4"],"secret":["s\xef\xbf\xbd"],"tls":["true"]}'
    assert server.requests == [("POST", "/auth", body)]
    assert server.headers["Content-Type"] == "application/json"
    assert server.headers["Accept"] == "application/vnd.nsq; version=1.0"


async def test_secret_may_be_any_bytes(start: Start) -> None:
    """Bytes that are no text are escaped one by one."""
    server = await start()

    await ask(server.address, secret=b"\xff\x00")

    assert "secret=%FF%00&" in server.requests[0][1]


async def test_whole_url_is_used_as_it_is(start: Start) -> None:
    """A URL brings its own path, and a query of its own stays in front."""
    server = await start()

    await ask(f"http://{server.address}/who/%2F?realm=nsq")

    assert server.requests[0][1].startswith("/who/%2F?realm=nsq&common_name=&")


async def test_servers_are_asked_in_turn_from_the_one_drawn(start: Start) -> None:
    """Each server is asked until one answers; which is first is drawn."""
    servers = [await start(status=500), await start(body=b"no"), await start(), await start()]
    addresses = [server.address for server in servers]

    await ask(*addresses, first=1)
    assert [len(server.requests) for server in servers] == [0, 1, 1, 0]

    await ask(*addresses, first=0)
    assert [len(server.requests) for server in servers] == [1, 2, 2, 0]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 500},
        {"status": 204, "body": b""},
        {"status": 403},
        {"status": 403, "body": b'{"https_port":0}'},
        {"status": 403, "body": b'{"https_port":70000}'},
        {"body": b"not JSON"},
        {"body": b'{"ttl":0}'},
        {"body": b'{"ttl":1,"authorizations":[{"topic":"("}]}'},
        {"body": b" " * MAX_ANSWER_BYTES + GOOD},
    ],
    ids=repr,
)
async def test_answer_that_does_not_count_is_an_error(start: Start, fields: dict[str, object]) -> None:
    """Any status but 200, and any fault in the body, is no answer; the error names the server, not the secret."""
    server = await start(**fields)

    with pytest.raises(AuthQueryError) as caught:
        await ask(server.address, secret=SECRET)

    assert server.address in str(caught.value)
    assert "s3cr" not in str(caught.value)
    assert len(caught.value.causes) == 1


async def test_longest_answer_is_read(start: Start) -> None:
    """An answer may have as many bytes as its bound."""
    server = await start(body=b" " * (MAX_ANSWER_BYTES - len(GOOD)) + GOOD)

    assert (await ask(server.address)).identity == "bob"


async def test_server_that_is_not_there_is_an_error(start: Start) -> None:
    """A refused connection, and names that cannot be, are errors like any other."""
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()

    with pytest.raises(AuthQueryError) as caught:
        await ask(f"127.0.0.1:{port}", "http://a..b/", "http://%zz/", secret=SECRET)

    assert len(caught.value.causes) == 3
    assert "s3cr" not in str(caught.value)


async def test_silent_server_is_given_up(start: Start) -> None:
    """After the request's time the next server is asked."""
    silent, good = await start(is_silent=True), await start()

    permissions = await ask(silent.address, good.address, http_client_request_timeout=0.05)

    assert permissions.identity == "bob"
    assert len(silent.requests) == 1


async def test_server_that_wants_tls_is_asked_over_tls(start: Start, certificate_authority: str) -> None:
    """A 403 that names a port for https is followed there, with the same question."""
    secure = await start(is_https=True)
    plain = await start(status=403, body=b'{"message":"TLS_REQUIRED","https_port":%s}' % secure.port.encode())

    await ask(plain.address, tls_root_ca_file=certificate_authority)

    assert secure.requests == plain.requests
    assert len(secure.requests) == 1


async def test_server_over_https_must_be_known(start: Start, certificate_authority: str) -> None:
    """A certificate is checked against the authorities, and the system's do not know the test's."""
    server = await start(is_https=True)
    url = f"https://{server.address}/auth"

    assert (await ask(url, tls_root_ca_file=certificate_authority)).identity == "bob"
    with pytest.raises(AuthQueryError):
        await ask(url)


async def test_closing_twice_is_fine(start: Start) -> None:
    """Nothing is left open, and a query behind it begins anew."""
    server = await start()
    servers = AuthServers(ListenerOptions(auth_http_addresses=[server.address]))  # type: ignore[arg-type]

    await servers.close()
    await servers.query("", False, "", b"s", 0)
    await servers.close()
    await servers.close()

    assert len(server.requests) == 1


def test_missing_library_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiohttp the option that needs it says what to install."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)

    with pytest.raises(InvalidOptionError, match=r"nsqlite\[net\]") as caught:
        AuthServers(ListenerOptions(auth_http_addresses=["localhost:4181"]))  # type: ignore[arg-type]

    assert caught.value.option == "auth_http_addresses"


def test_bad_authorities_are_told_before_a_query() -> None:
    """A file of authorities that is not there is found when the listener is made."""
    options = ListenerOptions(auth_http_addresses=["localhost:4181"], tls_root_ca_file="missing.pem")  # type: ignore[arg-type]

    with pytest.raises(InvalidOptionError) as caught:
        AuthServers(options)

    assert caught.value.option == "tls_root_ca_file"
