"""A publish that cannot be kept is refused, after it has waited for room; a closed node refuses everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import GatedStorage, open_gated
from tests.interop.transcripts.wire import dpub, mpub, pub
from tests.net.client import bodies, fin, is_silent
from tests.net.rig import ERROR, OK, Client, Rig, rigged

MIB = 1 << 20
BODY = b"x" * 100_000
PUBLISHES = {"PUB": pub("t", BODY), "MPUB": mpub("t", BODY, BODY), "DPUB": dpub("t", 1000, BODY)}
FULL_TIMEOUT = 5.0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Rig, GatedStorage, Client]]:
    """A listener at a node without room, the gate that keeps room from being made, and a client that waits."""
    clock = AttendedClock()
    node, storage = open_gated(
        tmp_path / "store", clock, "commit", max_journal_bytes=4 * MIB, full_timeout=FULL_TIMEOUT
    )
    node.topic("t").channel("c")
    with rigged(node, clock) as rig:
        client = rig.connect()
        peer = rig.only_peer()
        storage.settle_gate.shut()
        for number in range(1000):
            client.send(pub("t", b"%04d" % number + BODY))
            rig.until(lambda: peer.is_busy or not is_silent(client))
            if peer.is_busy:
                break
            assert client.frame() == OK
        clock.await_thread("nsqlite-aio", FULL_TIMEOUT)
        yield rig, storage, client
        storage.settle_gate.open()


def test_publish_waits_for_room(full: tuple[Rig, GatedStorage, Client]) -> None:
    """Once a settlement has made room the publish is answered, and it was made once."""
    rig, storage, client = full
    channel = rig.node.topic("t").channel("c")
    count = channel.depth

    storage.settle_gate.open()

    assert client.frame() == OK
    assert channel.depth == count + 1


def test_publish_that_waited_in_vain_is_refused(full: tuple[Rig, GatedStorage, Client]) -> None:
    """After full_timeout the client is told, by its own code, and the connection ends; the node goes on."""
    rig, storage, client = full
    rig.advance(FULL_TIMEOUT)

    kind, data = client.frame()

    assert kind == ERROR
    assert data.startswith(b"E_PUB_FAILED PUB failed the store is full (")
    assert client.rest() == b""
    storage.settle_gate.open()
    assert rig.connect().ask(pub("t", b"again")) == OK


def test_consumers_go_on_while_a_publisher_waits(full: tuple[Rig, GatedStorage, Client]) -> None:
    """What makes room, receiving and finishing, waits for none, and neither does a new consumer."""
    rig, _, client = full
    consumer = rig.subscriber("t", "c", rdy=1)

    for number in range(20):
        message_id, body = consumer.message()
        consumer.send(fin(message_id))

        assert int(body[:4]) == number
    assert is_silent(client)


@pytest.mark.parametrize("name", PUBLISHES)
def test_full_memory_refuses_at_once(name: str) -> None:
    """At "memory" nothing could make room but the client's own consumers, so it is told at once."""
    clock = nsqlite.VirtualClock()
    with rigged(nsqlite.open(clock=clock, max_store_bytes=4 * MIB), clock) as rig:
        client = rig.connect()
        answer = OK
        for _ in range(100):
            answer = client.ask(PUBLISHES[name])
            if answer != OK:
                break

        assert answer[0] == ERROR
        assert answer[1].startswith(f"E_{name}_FAILED {name} failed the store is full (".encode())
        assert client.rest() == b""
        rig.node.topic("t").empty()
        assert rig.connect().ask(PUBLISHES[name]) == OK


@pytest.mark.parametrize(
    "command, answer",
    [
        (pub("t", b"x"), b"E_PUB_FAILED PUB failed exiting"),
        (mpub("t", b"x", b"y"), b"E_MPUB_FAILED MPUB failed exiting"),
        (dpub("t", 5, b"x"), b"E_DPUB_FAILED DPUB failed exiting"),
        (pub("new", b"x"), b"E_PUB_FAILED PUB failed exiting"),
        (mpub("new", b"x"), b"E_MPUB_FAILED MPUB failed exiting"),
        (b"SUB t c\n", b"E_SUB_FAILED SUB failed exiting"),
    ],
)
def test_closed_node_refuses_by_its_word(command: bytes, answer: bytes) -> None:
    """A node that was closed before its listener tells so in nsqd's word, and lets the client go."""
    with rigged() as rig:
        client = rig.connect()
        assert client.ask(pub("t", b"x")) == OK
        rig.node.close()

        assert client.ask(command) == (ERROR, answer)
        assert client.rest() == b""


def test_closed_node_lets_its_consumers_go() -> None:
    """Without a word, whether they wait, are at their ceiling or answer this moment."""
    with rigged() as rig:
        waiting, full, answering = rig.subscriber("t", "a", rdy=5), rig.subscriber(rdy=1), rig.subscriber(rdy=1)
        rig.node.publish_many("t", [b"x"] * 2)
        held, _ = answering.message()
        full.message()
        rig.settle()
        rig.advance(0.25)
        assert len(bodies(waiting, 2)) == 2

        rig.node.close()
        answering.try_send(fin(held))

        assert [each.rest() for each in (waiting, full, answering)] == [b""] * 3
        assert rig.lines == []
