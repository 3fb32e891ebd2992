"""What is compared, as fixtures; and how long pytest says that setting up and tearing down took."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.net.servers import PEERS

_DURATIONS: pytest.StashKey[dict[str, float]] = pytest.StashKey()


@pytest.fixture
def nothing() -> Iterator[None]:
    """What pytest itself takes for a fixture."""
    yield  # noqa: PT022  # the others tear down, too


@pytest.fixture
def fake_redis() -> Iterator[Any]:
    """As fakeredis' documentation has it: a client of a server of its own, in this process."""
    import fakeredis

    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    yield client
    client.close()


@pytest.fixture
def fake_redis_server() -> Iterator[tuple[str, int]]:
    """The same over TCP."""
    import fakeredis

    server = fakeredis.TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001}, daemon=True)
    thread.start()
    yield server.server_address[:2]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def real_nsqd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A process for each test, on free ports, killed afterwards."""
    folder = tmp_path_factory.mktemp("nsqd")
    command = [PEERS / "nsqd", f"--data-path={folder}", "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        ports: dict[bytes, int] = {}
        try:
            while len(ports) < 2:  # TCP and HTTP, in either order
                kind, _, address = process.stderr.readline().partition(b": listening on ")
                if address:
                    ports[kind.split()[-1]] = int(address.rpartition(b":")[2])
                assert process.poll() is None, "nsqd has ended"
            yield "127.0.0.1", ports[b"TCP"]
        finally:
            process.kill()


@pytest.fixture
def nsqd_address(nsqd: Any) -> tuple[str, int]:
    """Where ours is."""
    return nsqd.tcp_address.host, nsqd.tcp_address.port


def publish(address: tuple[str, int]) -> None:
    """As a client does that publishes one message."""
    with socket.create_connection(address) as client:
        client.sendall(b"  V2PUB orders\n\x00\x00\x00\x017")
        assert client.recv(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the answer goes."""
    parser.addoption("--durations-to", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    """Begin."""
    config.stash[_DURATIONS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Add up what is not the test itself."""
    report = yield
    if report.when != "call":
        durations = item.config.stash[_DURATIONS]
        durations[item.nodeid] = durations.get(item.nodeid, 0.0) + report.duration
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Tell."""
    config.getoption("--durations-to").write_text(json.dumps(list(config.stash[_DURATIONS].values())), encoding="ascii")
