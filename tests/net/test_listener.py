"""A node is reached over the network from a thread of its own, or from a running loop."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nsqlite
import nsqlite.net
from nsqlite.errors import InvalidOptionError, ListenError, NsqliteError
from tests.fakes.caller import Caller
from tests.interop.transcripts.wire import pub
from tests.net.client import bodies, fin
from tests.net.rig import OK, Client, rigged

ANY_PORT = "127.0.0.1:0"


@pytest.fixture(autouse=True)
def _no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, no loop has to log what nobody caught."""
    yield
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    assert [record.getMessage() for record in records if record.name == "asyncio" and record.levelno > 20] == []


@pytest.fixture
def clock() -> nsqlite.VirtualClock:
    """Time that stands still."""
    return nsqlite.VirtualClock()


@pytest.fixture
def node(clock: nsqlite.VirtualClock) -> Iterator[nsqlite.Node]:
    """A node in memory that must end the test sound."""
    with nsqlite.open(clock=clock) as made:
        yield made
        made.check()


def threads() -> list[str]:
    """Threads that are not the tests' own."""
    return sorted(each.name for each in threading.enumerate() if each.name.startswith("nsqlite-"))


def ask(address: tuple[str, int] | str, command: bytes) -> tuple[int, bytes]:
    """One command of a client of its own, and the answer."""
    client = Client(address)
    try:
        return client.ask(command)
    finally:
        client.close()


# -- in a thread of its own ----------------------------------------------------------------


@pytest.mark.parametrize("uvloop", [None, False, True])
def test_listener_has_the_loop_it_was_asked_for(node: nsqlite.Node, uvloop: bool | None) -> None:
    """uvloop when it is installed, unless told otherwise, and the same answers from either."""
    with nsqlite.net.listen(node, tcp_address=ANY_PORT, uvloop=uvloop) as listener:
        assert type(listener._loop).__module__.startswith("asyncio" if uvloop is False else "uvloop")
        assert ask(listener.tcp_address, pub("t", b"x")) == OK

    assert node.topic("t").depth == 1


def test_listener_tells_its_real_port(node: nsqlite.Node) -> None:
    """Port 0 is any free one, and the one that was got is known, and shown."""
    with nsqlite.net.listen(node, tcp_address=ANY_PORT) as listener:
        host, port = listener.tcp_address

        assert host == "127.0.0.1"
        assert port > 0
        assert str(port) in repr(listener)
        assert listener.options.tcp_address == ANY_PORT


def test_publisher_inside_reaches_consumers_outside() -> None:
    """What the process publishes goes to who is connected, without a wait."""
    with rigged() as rig:
        client = rig.subscriber("t", "c", rdy=1)

        ids = [rig.node.topic("t").publish(b"from inside")]

        assert [client.message()] == [(ids[0], b"from inside")]
        client.send(fin(*ids))
        rig.until(lambda: rig.node.topic("t").channel("c").in_flight_count == 0)


def test_publisher_outside_reaches_consumers_inside(node: nsqlite.Node) -> None:
    """A receiver in the process that waits is woken by a client's publish."""
    channel = node.topic("t").channel("c")
    with nsqlite.net.listen(node, tcp_address=ANY_PORT) as listener:
        receiver = Caller(channel.receive)

        assert ask(listener.tcp_address, pub("t", b"from outside")) == OK

        assert receiver.outcome().body == b"from outside"


def test_consumers_inside_and_outside_share_a_channel() -> None:
    """Each message goes to one of them."""
    with rigged() as rig:
        channel = rig.node.topic("t").channel("c")
        client = rig.subscriber("t", "c", rdy=1)
        rig.settle()

        rig.node.publish_many("t", [b"a", b"b"])

        found = [*bodies(client, 1), channel.receive(timeout=0).body]
        assert sorted(found) == [b"a", b"b"]


def test_two_listeners_share_a_node(node: nsqlite.Node, tmp_path: Path) -> None:
    """They are each on their own address, and their clients see the same topics."""
    with (
        nsqlite.net.listen(node, tcp_address=ANY_PORT) as first,
        nsqlite.net.listen(node, tcp_address=str(tmp_path / "nsq.sock")) as second,
    ):
        publisher, consumer = Client(first.tcp_address), Client(second.tcp_address)
        assert publisher.ask(pub("t", b"x")) == OK
        assert consumer.ask(b"SUB t c\n") == OK
        consumer.send(b"RDY 1\n")
        assert bodies(consumer, 1) == [b"x"]
        assert publisher.ask(pub("t", b"y")) == OK
        assert consumer.ask(pub("u", b"z")) == OK
        assert len(node.stats().producers) == 2

        publisher.close()
        consumer.close()


def test_listener_leaves_no_thread_behind(node: nsqlite.Node) -> None:
    """One thread while it listens, none after, whatever was under way, again and again."""
    before = threads()
    for _ in range(3):
        listener = nsqlite.net.listen(node, tcp_address=ANY_PORT)
        client = Client(listener.tcp_address)
        assert client.ask(b"SUB t c#ephemeral\n") == OK
        assert set(threads()) - set(before) >= {"nsqlite-listener"}
        client.close()

        listener.close()

        for thread in threading.enumerate():
            if thread.name.startswith("nsqlite-aio"):
                thread.join(20)
        assert set(threads()) <= set(before)


def test_listener_is_closed_twice_without_harm(node: nsqlite.Node) -> None:
    """The second time does nothing, from whichever thread, and when its node is closed as well."""
    listener = nsqlite.net.listen(node, tcp_address=ANY_PORT)

    callers = [Caller(listener.close) for _ in range(3)]
    for caller in callers:
        caller.outcome()
    listener.close()
    node.check()
    node_too = nsqlite.open()
    other = nsqlite.net.listen(node_too, tcp_address=ANY_PORT)
    node_too.close()
    other.close()
    other.close()


def test_node_outlives_its_listener(node: nsqlite.Node) -> None:
    """Closing a listener closes no node, and another one may follow on the same address."""
    with nsqlite.net.listen(node, tcp_address=ANY_PORT) as first:
        address = "{}:{}".format(*first.tcp_address)
        assert ask(first.tcp_address, pub("t", b"x")) == OK

    assert node.topic("t").depth == 1
    with nsqlite.net.listen(node, tcp_address=address) as second:
        assert ask(second.tcp_address, pub("t", b"x")) == OK


# -- what is refused -----------------------------------------------------------------------


def test_address_in_use_is_refused(node: nsqlite.Node) -> None:
    """By its name, and nothing is left of the attempt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())

        with pytest.raises(ListenError, match=address) as caught:
            nsqlite.net.listen(node, tcp_address=address)

    assert isinstance(caught.value, OSError)
    assert "nsqlite-listener" not in threads()
    assert node.engine.producers == []


@pytest.mark.parametrize("address", ["no.such.host.invalid:0", "/no/such/folder/nsq.sock"])
def test_address_that_cannot_be_had_is_refused(node: nsqlite.Node, address: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ListenError, match=address):
        nsqlite.net.listen(node, tcp_address=address)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"tcp_addres": ANY_PORT}, "tcp_addres"),
        ({"msg_timeout": 5.0}, "msg_timeout"),
        ({"tcp_address": "127.0.0.1:65536"}, "tcp_address"),
        ({"tcp_address": 4150}, "tcp_address"),
        ({"max_connections": -1}, "max_connections"),
        ({"options": {"tcp_address": ANY_PORT}}, "options"),
        ({"uvloop": "yes"}, "uvloop"),
    ],
)
def test_option_that_is_none_is_named(node: nsqlite.Node, options: dict[str, Any], named: str) -> None:
    """Neither a name that is no option nor a value out of its range is passed over."""
    with pytest.raises(InvalidOptionError) as caught:
        nsqlite.net.listen(node, **options)
    with pytest.raises(InvalidOptionError):
        nsqlite.net.serve(node, **options)

    assert caught.value.option == named
    assert "nsqlite-listener" not in threads()


def test_single_options_go_over_all_at_once(node: nsqlite.Node) -> None:
    """Options may be shared, and differ in one."""
    shared = nsqlite.net.ListenerOptions(tcp_address="192.0.2.1:1", max_connections=7)

    with nsqlite.net.listen(node, options=shared, tcp_address=ANY_PORT) as listener:
        assert listener.options.max_connections == 7
        assert listener.tcp_address[0] == "127.0.0.1"


def test_closed_node_is_not_listened_at(tmp_path: Path) -> None:
    """Its clients could be told nothing."""
    node = nsqlite.open()
    node.close()

    with pytest.raises(NsqliteError):
        nsqlite.net.listen(node, tcp_address=ANY_PORT)
