"""nsqds at an nsqlookupd's TCP address: sockets, limits, endings."""

import json
import logging
import socket
import struct

import pytest

from nsqlite.net.binding import shown
from nsqlite.net.lookupd.protocol import MAX_LINE_BYTES
from nsqlite.net.lookupd.tcp_server import WRITE_HIGH_BYTES
from tests.net.lookupd.client import MAGIC, OK, LookupdClient, identify
from tests.net.lookupd.rig import Rig, rigged


def refusal(text: str) -> bytes:
    """A refusal as it is sent."""
    return struct.pack(">I", len(text)) + text.encode()


def test_identify_is_answered_with_where_to_ask(rig: Rig) -> None:
    """The server's own name and real ports, compact and in the order of the keys."""
    answer = rig.connect().ask(identify())

    assert json.loads(answer) == {
        "broadcast_address": "lookupd.example",
        "hostname": socket.gethostname(),
        "http_port": rig.lookupd.http_address[1],
        "tcp_port": rig.lookupd.tcp_address[1],
        "version": "1.3.0",
    }
    assert answer.startswith(b'{"broadcast_address":"lookupd.example","hostname":"')


def test_ping_is_answered_before_identify(rig: Rig) -> None:
    """PING alone, and it is nobody's sign of life."""
    client = rig.connect()

    assert client.ask(b"PING\n") == OK
    assert rig.registry.nodes(rig.clock.monotonic_ns()) == []


def test_producer_is_named_by_its_connection(rig: Rig) -> None:
    """remote_address is where the connection comes from, whatever the body says."""
    client = rig.producer("t c", remote_address="1.2.3.4:5")

    (found,) = rig.registry.lookup("t", rig.clock.monotonic_ns()) or ()

    assert found.remote_address == client.name


def test_commands_in_one_piece_are_answered_in_order(rig: Rig) -> None:
    """More of them than one turn of the loop takes, too."""
    client = rig.connect()

    client.send(identify() + b"".join(b"REGISTER t%d c\n" % number for number in range(1000)))

    assert client.answer().startswith(b"{")
    assert [client.answer() for _ in range(1000)] == [OK] * 1000
    assert len(rig.registry.topic_names()) == 1000


def test_where_it_listens_and_closes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In the words of NSQ's own."""
    caplog.set_level(logging.INFO, "nsqlite")
    with rigged() as (rig, _):
        name = shown(rig.lookupd.tcp_address)

    assert caplog.messages.count(f"TCP: listening on {name}") == 1
    assert caplog.messages.count(f"TCP: closing {name}") == 1


def choked(rig: Rig) -> tuple[LookupdClient, int]:
    """A client that has sent so many bytes of PING without reading that it is not read any more."""
    client = rig.connect()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    rig.until(lambda: len(rig.servers.tcp._peers) == 1)
    (peer,) = rig.servers.tcp._peers
    peer._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    client.socket.setblocking(False)
    pings, sent = b"PING\n" * 10_000, 0
    while not peer._is_choked:
        try:
            sent += client.socket.send(pings[sent % 5 :])
        except BlockingIOError:
            rig.settle()
    rig.settle()
    return client, sent


@pytest.mark.parametrize(
    "data,words",
    [
        (MAGIC + b"REGISTER a\n", "E_INVALID client must IDENTIFY"),
        (MAGIC + identify() + b"REGISTER b$\n", "E_BAD_TOPIC REGISTER topic name 'b$' is not valid"),
        (b"  V2", "E_BAD_PROTOCOL"),
        (MAGIC + b"x" * MAX_LINE_BYTES, f"E_INVALID a line is longer than {MAX_LINE_BYTES} bytes"),
        (MAGIC + b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY failed to read body size"),
    ],
)
def test_refusal_ends_the_connection(rig: Rig, data: bytes, words: str) -> None:
    """Its words arrive though the client was still sending, and nothing behind them is done."""
    client = rig.connect(magic=b"")

    client.send(data + b"REGISTER late\n" * 10_000)

    assert client.rest().endswith(refusal(words))
    assert rig.registry.topic_names() == []


def test_refused_client_has_a_moment(rig: Rig) -> None:
    """It may read why; then it is left, closed or not."""
    client = rig.connect(b"  V2")
    assert client.answer() == b"E_BAD_PROTOCOL"
    rig.until(lambda: len(rig.servers.tcp._peers) == 1)

    rig.advance(1)

    rig.until(lambda: not rig.servers.tcp._peers)


def test_half_closed_client_gets_its_answers(rig: Rig) -> None:
    """What it sent before is carried out, more than one turn of it; then the server hangs up."""
    client = rig.connect()
    client.send(b"PING\n" * 2000)

    client.half_close()

    assert client.rest() == refusal("OK") * 2000


@pytest.mark.parametrize("data,words", [(b"\x00\x00", "body size"), (b"\x00\x00\x00\x05{", "body")])
def test_end_inside_identify_is_answered(rig: Rig, data: bytes, words: str) -> None:
    """As by nsqlookupd."""
    client = rig.connect()
    client.send(b"IDENTIFY\n" + data)

    client.half_close()

    assert client.rest() == refusal(f"E_BAD_BODY IDENTIFY failed to read {words}")


def test_lost_connection_takes_its_registrations(rig: Rig) -> None:
    """Its topics and channels stay, without it."""
    client = rig.producer("t c")

    client.close()

    rig.until(lambda: rig.registry.lookup("t", 0) == [])
    assert rig.registry.channel_names("t") == ["c"]


def test_connections_are_bounded() -> None:
    """One more is closed at once, the log says so once, and who leaves makes room."""
    with rigged(max_connections=2) as (rig, lines):
        first, second = rig.connect(), rig.connect()
        assert (first.ask(b"PING\n"), second.ask(b"PING\n")) == (OK, OK)

        assert [rig.connect().rest() for _ in range(3)] == [b""] * 3
        assert [line for line in lines if "refusing" in line] == ["refusing connections: max_connections=2 are open"]

        first.close()
        rig.until(lambda: len(rig.servers.tcp._peers) == 1)

        assert rig.connect().ask(b"PING\n") == OK


def test_silent_connection_is_closed(rig: Rig) -> None:
    """A minute without a command; one who has said anything may be silent for ever."""
    silent, half, spoken = rig.connect(magic=b""), rig.connect(), rig.connect()
    half.send(b"PIN")
    assert spoken.ask(b"PING\n") == OK
    rig.until(lambda: len(rig.servers.tcp._peers) == 3)

    rig.advance(60)

    assert (silent.rest(), half.rest()) == (b"", b"")
    rig.advance(10_000)
    assert spoken.ask(b"PING\n") == OK


def test_full_registry_refuses_but_goes_on() -> None:
    """An nsqd that was closed for it would come back with the same; the log says so once."""
    with rigged(max_registrations=2) as (rig, lines):
        client = rig.producer("t")

        answers = [client.ask(b"REGISTER u\n"), client.ask(b"REGISTER v\n"), client.ask(b"REGISTER t\n")]

        assert all(each.startswith(b"E_INVALID REGISTER max_registrations=2 is reached") for each in answers[:2])
        assert answers[2] == OK
        assert len([line for line in lines if line.startswith("refusing registrations")]) == 1


def test_client_that_reads_nothing_is_not_read(rig: Rig) -> None:
    """Answers that it does not take are bounded; once it takes them it gets them all."""
    client, sent = choked(rig)

    (peer,) = rig.servers.tcp._peers
    assert peer._transport.get_write_buffer_size() < 2 * WRITE_HIGH_BYTES
    assert peer._parser.buffered_bytes < 1 << 20

    client.socket.settimeout(20)
    expected, found = memoryview(refusal("OK") * (sent // 5)), 0
    while found < len(expected):
        data = client.socket.recv(1 << 16)
        assert data == expected[found : found + len(data)]
        found += len(data)


def test_log_has_one_line_for_what_a_client_says() -> None:
    """Line breaks and controls in its words come escaped."""
    with rigged() as (rig, lines):
        rig.producer(broadcast_address="evil\nINFO: forged", version="\x1b[2J")
        client = rig.connect()
        client.send(b"\x1b[31m\n")
        client.rest()

        assert any("IDENTIFY Address:'evil\\nINFO: forged' TCP:4150 HTTP:4151 Version:'\\x1b[2J'" in x for x in lines)
        assert not any("\n" in line or "\x1b" in line for line in lines)


def test_closing_ends_clients_that_read_nothing() -> None:
    """Nobody is waited for."""
    with rigged() as (rig, _):
        choked(rig)

        rig.lookupd.close()

        assert not rig.servers.tcp._peers


def test_dead_machines_are_noticed(rig: Rig) -> None:
    """The system asks a silent connection, every quarter of a minute, whether anybody is there."""
    rig.producer()
    (peer,) = rig.servers.tcp._peers

    connection = peer._transport.get_extra_info("socket")

    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
