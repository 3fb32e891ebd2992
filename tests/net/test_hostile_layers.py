"""Peers that break TLS or compression, or blow it up: the connection ends, and what it held was bounded."""

import socket
import ssl
import zlib
from collections.abc import Callable, Iterator

import cramjam
import pytest

from nsqlite.net.peer import CHUNK_BYTES, CHUNK_COST, COMMANDS_A_TURN, READ_AHEAD_BYTES
from tests.fakes.clock import PATIENCE_SECONDS
from tests.interop.transcripts.wire import identify, pub, u32
from tests.net.conftest import PemFiles
from tests.net.rig import ERROR, OK, RESPONSE, Client, Rig, rigged

ONE_READ_BYTES = 256 * 1024
TLS_RECORD_BYTES = 17 * 1024
A_TURN_BYTES = (COMMANDS_A_TURN // CHUNK_COST) * CHUNK_BYTES
NOPS = b"NOP\n" * 100_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest, server_certificate: PemFiles) -> Iterator[Rig]:
    """A listener with a certificate, in either loop."""
    with rigged(uvloop=request.param, tls_cert=server_certificate.cert, tls_key=server_certificate.key) as made:
        yield made


def upgrading(rig: Rig, **features: bool) -> Client:
    """A client whose IDENTIFY was answered, and that upgrades now."""
    client = rig.connect()
    kind, _ = client.ask(identify(feature_negotiation=True, **features))
    assert kind == RESPONSE
    return client


def start_tls(client: Client) -> None:
    """Make the handshake, believing anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.socket = context.wrap_socket(client.socket)
    assert client.frame() == OK


def deflated(data: bytes) -> bytes:
    """As a stream that goes on."""
    stream = zlib.compressobj(9, wbits=-15)
    return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)


def snapped(data: bytes) -> bytes:
    """In snappy's framing format."""
    return bytes(cramjam.snappy.compress(data))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff" * 20,
    ],
    ids=["zeros", "http", "record_too_long", "hello_too_long"],
)
def test_garbage_for_a_handshake_is_told_in_clear_text(rig: Rig, garbage: bytes) -> None:
    """As in nsqd: E_IDENTIFY_FAILED without TLS, behind the alert that looks like TLS deserves, and the end."""
    client = upgrading(rig, tls_v1=True)
    client.try_send(garbage)

    found = client.rest()

    alert_bytes = 7 if garbage.startswith(b"\x16") else 0
    assert found[alert_bytes + 4 :].startswith(u32(ERROR) + b"E_IDENTIFY_FAILED IDENTIFY failed ")
    rig.is_served()
    assert rig.lines == []


def test_handshake_that_stops_has_five_seconds(rig: Rig) -> None:
    """However little of it has come."""
    client = upgrading(rig, tls_v1=True)
    client.send(b"\x16\x03\x01\x02\x00\x01")
    rig.advance(4.9)
    assert len(rig.peers()) == 1

    rig.advance(0.1)

    assert client.rest()[8:].startswith(b"E_IDENTIFY_FAILED IDENTIFY failed no handshake within 5 s")


def test_hang_up_during_the_handshake_is_nobodys_news(rig: Rig) -> None:
    """At every stage of it, by FIN or by RST."""
    for said in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 9):
        for end in (Client.close, Client.reset, Client.half_close):
            client = upgrading(rig, tls_v1=True)
            client.send(said)
            end(client)
    rig.advance(6)
    rig.until(lambda: not rig.peers())

    assert rig.lines == []


@pytest.mark.parametrize("garbage", [b"PUB t\n\x00\x00\x00\x01x", b"\x17\x03\x03\x00\x20" + b"x" * 32])
def test_garbage_inside_tls_ends_it(rig: Rig, garbage: bytes) -> None:
    """Clear text, or a record that nobody encrypted, does not reach the protocol."""
    client = upgrading(rig, tls_v1=True)
    start_tls(client)
    client.socket = socket.socket(fileno=client.socket.detach())
    client.socket.settimeout(PATIENCE_SECONDS)
    client.send(garbage)

    client.rest()

    client.close()
    rig.until(lambda: not rig.peers())
    assert "t" not in rig.node.engine.broker.topics
    assert rig.lines == []


@pytest.mark.parametrize("method", ["deflate", "snappy"])
@pytest.mark.parametrize(
    "garbage", [b"PUB t\n\x00\x00\x00\x01x", b"\xff" * 5000, b"\xfe\xff\xff\xff" * 9, b"\x07" * 99]
)
def test_garbage_for_compression_ends_the_connection(rig: Rig, method: str, garbage: bytes) -> None:
    """No frame can be told any more, so there is none."""
    client = upgrading(rig, **{method: True})
    client.send(garbage)
    client.half_close()

    client.rest()

    rig.until(lambda: not rig.peers())
    assert "t" not in rig.node.engine.broker.topics
    rig.is_served()
    assert rig.lines == []


def test_what_came_before_the_garbage_is_answered(rig: Rig) -> None:
    """A publisher hears of every message that was taken, though nothing more can be read of it."""
    client = upgrading(rig, snappy=True)
    client.send(snapped(pub("t", b"x")) + b"\x07" * 50)

    found = client.rest()

    assert bytes(cramjam.snappy.decompress(found)).endswith(2 * (u32(6) + u32(RESPONSE) + b"OK"))
    assert rig.node.topic("t").depth == 1


LAYERS = [("deflate", False), ("deflate", True), ("snappy", False), ("snappy", True)]


@pytest.mark.parametrize("method,has_tls", LAYERS)
def test_bomb_of_commands_is_unpacked_no_faster_than_it_is_carried_out(rig: Rig, method: str, has_tls: bool) -> None:
    """A hundred thousand commands in a few packets is a piece at a time in memory, and nobody waits for it."""
    client = upgrading(rig, tls_v1=has_tls, **{method: True})
    if has_tls:
        start_tls(client)
    pack: Callable[[bytes], bytes] = deflated if method == "deflate" else snapped
    bomb = pack(NOPS + pub("t", b"x"))
    most = 0
    sent = client.try_send(bomb)
    while (sent := sent + client.try_send(bomb[sent:])) < len(bomb) or "t" not in rig.node.engine.broker.topics:
        rig.settle()
        most = max(most, rig.held_bytes())
    rig.is_served()

    assert most <= READ_AHEAD_BYTES + ONE_READ_BYTES + CHUNK_BYTES + TLS_RECORD_BYTES
    rig.until(lambda: rig.node.topic("t").depth == 1)
    assert rig.lines == []


@pytest.mark.parametrize("method", ["deflate", "snappy"])
def test_bomb_of_one_line_is_cut_off(rig: Rig, method: str) -> None:
    """Thirty megabytes without a line's end are not unpacked beyond the longest line."""
    pack: Callable[[bytes], bytes] = deflated if method == "deflate" else snapped
    client = upgrading(rig, **{method: True})
    client.try_send(pack(b"P" * 30_000_000))

    client.rest()

    client.close()
    rig.until(lambda: not rig.peers())
    rig.is_served()


def test_bomb_of_refusals_is_answered_a_piece_at_a_time(rig: Rig) -> None:
    """700,000 FINs in 35 KB are as many answers: no turn makes more than some thousand of them."""
    client = upgrading(rig, deflate=True)
    client.send(deflated(b"SUB t c\n" + b"FIN 0123456789abcdef\n" * 700_000))
    rig.until(lambda: rig.only_peer().session.subscription is not None)

    rig.settle()
    assert rig.held_bytes() <= READ_AHEAD_BYTES + ONE_READ_BYTES + 5 * A_TURN_BYTES
    assert rig.only_peer().layers.buffered_bytes > 0  # it is at work still, and lets us look
    client.reset()
    rig.until(lambda: not rig.peers())
    rig.is_served()


def test_chunk_that_is_skipped_is_not_held(rig: Rig) -> None:
    """Snappy's padding may be 16 MiB long: it is dropped as it comes."""
    client = upgrading(rig, snappy=True)
    padding = b"\xff\x06\x00\x00sNaPpY" + b"\xfe\xff\xff\xff" + b"\x00" * 0xFFFFFF
    sent = 0
    while sent < len(padding):
        sent += client.try_send(padding[sent:])
        rig.settle()
        assert rig.held_bytes() <= ONE_READ_BYTES
    client.send(snapped(pub("t", b"x")))
    rig.until(lambda: "t" in rig.node.engine.broker.topics)


def test_layers_are_not_put_on_one_another_without_end(rig: Rig) -> None:
    """A second upgrade is refused: deflate in deflate in deflate would cost 300 KiB each time."""
    client = upgrading(rig, deflate=True)
    client.send(deflated(identify(feature_negotiation=True, deflate=True)))

    found = client.rest()

    plain = zlib.decompressobj(wbits=-15).decompress(found)
    assert plain.endswith(u32(ERROR) + b"E_IDENTIFY_FAILED IDENTIFY failed upgraded already")
    assert rig.lines == []


def test_second_identify_without_an_upgrade_is_taken(rig: Rig) -> None:
    """What costs nothing is allowed inside the layers, too."""
    client = upgrading(rig, deflate=True)
    client.send(deflated(identify(client_id="again") + pub("t", b"x")))
    rig.until(lambda: "t" in rig.node.engine.broker.topics)

    assert rig.only_peer().agreement.client_id == "again"
