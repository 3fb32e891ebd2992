"""TLS and compression begin where IDENTIFY was answered, each with an OK that is inside of it already."""

import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsqlite.net.layers import Layers
from nsqlite.net.protocol.compression import Deflate, Layer, Snappy
from tests.interop.transcripts.wire import identify, pub
from tests.net.client import is_silent
from tests.net.conftest import PemFiles
from tests.net.rig import ERROR, HEARTBEAT, MESSAGE, OK, RESPONSE, Client, Rig, rigged

COMPRESSIONS: dict[str, Callable[[], Layer]] = {"snappy": Snappy, "deflate": lambda: Deflate(6)}


class LayeredClient:
    """A client that speaks through a layer of its own, over a socket that may be TLS."""

    def __init__(self, client: Client, layer: Layer) -> None:
        self._client = client
        self._layers = Layers()
        self._layers.add(layer)
        self._found = b""

    def send(self, data: bytes) -> None:
        """Send through the layer."""
        self._client.send(self._layers.encode(data))

    def frame(self) -> tuple[int, bytes]:
        """The next frame that comes through it."""
        while len(self._found) < 8 or len(self._found) < 4 + int.from_bytes(self._found[:4], "big"):
            data = self._layers.read(1 << 16)
            if not data:
                self._layers.feed(self._client.socket.recv(1 << 16))
            self._found += data
        end = 4 + int.from_bytes(self._found[:4], "big")
        whole, self._found = self._found[:end], self._found[end:]
        return whole[7], whole[8:]

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send, and the next frame."""
        self.send(data)
        return self.frame()


def agree(client: Client, **values: Any) -> dict[str, Any]:
    """Negotiate; what the server says to it."""
    kind, data = client.ask(identify(feature_negotiation=True, **values))
    assert kind == RESPONSE
    return dict(json.loads(data))


@pytest.fixture
def context(certificate_authority: str) -> ssl.SSLContext:
    """A client's context that trusts the server's authority."""
    return ssl.create_default_context(cafile=certificate_authority)


@pytest.fixture
def rig(server_certificate: PemFiles) -> Iterator[Rig]:
    """A listener that has everything to offer."""
    with rigged(tls_cert=server_certificate.cert, tls_key=server_certificate.key) as made:
        yield made


def encrypt(client: Client, context: ssl.SSLContext) -> None:
    """Change to TLS, from the client's side."""
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")


# -- compression ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_is_answered_inside_itself(rig: Rig, name: str) -> None:
    """The answer to IDENTIFY is plain, the OK behind it is not, and neither is anything that follows."""
    client = rig.connect()

    agreed = agree(client, **{name: True})
    layered = LayeredClient(client, COMPRESSIONS[name]())

    assert agreed[name]
    assert layered.frame() == OK
    assert layered.ask(pub("t", b"x" * 100_000)) == OK
    assert layered.ask(b"SUB t c\n") == OK
    layered.send(b"RDY 1\n")
    kind, data = layered.frame()
    assert (kind, data[26:]) == (MESSAGE, b"x" * 100_000)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_what_was_sent_before_the_upgrade_is_dropped(rig: Rig, name: str) -> None:
    """Commands that came with the IDENTIFY were said in clear, so they were not said."""
    client = rig.connect()

    client.send(identify(feature_negotiation=True, **{name: True}) + pub("t", b"dropped"))
    assert client.frame()[0] == RESPONSE
    layered = LayeredClient(client, COMPRESSIONS[name]())

    assert layered.frame() == OK
    assert layered.ask(pub("t", b"kept")) == OK
    assert rig.node.topic("t").channel("c").receive(timeout=0).body == b"kept"


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_garbage_in_a_layer_ends_the_connection(rig: Rig, name: str) -> None:
    """No frame could be read any more, so none is sent, and nobody else is bothered."""
    client = rig.connect()
    agree(client, **{name: True})
    assert LayeredClient(client, COMPRESSIONS[name]()).frame() == OK

    client.send(pub("t", b"this is neither") * 10)

    assert client.rest() == b""
    rig.is_served()


def test_nothing_is_upgraded_without_negotiation(rig: Rig) -> None:
    """Who does not negotiate goes on in clear, whatever else was asked for."""
    client = rig.connect()

    assert client.ask(identify(snappy=True, tls_v1=True)) == OK

    assert client.ask(pub("t", b"x")) == OK
    assert is_silent(client)


# -- TLS -----------------------------------------------------------------------------------


def test_tls_is_answered_inside_itself(rig: Rig, context: ssl.SSLContext) -> None:
    """The OK comes encrypted, then the conversation goes on, and the statistics know of it."""
    client = rig.connect()
    assert agree(client, tls_v1=True)["tls_v1"]

    encrypt(client, context)

    assert client.frame() == OK
    assert client.ask(pub("t", b"x")) == OK
    (producer,) = rig.node.stats().producers
    assert producer.tls
    assert producer.tls_version.startswith("TLS1.")
    assert not producer.tls_negotiated_protocol_is_mutual


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_goes_inside_of_tls(rig: Rig, context: ssl.SSLContext, name: str) -> None:
    """Each of the two is answered with an OK of its own, the outer one first."""
    client = rig.connect()
    agree(client, tls_v1=True, **{name: True})
    encrypt(client, context)
    assert client.frame() == OK

    layered = LayeredClient(client, COMPRESSIONS[name]())

    assert layered.frame() == OK
    assert layered.ask(pub("t", b"x")) == OK


def test_handshake_may_come_byte_by_byte(rig: Rig, context: ssl.SSLContext) -> None:
    """However it is cut, a handshake comes to its end."""
    client = rig.connect()
    agree(client, tls_v1=True)
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arrived, leaving, server_hostname="localhost")

    is_done = False
    while not is_done:
        try:
            tls.do_handshake()
            is_done = True
        except ssl.SSLWantReadError:
            pass
        for byte in leaving.read():
            client.send(bytes([byte]))
        if not is_done:
            arrived.write(client.socket.recv(1 << 16))

    answer = b""
    while len(answer) < 10:
        try:
            answer += tls.read(100)
        except ssl.SSLWantReadError:
            arrived.write(client.socket.recv(1 << 16))
    assert answer == b"\0\0\0\6\0\0\0\0OK"


def test_commands_may_follow_the_handshake_at_once(rig: Rig, context: ssl.SSLContext) -> None:
    """What comes with the last bytes of the handshake is encrypted, so it counts."""
    client = rig.connect()
    agree(client, tls_v1=True)
    encrypt(client, context)

    client.send(pub("t", b"x"))

    assert client.frame() == OK
    assert client.frame() == OK
    assert rig.node.topic("t").depth == 1


def test_garbage_instead_of_a_handshake_is_told_in_clear(rig: Rig) -> None:
    """Who does not speak TLS could not read it."""
    client = rig.connect()
    agree(client, tls_v1=True)

    client.send(pub("t", b"x") * 10)

    kind, data = client.frame()
    assert kind == ERROR
    assert data.startswith(b"E_IDENTIFY_FAILED IDENTIFY failed ")
    assert client.rest() == b""


def test_handshake_that_does_not_come_is_given_up(rig: Rig) -> None:
    """A client has five seconds, and its interval's heartbeats do not get in between."""
    client = rig.connect()
    agree(client, tls_v1=True, heartbeat_interval=3000)

    rig.advance(3)
    rig.advance(1.999)
    is_early = not is_silent(client)
    rig.advance(0.001)

    assert not is_early
    assert client.frame() == (ERROR, b"E_IDENTIFY_FAILED IDENTIFY failed no handshake within 5 s")
    assert client.rest() == b""


def test_handshake_that_came_is_not_given_up(rig: Rig, context: ssl.SSLContext) -> None:
    """Once it is done its deadline is forgotten."""
    client = rig.connect()
    agree(client, tls_v1=True)
    encrypt(client, context)
    assert client.frame() == OK

    rig.advance(30)

    assert client.frame() == HEARTBEAT
    assert client.ask(pub("t", b"x")) == OK


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_connection_may_end_in_the_middle_of_a_handshake(rig: Rig, begun: bytes) -> None:
    """Nothing is left of it, and nothing is said about it."""
    client = rig.connect()
    agree(client, tls_v1=True)
    client.send(begun)
    rig.settle()

    client.close()
    rig.until(lambda: not rig.peers())
    rig.advance(10)

    assert rig.lines == []
