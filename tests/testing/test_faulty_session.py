"""Commands that fail, come late, or are done in vain, as a client meets it."""

import pytest

from nsqlite.testing import Clock, Nsqd, nsqd
from tests.net.client import attempts, fin, is_silent
from tests.net.rig import ERROR, OK, Client
from tests.testing.raw import Connect, connecting, identify, is_ended, is_reset, pub, sized, subscribed

COMMANDS = {
    "IDENTIFY": identify("shop"),
    "AUTH": b"AUTH\n" + sized(b"secret"),
    "SUB": b"SUB orders billing\n",
    "PUB": pub("orders", b"7"),
    "MPUB": b"MPUB orders\n" + sized(b"\0\0\0\1" + sized(b"7")),
    "DPUB": b"DPUB orders 1000\n" + sized(b"7"),
    "NOP": b"NOP\n",
}
OF_CONSUMERS = {
    "RDY": b"RDY 2\n",
    "FIN": b"FIN %s\n",
    "REQ": b"REQ %s 0\n",
    "TOUCH": b"TOUCH %s\n",
    "CLS": b"CLS\n",
}


@pytest.fixture
def holder(nsqd: Nsqd, connect: Connect) -> tuple[Client, bytes]:
    """A consumer that holds a message, and its id."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    return client, client.message()[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_fail_next_refuses_a_command(nsqd: Nsqd, connect: Connect, command: str) -> None:
    """The client reads an error frame with the code instead of its answer, and the connection closes."""
    client = connect()
    nsqd.fail_next(command, code="E_INVALID", message="not today")

    kind, data = client.ask(COMMANDS[command])

    assert (kind, data) == (ERROR, b"E_INVALID not today")
    assert client.rest() == b""
    nsqd.assert_faults_met()
    assert len(nsqd.history) == 0


@pytest.mark.parametrize("command", OF_CONSUMERS)
def test_fail_next_refuses_a_consumers_command(nsqd: Nsqd, holder: tuple[Client, bytes], command: str) -> None:
    """The same for what a consumer says; the message stays in its hands."""
    client, message_id = holder
    nsqd.fail_next(command, code="E_INVALID", topic="orders")

    request = OF_CONSUMERS[command]
    kind, data = client.ask(request % message_id if b"%s" in request else request)

    assert (kind, data.split()[0]) == (ERROR, b"E_INVALID")
    assert client.rest() == b""
    nsqd.assert_finished("orders", "billing", count=0)


@pytest.mark.parametrize("command", ["FIN", "REQ", "TOUCH"])
def test_fail_next_of_an_answer_leaves_the_connection(nsqd: Nsqd, holder: tuple[Client, bytes], command: str) -> None:
    """E_FIN_FAILED and its like are in nsqd's words, and the connection lives: a second answer is taken."""
    client, message_id = holder
    nsqd.fail_next(command)

    refused = client.ask(OF_CONSUMERS[command] % message_id)

    wanted = f"E_{command}_FAILED {command} {message_id.decode()} failed ID not in flight"
    assert refused == (ERROR, wanted.encode())
    client.send(fin(message_id))
    nsqd.wait_for("orders", "billing", "finished")


def test_fail_next_strikes_one_of_many_fins(nsqd: Nsqd, connect: Connect) -> None:
    """Of answers that come in one piece only as many fail as were to."""
    client = subscribed(connect(), rdy=5)
    nsqd.publish_many("orders", [b"%d" % number for number in range(5)])
    ids = [client.message()[0] for _ in range(5)]
    nsqd.fail_next("FIN", times=2)

    client.send(fin(*ids))
    nsqd.wait_for("orders", "billing", "finished", count=3)

    assert [client.frame()[1][17:33] for _ in range(2)] == ids[:2]
    nsqd.assert_finished("orders", "billing", bodies=[b"2", b"3", b"4"])


def test_fail_next_is_for_its_topic(nsqd: Nsqd, connect: Connect) -> None:
    """A fault of one topic passes by the others."""
    client = connect()
    nsqd.fail_next("PUB", topic="mail")

    assert client.ask(pub("orders", b"7")) == OK
    assert client.ask(pub("mail", b"7")) == (ERROR, b"E_PUB_FAILED PUB failed by the test")


@pytest.mark.parametrize("client", ["desk", 2])
def test_fail_next_is_for_its_client(nsqd: Nsqd, connect: Connect, client: str | int) -> None:
    """A fault of one client, by its client_id or the number of its connection, passes by the others."""
    shop, desk = connect(), connect()
    shop.ask(identify("shop"))
    desk.ask(identify("desk"))
    nsqd.fail_next("PUB", client=client)

    assert shop.ask(pub("orders", b"7")) == OK
    assert desk.ask(pub("orders", b"7"))[0] == ERROR
    assert [each.place.client_id for each in nsqd.faults_met] == ["desk"]


def finished_of_twenty(seed: int) -> list[bytes]:
    """Which of twenty messages are finished, when a FIN fails one time in two."""
    with nsqd(seed=seed) as server, connecting(server) as connect:
        client = subscribed(connect(), rdy=20)
        server.publish_many("orders", [b"%d" % number for number in range(20)])
        ids = [client.message()[0] for _ in range(20)]
        server.fail_next("FIN", times=None, probability=0.5)
        client.send(fin(*ids))
        server.settle()
        return [each.body for each in server.history.of("orders", "billing", "finished")]


def test_fail_next_by_chance_is_the_same_each_time() -> None:
    """With a probability, the seed says which commands of a connection fail."""
    once = finished_of_twenty(seed=3)

    assert 0 < len(once) < 20
    assert finished_of_twenty(seed=3) == once
    assert finished_of_twenty(seed=4) != once


def test_delay_next_answers_by_the_clock(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A slow command is carried out when its time has come, and what comes behind it waits."""
    client = connect()
    nsqd.delay_next("PUB", 20)
    client.send(pub("orders", b"slow") + pub("orders", b"next"))
    nsqd.wait_for_faults()

    nsqd.settle()
    assert is_silent(client)
    nsqd.assert_published("orders", count=0)

    nsq_clock.advance(20)

    assert [client.frame(), client.frame()] == [OK, OK]
    nsqd.assert_published("orders", bodies=[b"slow", b"next"])


def test_delayed_command_is_carried_out_for_who_has_gone(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A slow server has read what it has read: who does not wait, and says it again, has it done twice."""
    impatient = connect()
    nsqd.delay_next("PUB", 20)
    impatient.send(pub("orders", b"7"))
    nsqd.wait_for_faults()
    impatient.close()
    assert connect().ask(pub("orders", b"7")) == OK

    nsq_clock.advance(20)

    nsqd.wait_for("orders", count=2)


def test_delayed_command_is_carried_out_when_the_node_stops(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A node that ends in peace does not wait for a time that may never come."""
    client = connect()
    nsqd.delay_next("PUB", 3600)
    client.send(pub("orders", b"7"))
    nsqd.wait_for_faults()

    nsqd.stop()

    assert client.frame() == OK
    nsqd.start()
    nsqd.assert_published("orders", count=1)


def test_delayed_command_dies_with_the_node(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """What a node that is killed has not carried out never is."""
    client = connect()
    nsqd.delay_next("PUB", 20)
    client.send(pub("orders", b"7"))
    nsqd.wait_for_faults()

    nsqd.crash_and_restart()
    nsq_clock.advance(20)

    assert is_ended(client)
    nsqd.assert_published("orders", count=0)


@pytest.mark.parametrize("is_carried_out,count", [(True, 1), (False, 0)])
def test_dropped_command_was_carried_out_or_not(nsqd: Nsqd, connect: Connect, is_carried_out: bool, count: int) -> None:
    """Either only the answer is lost, or the command is, too; the client cannot tell."""
    client = connect()
    nsqd.drop_next("PUB", is_carried_out=is_carried_out)

    client.send(pub("orders", b"7") + pub("orders", b"8"))

    assert is_reset(client)
    nsqd.assert_published("orders", count=count)


def test_duplicate_next_delivers_what_was_finished(nsqd: Nsqd, holder: tuple[Client, bytes]) -> None:
    """A FIN is taken well, and the message comes again, counted as another attempt; its second FIN ends it."""
    client, message_id = holder
    nsqd.duplicate_next("orders", "billing")
    client.send(fin(message_id))

    again = client.frame()

    assert attempts(again) == 2
    assert again[1][10:26] == message_id
    client.send(fin(message_id))
    nsqd.wait_for("orders", "billing", "finished", count=2)
    nsqd.assert_empty()
    nsqd.assert_requeued("orders", "billing", count=0)


def test_duplicate_next_is_for_its_channel(nsqd: Nsqd, holder: tuple[Client, bytes]) -> None:
    """Another channel's messages are finished as ever."""
    client, message_id = holder
    nsqd.duplicate_next("orders", "audit")

    client.send(fin(message_id))

    nsqd.wait_for("orders", "billing", "finished")
    nsqd.assert_empty("orders", "billing")


def test_duplicate_of_what_is_not_held_is_refused(nsqd: Nsqd, holder: tuple[Client, bytes]) -> None:
    """A FIN that nsqd would refuse is refused."""
    client, _ = holder
    nsqd.duplicate_next()

    kind, data = client.ask(fin(b"0" * 16))

    assert (kind, data.split()[0]) == (ERROR, b"E_FIN_FAILED")
