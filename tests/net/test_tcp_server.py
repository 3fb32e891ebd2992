"""A server knows its connections, what it offers them, and how to end them without losing what was said."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import ListenError
from nsqlite.options import SECOND_NS
from tests.fakes.caller import Caller
from tests.fakes.gated import GatedStorage
from tests.interop.transcripts.wire import mpub, pub
from tests.net.client import ask_all, choke, fin, frames
from tests.net.rig import ERROR, OK, Rig, rigged


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A listener at a node in memory."""
    with rigged() as made:
        yield made


# -- what is offered -----------------------------------------------------------------------


def test_terms_are_those_of_node_and_listener() -> None:
    """What concerns messages comes from the node, what concerns the network from the listener."""
    clock = nsqlite.VirtualClock()
    node = nsqlite.open(clock=clock, max_rdy_count=7, msg_timeout=2.0, max_msg_timeout=3.0)
    with rigged(
        node, clock, max_heartbeat_interval=4.0, output_buffer_timeout=0.5, max_deflate_level=3, topology_zone="z"
    ) as rig:
        terms = rig.server.terms

        assert (terms.max_rdy_count, terms.msg_timeout_ns, terms.max_msg_timeout_ns) == (
            7,
            2 * SECOND_NS,
            3 * SECOND_NS,
        )
        assert terms.max_heartbeat_interval_ns == 4 * SECOND_NS
        assert terms.output_buffer_timeout_ns == SECOND_NS // 2
        assert (terms.max_deflate_level, terms.topology_zone) == (3, "z")
        assert not terms.has_tls
        assert not terms.auth_required


def test_limits_are_those_of_the_node() -> None:
    """What a node takes from its own process it takes from the network."""
    clock = nsqlite.VirtualClock()
    with rigged(nsqlite.open(clock=clock, max_msg_size=10, max_body_size=100, max_req_timeout=1.5), clock) as rig:
        limits = rig.server.limits

        assert (limits.max_msg_size, limits.max_body_size, limits.max_req_timeout_ms) == (10, 100, 1500)
        assert rig.connect().ask(pub("t", b"x" * 11)) == (ERROR, b"E_BAD_MESSAGE PUB message too big 11 > 10")


# -- connections ---------------------------------------------------------------------------


def test_connections_are_known_until_they_end(rig: Rig) -> None:
    """However a client goes, it is forgotten."""
    clients = [rig.connect() for _ in range(3)]
    rig.until(lambda: len(rig.peers()) == 3)

    clients[0].close()
    clients[1].reset()
    rig.until(lambda: len(rig.peers()) == 1)
    clients[2].half_close()

    rig.until(lambda: not rig.peers())


def test_one_connection_too_many_is_closed_at_once() -> None:
    """The others are served, it is logged once, and there is room again when one has gone."""
    with rigged(max_connections=2) as rig:
        first, second = rig.connect(), rig.connect()
        ask_all(first, [pub("t", b"x")])
        ask_all(second, [pub("t", b"x")])

        refused = [rig.connect(magic=False).rest() for _ in range(3)]

        assert refused == [b""] * 3
        assert rig.lines == ["refusing connections: max_connections=2 are open"]
        ask_all(first, [pub("t", b"x")])
        second.close()
        rig.until(lambda: len(rig.peers()) == 1)
        ask_all(rig.connect(), [pub("t", b"x")])


def test_no_producers_are_told_of_once_it_is_closed(rig: Rig) -> None:
    """A node's statistics have nothing of a listener that is gone."""
    ask_all(rig.connect(), [pub("t", b"x")])
    assert len(rig.node.stats().producers) == 1

    rig.close()

    assert rig.node.stats().producers == ()
    assert rig.node.engine.producers == []


# -- closing -------------------------------------------------------------------------------


def test_closing_carries_out_what_was_read(gated: tuple[Rig, GatedStorage]) -> None:
    """Commands that wait for the disk, and those behind them, are done and answered before their connection ends."""
    rig, storage = gated
    client = rig.connect()
    peer = rig.only_peer()
    storage.sync_gate.shut()
    client.send(pub("t", b"a"))
    storage.sync_gate.await_arrival()
    client.send(pub("t", b"b") + mpub("t", b"c", b"d"))
    rig.until(lambda: peer.connection.buffered_bytes > 0)
    closing = Caller(rig.listener.close)
    rig.until(lambda: peer._is_draining)

    storage.sync_gate.open()

    assert frames(client, 3) == [OK] * 3
    assert client.rest() == b""
    client.close()
    closing.outcome()
    assert rig.node.topic("t").channel("c").depth == 4


def test_closing_applies_answers_that_were_read(rig: Rig) -> None:
    """What a consumer finished is finished, and what it holds stays in flight until its time."""
    client = rig.subscriber(rdy=3)
    rig.node.publish_many("t", [b"x"] * 3)
    held = [client.message()[0] for _ in range(3)]
    client.send(fin(*held[:2]))
    rig.settle()

    rig.close()

    channel = rig.node.topic("t").channel("c")
    assert (channel.depth, channel.in_flight_count) == (0, 1)
    rig.clock.advance(60)
    assert channel.depth == 1


def test_closing_ends_idle_connections_at_once(rig: Rig) -> None:
    """A client between two commands is let go without a word, and hangs up in turn."""
    clients = [rig.connect(), rig.subscriber(rdy=1), rig.connect(magic=False)]
    rig.until(lambda: len(rig.peers()) == 3)

    closing = Caller(rig.listener.close)

    assert [client.rest() for client in clients] == [b""] * 3
    for client in clients:
        client.close()
    closing.outcome()


def test_closing_names_half_a_command(rig: Rig) -> None:
    """What has not come to its end by then is refused as at the end of the stream."""
    client = rig.connect()
    client.send(pub("t", b"abc")[:-1])
    rig.settle()

    rig.close()

    assert client.frame() == (ERROR, b"E_BAD_MESSAGE PUB failed to read message body")
    assert client.rest() == b""


def test_closing_gives_up_who_takes_nothing(rig: Rig) -> None:
    """A client that does not read cannot hold a listener up, and its messages are not lost."""
    client = rig.subscriber(rdy=2500)
    rig.settle()
    choke(rig, client)
    channel = rig.node.topic("t").channel("c")
    count = channel.depth + channel.in_flight_count

    rig.close()

    assert channel.depth + channel.in_flight_count == count


def test_closing_refuses_new_connections(rig: Rig) -> None:
    """Its address is free as soon as it is closed."""
    address = rig.listener.tcp_address
    rig.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with socket.create_server(address):
        pass


# -- addresses -----------------------------------------------------------------------------


def test_unix_socket_is_an_address_like_any(tmp_path: Path) -> None:
    """Clients on it have no address, and the file goes with the listener."""
    path = tmp_path / "nsq.sock"
    with rigged(tcp_address=str(path)) as rig:
        assert rig.listener.tcp_address == str(path)
        ask_all(rig.connect(), [pub("t", b"x")])

        (producer,) = rig.node.stats().producers

        assert (producer.remote_address, producer.client_id) == ("@", "")
        assert path.is_socket()
    assert not path.exists()


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """What a process left behind that was killed is in nobody's way."""
    path = tmp_path / "nsq.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    with rigged(tcp_address=str(path)) as rig:
        ask_all(rig.connect(), [pub("t", b"x")])


def test_unix_socket_in_use_is_refused(tmp_path: Path) -> None:
    """Somebody who listens there goes on doing so."""
    path = tmp_path / "nsq.sock"
    with rigged(tcp_address=str(path)) as rig:
        with pytest.raises(ListenError, match="another process listens there"):
            nsqlite.net.listen(rig.node, tcp_address=str(path))

        ask_all(rig.connect(), [pub("t", b"x")])
        assert len(rig.node.engine.producers) == 1


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A path that is something else is an error, and stays what it is."""
    path = tmp_path / "precious.txt"
    path.write_text("keep me")

    with nsqlite.open() as node, pytest.raises(ListenError):
        nsqlite.net.listen(node, tcp_address=str(path))

    assert path.read_text() == "keep me"


def test_unix_socket_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    """Whoever has taken the path meanwhile keeps it."""
    path = tmp_path / "nsq.sock"
    with rigged(tcp_address=str(path)):
        path.unlink()
        other = socket.socket(socket.AF_UNIX)
        other.bind(str(path))

    assert path.is_socket()
    other.close()


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_ipv6_host_stands_in_brackets() -> None:
    """Given so, and named so in the log."""
    try:
        with rigged(tcp_address="[::1]:0") as rig:
            host, port = rig.listener.tcp_address

            assert host == "::1"
            assert rig.server._binding.name == f"[::1]:{port}"
    except ListenError:
        pytest.skip("IPv6 is turned off")
