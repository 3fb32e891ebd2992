"""Clients live on real time, and the server of a test on time that jumps: who is taken for dead, and who is not."""

import asyncio
import threading

import pytest

from nsqlite.testing import Clock, Nsqd
from tests.net.rig import OK
from tests.testing.pynsq_client import reading
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


@pytest.mark.nsq(topics=["orders:billing"])
async def test_a_client_in_the_loop_that_moves_time_is_spared(nsqd: Nsqd, nsq_clock: Clock) -> None:
    """It cannot answer while time is moved, so it is not dropped for that; it takes messages afterwards."""
    async with reading(nsqd.tcp_address) as reader:
        while await reader.hear() != ("ready", None):
            pass

        for _ in range(3):
            nsq_clock.advance(3600)
        nsqd.publish("orders", b"7")

        while (told := await reader.hear())[0] == "heartbeat":
            pass
        assert told == ("message", (b"7", 1))
        assert [each.number for each in nsqd._server.nsqd.peers()] == [1]  # type: ignore[union-attr]


async def test_who_had_real_time_to_answer_is_dropped(
    nsqd: Nsqd, nsq_clock: Clock, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat that was not answered, though the loop was free for long enough, ends the connection."""
    client = connect()
    assert client.ask(pub("orders", b"one")) == OK
    nsq_clock.advance(INTERVAL_SECONDS)
    nsq_clock.advance(INTERVAL_SECONDS)
    assert client.frame() == HEARTBEAT
    assert client.ask(pub("orders", b"two")) == HEARTBEAT  # and lives
    assert client.frame() == OK
    nsq_clock.advance(INTERVAL_SECONDS)
    assert client.frame() == HEARTBEAT
    await asyncio.sleep(0)
    monkeypatch.setattr("nsqlite.testing.faulty_peer.ANSWER_SECONDS", 0.0)

    nsq_clock.advance(INTERVAL_SECONDS)

    assert client.rest() == b""


def test_who_ignores_a_heartbeat_is_dropped(nsqd: Nsqd, nsq_clock: Clock, connect: Connect) -> None:
    """One interval after a heartbeat that is not answered the connection ends, as nsqd ends it."""
    client = connect()
    assert client.ask(pub("orders", b"one")) == OK

    nsq_clock.advance(INTERVAL_SECONDS)
    assert client.frame() == HEARTBEAT
    nsq_clock.advance(INTERVAL_SECONDS)

    assert client.rest() == b""
