"""An nsqd under test: options, clocks, crashes and restarts."""

import asyncio
import socket
import unittest
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from nsqlite.errors import ListenError, MisuseError, NodeFailedError
from nsqlite.options import Options
from nsqlite.testing import Clock, Nsqd, nsqd
from tests.net.client import attempts, fin, is_silent
from tests.net.conftest import PemFiles
from tests.net.rig import OK, Client
from tests.testing.raw import Connect, Web, connecting, identify, is_ended, is_reset, pub, subscribed


def test_clients_and_the_process_share_the_node(nsqd: Nsqd, connect: Connect) -> None:
    """What is published over TCP, over HTTP and in the process is one history."""
    connect().ask(pub("orders", b"tcp"))
    Web(nsqd).post("/pub?topic=orders", b"http")
    nsqd.publish("orders", b"process")
    nsqd.publish_many("orders", [b"two", b"more"])

    nsqd.assert_published("orders", bodies=[b"tcp", b"http", b"process", b"two", b"more"])


@pytest.mark.nsq(topics=["orders", "mail:sender"])
def test_topics_are_there(nsqd: Nsqd) -> None:
    """Topics and channels that are asked for are there from the start."""
    topics = {each.topic_name: [channel.channel_name for channel in each.channels] for each in nsqd.node.stats().topics}

    assert topics == {"orders": [], "mail": ["sender"]}


@pytest.mark.nsq(max_msg_size=3, max_rdy_count=7, topology_region="moon")
def test_options_are_of_node_and_listener(nsqd: Nsqd, connect: Connect) -> None:
    """Options of both come by their names, and reach whom they are for."""
    assert connect().ask(pub("orders", b"1234"))[1] == b"E_BAD_MESSAGE PUB message too big 4 > 3"
    answer = connect().ask(b"IDENTIFY\n\0\0\0\x1d" + b'{"feature_negotiation": true}')[1]
    assert b'"max_rdy_count":7' in answer
    assert b'"topology_region":"moon"' in answer


def test_no_option_is_of_both() -> None:
    """A name is an option of the node or of the listener, never of both."""
    from nsqlite.testing.nsqd import _LISTENER_OPTIONS

    assert not _LISTENER_OPTIONS & set(Options.__annotations__)


@pytest.mark.parametrize(
    "options", [{"max_message_size": 3}, {"durability": "safe"}, {"http_page": "on"}, {"topics": [""]}]
)
def test_wrong_option_is_refused(options: dict[str, Any]) -> None:
    """An option that there is not, or with a wrong value, is an error as everywhere; nothing is left open."""
    with pytest.raises(ValueError, match=r"max_message_size|safe|on|name"):
        Nsqd(**options)


def test_address_that_is_taken_is_an_error(nsqd: Nsqd) -> None:
    """An address of one's own that somebody has is an error."""
    with pytest.raises(ListenError):
        Nsqd(tcp_address=str(nsqd.tcp_address))


def test_unix_socket_is_an_address(tmp_path: Path) -> None:
    """A socket's path is as good; it has no port."""
    with nsqd(tcp_address=str(tmp_path / "socket"), http_address="") as server:
        client = Client(str(server.tcp_address))

        assert client.ask(pub("orders", b"7")) == OK
        assert server.tcp_address.port == 0
        server.crash_and_restart()
        assert repr(server) == f"<Nsqd {tmp_path}/socket>"
        client.close()


# -- time ----------------------------------------------------------------------------------


@pytest.mark.nsq(msg_timeout=10)
def test_deferral_and_timeout_follow_the_clock(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A message of an hour comes when the clock says so, and times out when it says so."""
    client = subscribed(connect(), rdy=5)
    nsqd.publish("orders", b"7", delay=3600)
    nsq_clock.advance(3599)
    client.send(b"NOP\n")
    nsqd.assert_delivered("orders", "billing", count=0)

    nsq_clock.advance(1)
    nsqd.wait_for("orders", "billing", "delivered")
    nsq_clock.advance(10)

    nsqd.wait_for("orders", "billing", "timed out")
    nsqd.wait_for("orders", "billing", "delivered", count=2)


def test_message_waits_in_no_buffer(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A consumer that could take more gets a message at once, where time stands still, too."""
    client = subscribed(connect(), rdy=100)

    nsqd.publish("orders", b"7")

    assert client.message()[1] == b"7"


def test_time_waits_for_what_has_arrived(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """What a client has sent before time moves is carried out before: its message does not time out."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    message_id, _ = client.message()

    client.send(fin(message_id))
    nsq_clock.advance(3600)

    nsqd.assert_finished("orders", "billing", count=1)
    nsqd.assert_timed_out("orders", "billing", count=0)


def test_clock_is_let_go(nsq_clock: Clock) -> None:
    """A clock outlives the nsqds on it."""
    before = (list(nsq_clock.before), list(nsq_clock.sources))

    with nsqd(clock=nsq_clock) as server:
        server.crash_and_restart()
        nsq_clock.advance(1)

    assert (nsq_clock.before, nsq_clock.sources) == before


def test_assertions_see_what_has_arrived(nsqd: Nsqd, connect: Connect) -> None:
    """A FIN has no answer to wait for: an assertion carries out first what was sent."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")

    client.send(fin(client.message()[0]))

    nsqd.assert_finished("orders", "billing", body=b"7")
    nsqd.assert_empty()


@pytest.mark.parametrize("call", ["advance", "advance_to_next", "sleep"])
def test_real_time_is_not_moved(nsqd: Nsqd, call: str) -> None:
    """Who would move the machine's time is told whom to ask for another."""
    with pytest.raises(MisuseError, match="ask for the fixture nsq_clock, too"):
        getattr(nsqd.clock, call)(3)


# -- going down ----------------------------------------------------------------------------


def test_crash_keeps_ports_and_messages(nsqd: Nsqd, connect: Connect) -> None:
    """Killed and started again, it is at the same address, with what was promised; connections have ended."""
    addresses = (nsqd.tcp_address, nsqd.http_address)
    client = subscribed(connect())
    nsqd.publish_many("orders", [b"7", b"8"])
    client.message()
    topic = nsqd.node.topic("orders")

    nsqd.crash_and_restart()

    assert is_ended(client)
    assert (nsqd.tcp_address, nsqd.http_address) == addresses
    with pytest.raises(NodeFailedError):
        topic.publish(b"9")
    again = subscribed(connect(), rdy=2)
    assert [again.message()[1], again.message()[1]] == [b"7", b"8"]


def test_end_is_no_reset() -> None:
    """A client that outlives the test's nsqd reads the end, as of a process that is gone."""
    server = Nsqd()
    client = Client((server.tcp_address.host, server.tcp_address.port))
    assert client.ask(pub("orders", b"7")) == OK

    server.close()

    assert is_ended(client)
    client.close()


def test_crash_keeps_all_ports(server_certificate: PemFiles) -> None:
    """HTTPS is at the same port again, too, and so is an address that was not on loopback alone."""
    with nsqd(
        tcp_address="0.0.0.0:0",
        https_address="127.0.0.1:0",
        tls_cert=server_certificate.cert,
        tls_key=server_certificate.key,
    ) as server:
        addresses = (server.tcp_address, server.http_address, server.https_address)
        assert all(each.port for each in addresses)

        server.crash_and_restart()

        assert (server.tcp_address, server.http_address, server.https_address) == addresses


def test_crash_keeps_what_was_finished(nsqd: Nsqd, connect: Connect) -> None:
    """A FIN that was carried out stays; what was in flight comes again, and its attempts go on."""
    client = subscribed(connect(), rdy=2)
    nsqd.publish_many("orders", [b"done", b"held"])
    done, _ = client.message()[0], client.message()[0]
    client.send(fin(done))
    nsqd.settle()

    nsqd.crash_and_restart()

    again = subscribed(connect(), rdy=2).frame()
    assert (again[1][26:], attempts(again)) == (b"held", 2)
    nsqd.assert_delivered("orders", "billing", bodies=[b"done", b"held", b"held"])


def test_timeout_is_seen_without_a_consumer(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """What times out when its consumer has gone is seen by who waits for it."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    client.message()
    client.close()

    nsq_clock.advance(60)

    nsqd.wait_for("orders", "billing", "timed out")


def test_crash_in_memory_loses_all(connect: Connect) -> None:
    """At "memory" nothing is left."""
    with nsqd("memory") as server:
        server.publish("orders", b"7")

        server.crash_and_restart()

        assert server.node.stats().topics == ()


def test_crash_on_disk_replays_the_real_journal() -> None:
    """At "disk" it is a real store; a publish is answered when it is synced."""
    with nsqd("disk", topics=["orders:billing"]) as server, connecting(server) as connect:
        assert connect().ask(pub("orders", b"7")) == OK

        server.crash_and_restart()

        assert subscribed(connect()).message()[1] == b"7"


def test_stop_refuses_and_start_goes_on(nsqd: Nsqd, connect: Connect) -> None:
    """Between them nobody is let in, at the same ports; what was finished stays so, what was in flight is ready."""
    client = subscribed(connect(), rdy=2)
    nsqd.publish_many("orders", [b"done", b"held"])
    client.send(fin(client.message()[0]))
    client.message()

    nsqd.stop()
    nsqd.stop()

    assert not nsqd.is_serving
    assert client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((nsqd.tcp_address.host, nsqd.tcp_address.port))
    nsqd.drop_connections()
    nsqd.settle()

    nsqd.start()
    nsqd.start()

    assert nsqd.is_serving
    assert subscribed(connect()).message()[1] == b"held"


def test_crash_while_stopped_starts_it(nsqd: Nsqd, connect: Connect) -> None:
    """A node that does not serve can be killed as well; then it does."""
    nsqd.stop()

    nsqd.crash_and_restart()

    assert connect().ask(pub("orders", b"7")) == OK


def test_drop_connections_resets_without_a_frame(nsqd: Nsqd, connect: Connect) -> None:
    """All connections end by a reset; or those of one client, and others notice nothing."""
    shop, desk = connect(), connect()
    shop.ask(identify("shop"))
    desk.ask(identify("desk"))

    nsqd.drop_connections("shop")

    assert is_reset(shop)
    assert is_silent(desk)

    nsqd.drop_connections()

    assert is_reset(desk)


def test_stop_heartbeats_survives_a_restart(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """Heartbeats that were stopped stay so, also while nobody is served."""
    nsqd.stop_heartbeats()
    nsqd.stop()
    nsqd.start_heartbeats()
    nsqd.stop_heartbeats()
    nsqd.start()
    client = connect()
    client.ask(identify("shop", 1000))

    nsq_clock.advance(1)

    nsqd.settle()
    assert is_silent(client)


# -- without fixtures ----------------------------------------------------------------------


def test_block_ends_with_a_check() -> None:
    """A node that is broken fails the block, and everything is closed all the same."""
    with pytest.raises(AssertionError), nsqd(topics=["orders:billing"]) as server:
        server._subject.engine.broker.topics["orders"].channels["billing"].ready_count += 1

    assert not server.is_serving
    server.close()


def test_block_that_failed_is_not_checked() -> None:
    """What failed in the block is what is raised."""
    with pytest.raises(ZeroDivisionError), nsqd(topics=["orders:billing"]) as server:  # noqa: PT012  # the same
        server._subject.engine.broker.topics["orders"].channels["billing"].ready_count += 1
        raise ZeroDivisionError


def test_nsqd_is_a_block_of_its_own() -> None:
    """The class can be entered, too."""
    with Nsqd() as server, urllib.request.urlopen(f"http://{server.http_address}/ping") as answer:
        assert answer.read() == b"OK"

    assert not server.is_serving


def test_unittest_enters_it() -> None:
    """unittest's enterContext is enough to have one in a test case."""

    class Case(unittest.TestCase):
        def runTest(self) -> None:  # noqa: N802  # unittest's name
            server = self.enterContext(nsqd())
            server.publish("orders", b"7")
            server.assert_published("orders", count=1)

    outcome = unittest.TestResult()
    Case().run(outcome)

    assert outcome.wasSuccessful(), outcome.errors


async def test_clients_in_the_tests_own_loop_go_on() -> None:
    """A test that runs in a loop awaits, and its clients in the same loop go on meanwhile."""
    with nsqd() as server:
        reader, writer = await asyncio.open_connection(server.tcp_address.host, server.tcp_address.port)

        async def publish() -> bytes:
            writer.write(b"  V2" + pub("orders", b"7"))
            return await reader.readexactly(10)

        publishing = asyncio.ensure_future(publish())
        event = await server.await_for("orders")

        assert (await publishing)[-2:] == b"OK"
        assert event.body == b"7"
        writer.close()
        await writer.wait_closed()
