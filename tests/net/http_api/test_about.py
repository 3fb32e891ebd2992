"""Tests of /ping and /info."""

import socket
from pathlib import Path

import nsqlite
from tests.fakes.gated import open_gated
from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import HttpClient, http
from tests.net.rig import Rig, rigged


def test_ping_says_that_it_is_well(client: HttpClient) -> None:
    """In two letters of plain text."""
    answer = client.get("/ping")

    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "x-nsq-content-type" not in answer.headers


def is_rescuing(node: nsqlite.Node) -> bool:
    """Whether a journal that failed is being replaced."""
    assert node.engine.background is not None
    return node.engine.background.is_rescuing


def test_ping_says_what_is_wrong(tmp_path: Path) -> None:
    """Whoever watches sees a disk that fails."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock)
    with rigged(node, clock, http_address=LOCAL) as rig:
        client = http(rig)
        client.post("/topic/create?topic=t")
        storage.failing_appends, storage.failing_settlements = 1, 1_000_000
        failed = client.post("/pub?topic=t", b"x")
        rig.until(lambda: not is_rescuing(node))
        sick = client.get("/ping")
        storage.failing_settlements = 0

    assert (failed.status, failed.code) == (503, "EXITING")
    assert (sick.status, sick.body[:6]) == (500, b"NOK - ")
    assert b"no space left on device" in sick.body


def test_ping_says_that_it_is_well_again(tmp_path: Path) -> None:
    """Once a write goes well, on a journal that replaces the one that failed."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock)
    with rigged(node, clock, http_address=LOCAL) as rig:
        client = http(rig)
        client.post("/topic/create?topic=t")
        storage.failing_appends = 1
        failed = client.post("/pub?topic=t", b"x")
        rig.until(lambda: not is_rescuing(node))

        assert (failed.status, client.post("/pub?topic=t", b"x").status) == (503, 200)
        assert client.get("/ping").body == b"OK"


def test_ping_of_a_closed_node_says_so(rig: Rig, client: HttpClient) -> None:
    """Whoever watches is not told that it is well; what cannot be counted any more is not there."""
    rig.node.close()

    ping, metrics = client.get("/ping"), client.get("/metrics")

    assert (ping.status, ping.body) == (500, b"NOK - the node is closed")
    assert (metrics.status, metrics.code) == (503, "EXITING")


def test_info_says_who_it_is(rig: Rig, client: HttpClient) -> None:
    """Its version, where it is, and what clients may ask for."""
    answer = client.get("/info")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json == {
        "version": "1.3.0",
        "broadcast_address": socket.gethostname(),
        "hostname": socket.gethostname(),
        "http_port": rig.listener.http_address[1],
        "tcp_port": rig.listener.tcp_address[1],
        "start_time": rig.node.engine.start_time_ns // 1_000_000_000,
        "max_heartbeat_interval": 60_000_000_000,
        "max_output_buffer_size": 65536,
        "max_output_buffer_timeout": 30_000_000_000,
        "max_deflate_level": 6,
        "topology_zone": "",
        "topology_region": "",
    }


def test_info_of_sockets_and_names(tmp_path: Path) -> None:
    """A unix socket has port -1, as in nsqd."""
    options = {"broadcast_address": "nsq.example", "topology_zone": "z"}
    with rigged(None, None, tcp_address=str(tmp_path / "tcp"), http_address=str(tmp_path / "http"), **options) as rig:
        told = http(rig).get("/info").json

    assert (told["tcp_port"], told["http_port"]) == (-1, -1)
    assert (told["broadcast_address"], told["topology_zone"]) == ("nsq.example", "z")
