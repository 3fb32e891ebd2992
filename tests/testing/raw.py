"""A client of the tests' own at an nsqd under test: it says only what it is told to say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest

from nsqlite.testing import Nsqd
from tests.fakes.clock import PATIENCE_SECONDS
from tests.net.rig import OK, Client

Connect = Callable[[], Client]
IDENTIFY = b'{"client_id": "%s", "heartbeat_interval": %d}'


def sized(body: bytes) -> bytes:
    """A body behind its size."""
    return len(body).to_bytes(4, "big") + body


def pub(topic: str, body: bytes) -> bytes:
    """PUB."""
    return b"PUB " + topic.encode() + b"\n" + sized(body)


def identify(client_id: str, heartbeat_ms: int = 30_000) -> bytes:
    """IDENTIFY as somebody."""
    return b"IDENTIFY\n" + sized(IDENTIFY % (client_id.encode(), heartbeat_ms))


def subscribed(client: Client, topic: str = "orders", channel: str = "billing", rdy: int = 1) -> Client:
    """The client, as a consumer."""
    assert client.ask(f"SUB {topic} {channel}\n".encode()) == OK
    client.send(b"RDY %d\n" % rdy)
    return client


def is_reset(client: Client) -> bool:
    """Whether the next that comes is a reset, and not a frame, or a polite end."""
    try:
        client.socket.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_ended(client: Client) -> bool:
    """Whether the next that comes is the end, as from a process that is gone."""
    return client.socket.recv(1) == b""


@contextmanager
def connecting(server: Nsqd) -> Iterator[Connect]:
    """Makes clients that hang up at the end."""
    made: list[Client] = []

    def connect() -> Client:
        client = Client((server.tcp_address.host, server.tcp_address.port))
        made.append(client)
        return client

    try:
        yield connect
    finally:
        for each in made:
            each.close()


class Web:
    """An HTTP client, a connection for each request."""

    def __init__(self, server: Nsqd) -> None:
        self._server = server

    @contextmanager
    def request(self, method: str, target: str, body: bytes | None = None) -> Iterator[HTTPResponse]:
        """Ask, and read the answer."""
        address = self._server.http_address
        connection = HTTPConnection(address.host, address.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, target, body)
            yield connection.getresponse()
        finally:
            connection.close()

    def post(self, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """POST; the status and the body."""
        with self.request("POST", target, body) as response:
            return response.status, response.read()


@pytest.fixture
def connect(nsqd: Nsqd) -> Iterator[Connect]:
    """Makes clients of the test's nsqd."""
    with connecting(nsqd) as made:
        yield made
