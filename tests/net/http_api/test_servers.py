"""Tests of the HTTP servers of a listener as a whole: who may use them, over what, and how they end."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

import nsqlite
import nsqlite.net
from nsqlite.errors import InvalidOptionError, ListenError
from tests.fakes.clock import PATIENCE_SECONDS
from tests.net.conftest import PemFiles
from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import HttpClient, http, request
from tests.net.rig import Rig, rigged

TOKEN = "s3cret-token"
ENDPOINTS = [
    ("GET", "/info"),
    ("GET", "/stats"),
    ("GET", "/stats?format=json"),
    ("GET", "/config/log_level"),
    ("PUT", "/config/log_level"),
    ("GET", "/page/data"),
    ("GET", "/metrics"),
    ("POST", "/pub?topic=t"),
    ("POST", "/mpub?topic=t"),
    *(("POST", f"/topic/{action}?topic=t") for action in ("create", "delete", "empty", "pause", "unpause")),
    *(("POST", f"/channel/{action}?topic=t&channel=c") for action in ("create", "delete", "empty", "pause", "unpause")),
]


@pytest.fixture
def secure(server_certificate: PemFiles, certificate_authority: str) -> dict[str, Any]:
    """The options of a listener with TLS."""
    return {
        "tls_cert": server_certificate.cert,
        "tls_key": server_certificate.key,
        "tls_root_ca_file": certificate_authority,
        "https_address": LOCAL,
    }


def trusting(authority: str, certificate: PemFiles | None = None) -> ssl.SSLContext:
    """A client's context, with a certificate of its own."""
    context = ssl.create_default_context(cafile=authority)
    if certificate is not None:
        context.load_cert_chain(certificate.cert, certificate.key)
    return context


def https(rig: Rig, context: ssl.SSLContext, method: str = "GET", target: str = "/ping", body: bytes = b"") -> bytes:
    """The answer to one request over TLS."""
    _, port = rig.listener.https_address
    connection = HTTPSConnection("localhost", port, context=context, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, target, body)
        return connection.getresponse().read()
    finally:
        connection.close()


# -- token and origin -------------------------------------------------------------------------


def test_token_is_wanted_everywhere() -> None:
    """But to ask whether it is well, and for the page, which asks for the token itself."""
    with rigged(http_address=LOCAL, http_token=TOKEN) as rig:
        client = http(rig)
        closed = {client.call(method, target, b"x").status for method, target in ENDPOINTS}
        shown = {"Authorization": f"Bearer {TOKEN}"}
        opened = {client.call(method, target, b"info", headers=shown).status for method, target in ENDPOINTS}

        assert closed == {401}
        assert opened == {200, 404}  # some of them name a topic that was deleted by one before
        assert [client.get("/ping").status, client.get("/").status] == [200, 200]
        assert rig.node.topics == []


def test_page_of_another_site_changes_nothing(rig: Rig, client: HttpClient) -> None:
    """Nor does it read; nobody is told that other sites may."""
    rig.node.topic("t").channel("c")
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answers = [client.call(method, target, b"x", headers=headers) for method, target in ENDPOINTS]
        assert {(each.status, each.code) for each in answers} == {(403, "FOREIGN_ORIGIN")}
        assert not [name for each in answers for name in each.headers if name.startswith("access-control")]
    assert rig.node.stats().topics[0].message_count == 0


def test_name_that_leads_here_reads_nothing(rig: Rig, client: HttpClient) -> None:
    """A browser that knows this server by another's name shows another's page."""
    rebound = {"Host": f"evil.example:{rig.listener.http_address[1]}", "Accept-Language": "en"}
    answers = [client.call(method, target, b"x", headers=rebound) for method, target in [*ENDPOINTS, ("GET", "/")]]

    assert {(each.status, each.code) for each in answers} == {(403, "FOREIGN_HOST")}


def test_names_that_were_allowed_are_its_own() -> None:
    """Those of http_allowed_hosts, and the broadcast address."""
    with rigged(http_address=LOCAL, http_allowed_hosts=["queue.example"], broadcast_address="nsq.example") as rig:
        for host in ("queue.example", "NSQ.example:4151", "localhost", socket.gethostname()):
            headers = {"Host": host, "Origin": f"http://{host}", "Accept-Language": "en"}
            assert http(rig).call("POST", "/pub?topic=t", b"x", headers=headers).status == 200


# -- TLS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("uvloop", [False, True])
def test_https_serves_beside_http(secure: dict[str, Any], certificate_authority: str, uvloop: bool) -> None:
    """Both reach the same node."""
    with rigged(http_address=LOCAL, uvloop=uvloop, **secure) as rig:
        context = trusting(certificate_authority)

        assert https(rig, context, "POST", "/pub?topic=t", bytes(500_000)) == b"OK"
        assert http(rig).post("/pub?topic=t", b"x").body == b"OK"
        assert rig.node.topic("t").depth == 2


def test_https_serves_alone(secure: dict[str, Any], certificate_authority: str) -> None:
    """Without plain HTTP."""
    with rigged(**secure) as rig:
        assert https(rig, trusting(certificate_authority)) == b"OK"
        assert rig.listener.http_address == ""


def test_required_tls_is_told(secure: dict[str, Any], certificate_authority: str) -> None:
    """Plain HTTP says where to go, and no more; with "tcp-https" it serves."""
    with rigged(http_address=LOCAL, tls_required=True, **secure) as rig:
        answer = http(rig).post("/pub?topic=t", b"x")
        port = rig.listener.https_address[1]

        assert answer.status == 403
        assert answer.body == b'{"message": "TLS_REQUIRED", "https_port": %d}' % port
        assert https(rig, trusting(certificate_authority)) == b"OK"
        assert rig.node.topics == []
    with rigged(http_address=LOCAL, tls_required="tcp-https", **secure) as rig:
        assert http(rig).get("/ping").body == b"OK"


@pytest.mark.parametrize("uvloop", [False, True])
def test_certificates_of_clients_are_checked(
    secure: dict[str, Any],
    certificate_authority: str,
    client_certificate: PemFiles,
    foreign_certificate: PemFiles,
    uvloop: bool,
) -> None:
    """Without one, or with one of another authority, nothing is answered; nor is anything without TLS."""
    policy: dict[str, Any] = {"tls_client_auth_policy": "require-verify"}
    with rigged(http_address=LOCAL, uvloop=uvloop, **secure, **policy) as rig:
        assert https(rig, trusting(certificate_authority, client_certificate)) == b"OK"
        for certificate in (None, foreign_certificate):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                https(rig, trusting(certificate_authority, certificate))
        assert http(rig).get("/ping").status == 403
        assert rig.lines == []


def test_https_needs_a_certificate() -> None:
    """The option says so."""
    with nsqlite.open() as node, pytest.raises(InvalidOptionError, match="https_address"):
        nsqlite.net.listen(node, tcp_address=LOCAL, https_address=LOCAL)


# -- addresses and options --------------------------------------------------------------------


@pytest.mark.parametrize("option", ["http_address", "https_address"])
def test_address_that_is_taken_leaves_nothing_open(secure: dict[str, Any], tmp_path: Path, option: str) -> None:
    """The error names it, and the addresses that could be had are free again."""
    path = tmp_path / "tcp"
    with socket.create_server(("127.0.0.1", 0)) as other, nsqlite.open() as node:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match=taken):
            nsqlite.net.listen(node, tcp_address=str(path), **{"http_address": LOCAL} | secure | {option: taken})

        assert not path.exists()
        assert node.engine.producers == []
        with nsqlite.net.listen(node, tcp_address=str(path), http_address=LOCAL) as listener:
            client = HttpClient(listener.http_address)
            assert client.get("/ping").body == b"OK"
            client.close()


def test_unix_socket_serves(tmp_path: Path) -> None:
    """Its file goes with it."""
    path = tmp_path / "http"
    with rigged(http_address=str(path)) as rig:
        assert http(rig).post("/pub?topic=t", b"x").body == b"OK"
    assert not path.exists()


def test_parts_may_be_left_out() -> None:
    """The page and the metrics are not there then."""
    with rigged(http_address=LOCAL, http_page="off", http_metrics=False) as rig:
        client = http(rig)

        assert [client.get(path).status for path in ("/", "/page/data", "/metrics", "/ping")] == [404, 404, 404, 200]


def test_connections_are_bounded() -> None:
    """One more than there may be is closed at once."""
    with rigged(http_address=LOCAL, max_http_connections=2) as rig:
        first, second = http(rig), http(rig)
        assert [first.get("/ping").status, second.get("/ping").status] == [200, 200]

        assert http(rig).rest() == b""
        assert rig.lines == ["refusing HTTP connections: max_http_connections=2 are open"]


def test_listener_without_http_brings_no_library() -> None:
    """Whoever wants no HTTP needs no aiohttp."""
    program = (
        "import sys, nsqlite, nsqlite.net\n"
        "with nsqlite.open() as node, nsqlite.net.listen(node, tcp_address='127.0.0.1:0') as listener:\n"
        "    assert listener.http_address == listener.https_address == ''\n"
        "print('aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


# -- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("uvloop", [False, True])
def test_listener_closes_whatever_clients_do(monkeypatch: pytest.MonkeyPatch, uvloop: bool) -> None:
    """Half a head, half a body, an answer that nobody reads, a connection that waits: it ends, and nothing is left."""
    monkeypatch.setattr("nsqlite.net.http.server.CLOSE_SECONDS", 0.2)
    with rigged(http_address=LOCAL, uvloop=uvloop) as rig:
        for number in range(3_000):
            rig.node.topic(f"{'t' * 50}{number}").channel("c" * 60)
        idle, head, body, deaf = (http(rig) for _ in range(4))
        idle.get("/ping")
        head.send(b"GET /pi")
        body.send(request("POST", "/pub?topic=t", length=1_000_000) + b"x")
        for _ in range(30):
            deaf.send(request("GET", "/stats?format=json"))
        rig.settle()
        rig.listener.close()

        assert [client.rest() for client in (idle, head, body)] == [b""] * 3
        assert "t" not in rig.node.topics


@pytest.mark.parametrize("uvloop", [False, True])
def test_requests_go_on_beside_hostile_ones(uvloop: bool) -> None:
    """Floods, nonsense and half requests keep nobody from publishing."""
    with rigged(http_address=LOCAL, uvloop=uvloop) as rig:
        flood, broken, slow = (http(rig) for _ in range(3))
        flood.try_send(request("GET", "/stats?format=json") * 20_000)
        broken.send(b"\0" * 10_000)
        slow.send(request("POST", "/mpub?topic=t", length=5_000_000) + bytes(100_000))
        client = http(rig)
        for _ in range(20):
            assert client.post("/pub?topic=t", b"x").body == b"OK"
        assert broken.answer().status == 400
        rig.is_served()
