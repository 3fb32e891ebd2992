"""Connections that break: reset, closed in the middle of a frame, or without heartbeats."""

import ssl
from collections.abc import Iterator

import pytest

from nsqlite.testing import Clock, Nsqd, nsqd
from nsqlite.testing.faults import DROP, Fault
from nsqlite.testing.faulty_peer import sever
from tests.net.client import fin, is_silent
from tests.net.conftest import PemFiles
from tests.net.rig import HEARTBEAT, OK, Client
from tests.testing.raw import Connect, connecting, identify, is_reset, pub, sized, subscribed

ASKED = {
    "IDENTIFY": identify("shop"),
    "SUB": b"SUB orders billing\n",
    "PUB": pub("orders", b"7"),
    "MPUB": b"MPUB orders\n" + sized(b"\0\0\0\1" + sized(b"7")),
    "DPUB": b"DPUB orders 1000\n" + sized(b"7"),
}
NOT_ANSWERED = {"RDY": b"RDY 0\n", "FIN": b"FIN %s\n", "REQ": b"REQ %s 0\n", "TOUCH": b"TOUCH %s\n", "NOP": b"NOP\n"}


@pytest.mark.parametrize("command", ASKED)
def test_drop_next_resets_instead_of_answering(nsqd: Nsqd, connect: Connect, command: str) -> None:
    """The client meets a reset where it expects an answer."""
    client = connect()
    nsqd.drop_next(command)

    client.send(ASKED[command])

    assert is_reset(client)
    nsqd.assert_faults_met()


@pytest.mark.parametrize("command", NOT_ANSWERED)
def test_drop_next_resets_where_there_is_no_answer(nsqd: Nsqd, connect: Connect, command: str) -> None:
    """A command that nsqd does not answer is carried out, and the connection is reset."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    message_id, _ = client.message()
    nsqd.drop_next(command)

    client.send(NOT_ANSWERED[command].replace(b"%s", message_id))

    assert is_reset(client)
    nsqd.assert_finished("orders", "billing", count=int(command == "FIN"))


@pytest.mark.parametrize("command", ASKED)
def test_half_send_next_ends_in_the_middle_of_the_answer(nsqd: Nsqd, connect: Connect, command: str) -> None:
    """The client reads the first half of a frame, and then the end."""
    client, other = connect(), connect()
    nsqd.half_send_next(command, client=1)

    client.send(ASKED[command])
    half = client.rest()

    other.send(ASKED[command])
    whole = other._exactly(2 * len(half))
    assert half
    assert whole.startswith(half)
    nsqd.assert_faults_met()


@pytest.mark.parametrize("is_half", [True, False])
def test_refusal_is_an_answer_that_is_lost_too(nsqd: Nsqd, connect: Connect, is_half: bool) -> None:
    """What nsqd refuses by itself is not heard either."""
    client = connect()
    (nsqd.half_send_next if is_half else nsqd.drop_next)("AUTH")

    client.send(b"AUTH\n" + sized(b"secret"))

    wanted = b"\0\0\0\x21\0\0\0\1E_AUTH_DISABLED AUTH disabled"
    assert client.rest() == (wanted[: len(wanted) // 2] if is_half else b"")


def test_half_send_next_of_a_message(nsqd: Nsqd, connect: Connect) -> None:
    """Messages before it arrive whole; the one that is hit ends half-way, and comes again to somebody else."""
    client = subscribed(connect(), rdy=3)
    nsqd.half_send_next("MESSAGE", topic="orders")
    nsqd.publish("orders", b"0123456789" * 10)

    half = client.rest()

    assert len(half) == (4 + 4 + 26 + 100) // 2
    nsqd.time_out("orders", "billing")
    assert subscribed(connect()).message()[1] == b"0123456789" * 10


def test_drop_next_of_a_message(nsqd: Nsqd, connect: Connect) -> None:
    """The consumer is cut off instead of getting a message; the messages before it have arrived or not."""
    nsqd.node.topic("orders").channel("billing")
    nsqd.publish_many("orders", [b"%d" % number for number in range(3)])
    nsqd.drop_next("MESSAGE")
    client = connect()
    client.send(b"SUB orders billing\nRDY 3\n")

    assert client.rest().count(b"\0\0\0\2") == 0
    nsqd.assert_delivered("orders", "billing", count=3)
    assert [each.place.topic for each in nsqd.faults_met] == ["orders"]


def test_other_topics_messages_pass(nsqd: Nsqd, connect: Connect) -> None:
    """A fault of one topic's messages leaves another's alone."""
    client = subscribed(connect())
    nsqd.half_send_next("MESSAGE", topic="mail")

    nsqd.publish("orders", b"7")

    assert client.message()[1] == b"7"


def test_heartbeats_follow_the_clock(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A heartbeat comes when the clock says so."""
    client = connect()
    client.ask(identify("shop", 1000))

    nsq_clock.advance(1)

    assert client.frame() == HEARTBEAT


def test_stop_heartbeats_leaves_clients_alone(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """No heartbeat comes, nor an end: it is the client that has to notice. Started again, they come as ever."""
    client = connect()
    client.ask(identify("shop", 1000))
    nsqd.stop_heartbeats()

    for _ in range(10):
        nsq_clock.advance(1)
    nsqd.settle()
    assert is_silent(client)

    nsqd.start_heartbeats()
    nsq_clock.advance(1)
    assert client.frame() == HEARTBEAT
    assert client.ask(pub("orders", b"7")) == OK


def test_heartbeat_is_no_answer(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A fault of an answer does not strike at a heartbeat that comes before it, but at what follows."""
    client = connect()
    client.ask(identify("shop", 1000))
    peer = nsqd._server.nsqd.peers()[0]  # type: ignore[union-attr]
    peer.break_answer(Fault(kind=DROP, command="PUB"))

    nsq_clock.advance(1)
    assert client.frame() == HEARTBEAT

    client.send(pub("orders", b"7"))
    assert is_reset(client)


@pytest.fixture
def secure(server_certificate: PemFiles) -> Iterator[Nsqd]:
    """An nsqd that offers TLS."""
    with nsqd(tls_cert=server_certificate.cert, tls_key=server_certificate.key) as made:
        yield made


@pytest.mark.parametrize("is_half", [True, False])
def test_upgrade_breaks_off(secure: Nsqd, is_half: bool) -> None:
    """An IDENTIFY that wants TLS breaks as any other: nothing of a handshake is left behind."""
    (secure.half_send_next if is_half else secure.drop_next)("IDENTIFY")
    with connecting(secure) as connect:
        client = connect()

        client.send(b"IDENTIFY\n" + sized(b'{"feature_negotiation": true, "tls_v1": true}'))

        assert bool(client.rest()) is is_half


def test_answer_inside_tls_breaks_off(secure: Nsqd, server_certificate: PemFiles) -> None:
    """Through layers, half a frame is half a frame of what they carry."""
    with connecting(secure) as connect:
        client = connect()
        client.ask(b"IDENTIFY\n" + sized(b'{"feature_negotiation": true, "tls_v1": true}'))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain, client.socket = client.socket, context.wrap_socket(client.socket, suppress_ragged_eofs=True)
        plain.close()
        assert client.frame() == OK
        secure.half_send_next("PUB")

        client.send(pub("orders", b"7"))

        assert client.rest() == b"\0\0\0\6\0"


def test_sever_takes_what_is_no_connection() -> None:
    """What is closed already is left."""
    sever(None)


def test_reset_in_the_middle_of_answers_is_survived(nsqd: Nsqd, connect: Connect) -> None:
    """A consumer that is cut off with messages in hand leaves a node that is sound, and others go on."""
    first = subscribed(connect(), rdy=5)
    nsqd.publish_many("orders", [b"%d" % number for number in range(5)])
    ids = [first.message()[0] for _ in range(5)]
    nsqd.drop_next("FIN")
    first.send(fin(*ids))
    assert is_reset(first)

    nsqd.time_out("orders", "billing")
    second: Client = subscribed(connect(), rdy=5)
    second.send(fin(*[second.message()[0] for _ in range(4)]))

    nsqd.wait_for("orders", "billing", "finished", count=5)
    nsqd.assert_empty()
