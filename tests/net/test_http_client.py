"""HTTP servers are asked within bounds, over TLS where they want it. What `test_auth` says of secrets holds here."""

import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from nsqlite.errors import InvalidOptionError
from nsqlite.net.http_client import MAX_ANSWER_BYTES, HttpClient, HttpRefusedError, place
from nsqlite.net.options import ListenerOptions
from tests.net.conftest import PemFiles

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Start = Callable[..., Awaitable[str]]


@pytest.fixture
async def start(server_certificate: PemFiles) -> AsyncIterator[Start]:
    """Start servers on loopback; host:port of each."""
    runners = []

    async def run(answer: Answer, is_https: bool = False) -> str:
        context = None
        if is_https:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(server_certificate.cert, server_certificate.key)
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield run
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def client(certificate_authority: str) -> AsyncIterator[HttpClient]:
    """A client that knows the test's authority."""
    made = HttpClient(ListenerOptions(tls_root_ca_file=certificate_authority), "nsqlookupd_tcp_addresses")
    yield made
    await made.close()


async def echo(request: web.BaseRequest) -> web.Response:
    """Answer with what was asked."""
    asked = f"{request.method} {request.raw_path} {request.headers.get('Content-Type')} "
    return web.Response(body=asked.encode() + await request.read())


def saying(body: bytes, status: int = 200) -> Answer:
    """A server that always says the same."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body)

    return answer


async def test_request_goes_as_it_is_written(start: Start, client: HttpClient) -> None:
    """The query is not put in order, and a body is JSON."""
    url = f"http://{await start(echo)}/channels?topic=b%23c&a=1+2"

    assert await client.get(url) == b"GET /channels?topic=b%23c&a=1+2 None "
    assert await client.post(url, b"{}") == b"POST /channels?topic=b%23c&a=1+2 application/json {}"


async def test_server_that_wants_tls_is_asked_over_tls(start: Start, client: HttpClient) -> None:
    """A 403 that names a port for https is followed there, with the same question."""
    secure = await start(echo, is_https=True)
    plain = await start(saying(b'{"message":"TLS_REQUIRED","https_port":%s}' % secure.split(":")[1].encode(), 403))

    assert await client.get(f"http://{plain}/x?y=%23") == b"GET /x?y=%23 None "
    assert await client.post(f"http://{plain}/x", b"[]") == b"POST /x application/json []"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"https_port":0}', b'{"https_port":70000}', b'{"https_port":"1"}'])
async def test_refusal_that_names_no_port_is_one(start: Start, client: HttpClient, body: bytes) -> None:
    """It is a 403 like any other."""
    with pytest.raises(HttpRefusedError, match="status 403"):
        await client.get(f"http://{await start(saying(body, 403))}/")


@pytest.mark.parametrize("status", [201, 204, 404, 500])
async def test_only_200_is_an_answer(start: Start, client: HttpClient, status: int) -> None:
    """Whatever its body says."""
    with pytest.raises(HttpRefusedError, match=f"status {status}"):
        await client.get(f"http://{await start(saying(b'', status))}/")


async def test_answer_is_bounded(start: Start, client: HttpClient) -> None:
    """The bound is inclusive; one byte more is refused before the rest is read."""
    whole = await start(saying(b"x" * MAX_ANSWER_BYTES))
    above = await start(saying(b"x" * (MAX_ANSWER_BYTES + 1)))

    assert len(await client.get(f"http://{whole}/")) == MAX_ANSWER_BYTES
    with pytest.raises(HttpRefusedError, match="more than 1048576 bytes"):
        await client.get(f"http://{above}/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/s3cret", "http://a..b/s3cret", "http://%zz/s3cret", "http:///s3"])
async def test_error_does_not_tell_the_request(client: HttpClient, url: str) -> None:
    """Nor does what caused it: a log may hold both."""
    with pytest.raises(HttpRefusedError) as caught:
        await client.get(url)

    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_closing_twice_is_fine(start: Start, client: HttpClient) -> None:
    """A request behind it begins anew."""
    url = f"http://{await start(saying(b'x'))}/"
    await client.close()
    await client.get(url)
    await client.close()
    await client.close()

    assert await client.get(url) == b"x"


def test_place_has_neither_password_nor_query() -> None:
    """What a log may say of a URL."""
    assert place("https://user:word@host:1/path?secret=s") == "https://host:1/path"


def test_missing_library_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the option that needs it."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)

    with pytest.raises(InvalidOptionError, match=r"nsqlite\[net\]") as caught:
        HttpClient(ListenerOptions(), "nsqlookupd_tcp_addresses")

    assert caught.value.option == "nsqlookupd_tcp_addresses"
