"""A server says that it lives, and lets go of clients that do not."""

from pathlib import Path

import pytest

import nsqlite
from tests.fakes.gated import open_gated
from tests.interop.transcripts.wire import identify, pub
from tests.net.client import choke, frames, identified, is_silent
from tests.net.rig import ERROR, HEARTBEAT, MESSAGE, OK, RESPONSE, Client, Rig, rigged


def connect(rig: Rig, milliseconds: int = 1000) -> Client:
    """A client with an interval of its own."""
    return identified(rig, identify(heartbeat_interval=milliseconds))


def lives_for(rig: Rig, client: Client, seconds: int) -> bool:
    """Whether a client that says nothing more is let go after so long, and neither earlier nor with a word."""
    rig.advance(seconds - 0.001)
    while not is_silent(client):
        if client.frame() != HEARTBEAT:
            return False
    rig.advance(0.001)
    return not is_silent(client) and client.rest() == b""


# -- heartbeats ----------------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [1000, 2500, 60_000])
def test_heartbeats_come_at_the_agreed_interval(milliseconds: int) -> None:
    """The first one an interval after IDENTIFY, then one each, however much else is said."""
    with rigged() as rig:
        client = connect(rig, milliseconds)

        for _ in range(4):
            rig.advance(milliseconds / 1000 - 0.001)
            is_early = not is_silent(client)
            rig.advance(0.001)

            assert not is_early
            assert client.frame() == HEARTBEAT
            client.send(b"NOP\n")


def test_heartbeats_come_every_thirty_seconds_unasked() -> None:
    """Who never identified is treated like everybody."""
    with rigged() as rig:
        client = rig.connect()
        rig.advance(29.999)
        is_early = not is_silent(client)

        rig.advance(0.001)

        assert not is_early
        assert client.frame() == HEARTBEAT


def test_commands_do_not_put_heartbeats_off() -> None:
    """They come by the clock, whatever the client sends meanwhile."""
    with rigged() as rig:
        client = connect(rig)
        for _ in range(9):
            rig.advance(0.1)
            assert client.ask(pub("t", b"x")) == OK

        rig.advance(0.1)

        assert client.frame() == HEARTBEAT


def test_heartbeats_that_were_missed_are_not_made_up_for() -> None:
    """A server that was away for long says once that it lives."""
    with rigged() as rig:
        client = connect(rig)

        rig.advance(1.95)

        assert client.frame() == HEARTBEAT
        assert is_silent(client)
        client.send(b"NOP\n")
        rig.advance(0.05)
        assert client.frame() == HEARTBEAT


def test_nothing_is_sent_before_the_magic() -> None:
    """A heartbeat could be taken for anything by who has not said what he speaks."""
    with rigged() as rig:
        client = rig.connect(magic=False)

        rig.advance(59.999)

        assert is_silent(client)


# -- silence -------------------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [1000, 60_000])
def test_silent_client_is_let_go(milliseconds: int) -> None:
    """After two intervals without a command the connection ends without a word."""
    with rigged() as rig:
        client = connect(rig, milliseconds)
        rig.advance(milliseconds / 1000)
        assert client.frame() == HEARTBEAT

        rig.advance(milliseconds / 1000 - 0.001)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert client.rest() == b""


def test_client_that_never_speaks_is_let_go() -> None:
    """Not even a magic within two intervals of thirty seconds."""
    with rigged() as rig:
        client = rig.connect(magic=False)

        rig.advance(60)

        assert client.rest() == b""


def test_every_command_begins_the_wait_anew() -> None:
    """A client lives two intervals from its last command on, whatever that was."""
    with rigged() as rig:
        client = connect(rig)
        assert client.ask(b"SUB t c\n") == OK
        for line in (b"NOP\n", b"RDY 5\n", b"FIN 0123456789abcdef\n", b"REQ 0123456789abcdef 0\n"):
            rig.advance(1.9)
            client.send(line)
        rig.settle()
        while not is_silent(client):
            assert client.frame()[0] in {RESPONSE, ERROR}

        assert lives_for(rig, client, 2)


def test_part_of_a_command_is_no_sign_of_life() -> None:
    """Who sends a byte now and then, and never a whole command, is silent."""
    with rigged() as rig:
        client = connect(rig)
        for byte in b"NOP NOP NOP NOP NOP":
            client.send(bytes([byte]))
            rig.advance(0.1)

        rig.advance(0.1)

        assert client.frame() == HEARTBEAT
        assert client.rest() == b""


def test_half_a_body_is_named_when_its_time_is_over() -> None:
    """A command that began and did not come to its end is answered with what is missing."""
    with rigged() as rig:
        client = connect(rig)
        client.send(pub("t", b"0123456789")[:-1])

        rig.advance(1)
        rig.advance(1)

        assert client.frame() == HEARTBEAT
        assert client.frame() == (ERROR, b"E_BAD_MESSAGE PUB failed to read message body")
        assert client.rest() == b""


def test_without_heartbeats_silence_is_fine() -> None:
    """Who turns them off stays for ever."""
    with rigged() as rig:
        client = connect(rig, -1)

        rig.advance(100_000)

        assert is_silent(client)
        assert client.ask(pub("t", b"x")) == OK


def test_identify_again_begins_the_wait_with_its_interval() -> None:
    """The last interval that was agreed on holds."""
    with rigged() as rig:
        client = connect(rig, 1000)
        rig.advance(0.5)
        assert client.ask(identify(heartbeat_interval=3000)) == OK

        rig.advance(2.999)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert client.frame() == HEARTBEAT


# -- the server's own time -----------------------------------------------------------------


def test_waiting_for_the_disk_is_not_held_against_a_client(tmp_path: Path) -> None:
    """While a publish is synced the client is not silent, and hears that the server lives, once a time."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("t")
    with rigged(node, clock) as rig:
        client = connect(rig)
        storage.sync_gate.shut()
        client.send(pub("t", b"x"))
        rig.settle()
        storage.sync_gate.await_arrival()

        for seconds in (1, 1, 5):
            rig.advance(seconds)
        storage.sync_gate.open()

        assert frames(client, 4) == [HEARTBEAT] * 3 + [OK]
        assert lives_for(rig, client, 2)


# -- stuck clients -------------------------------------------------------------------------


def test_client_that_does_not_read_is_given_up() -> None:
    """A socket that has taken nothing for an interval is closed, with what it was to take."""
    with rigged() as rig:
        client = connect(rig, 5000)
        assert client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 2500\n")
        rig.settle()
        choke(rig, client)
        client.send(b"NOP\n" * 10)

        rig.advance(4.999)
        is_early = rig.peers() == []
        rig.advance(0.001)

        assert not is_early
        assert rig.peers() == []
        rig.is_served()


def test_client_that_reads_again_lives_on() -> None:
    """Once it has taken something, it has two intervals as everybody."""
    with rigged() as rig:
        client = connect(rig, 5000)
        assert client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 2500\n")
        rig.settle()
        choke(rig, client)
        count = rig.node.topic("t").channel("c").in_flight_count
        rig.advance(4.9)

        while count:
            kind, _ = client.frame()
            count -= kind == MESSAGE

        assert lives_for(rig, client, 10)
