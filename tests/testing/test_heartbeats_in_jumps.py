"""Clients live on real time, and the server of a test on time that jumps: who is taken for dead, and who is not."""

import threading

from nsqlite.testing import Clock, Nsqd
from tests.net.rig import OK
from tests.testing.raw import Connect, pub

HEARTBEAT = (0, b"_heartbeat_")
INTERVAL_SECONDS = 30.0  # what a client has that asks for nothing else


def test_a_jump_of_hours_drops_nobody(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """A client that was never asked for a sign of life is not dead, however far time has moved."""
    client = connect()
    assert client.ask(pub("orders", b"one")) == OK

    nsq_clock.advance(4 * 3600)

    assert client.frame() == HEARTBEAT
    assert client.ask(b"NOP\n" + pub("orders", b"two")) == OK


def test_a_client_that_is_still_connecting_is_spared(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """Time may move while a client is about to introduce itself."""
    client = connect()

    nsq_clock.advance(3600)
    client.send(pub("orders", b"one"))

    nsqd.wait_for("orders")


def test_who_answers_lives_through_any_number_of_jumps(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """The clock waits, in real time, for the answer that a client owes, before it moves on."""
    client = connect()
    assert client.ask(pub("orders", b"one")) == OK

    def answer() -> None:
        for _ in range(5):
            assert client.frame() == HEARTBEAT
            client.send(b"NOP\n")

    answering = threading.Thread(target=answer)
    answering.start()

    for _ in range(5):
        nsq_clock.advance(10 * INTERVAL_SECONDS)

    answering.join()
    assert client.ask(pub("orders", b"two")) == OK


def test_who_ignores_a_heartbeat_is_dropped(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """One interval after a heartbeat that is not answered the connection ends, as nsqd ends it."""
    client = connect()
    assert client.ask(pub("orders", b"one")) == OK

    nsq_clock.advance(INTERVAL_SECONDS)
    assert client.frame() == HEARTBEAT
    nsq_clock.advance(INTERVAL_SECONDS)

    assert client.rest() == b""
