"""Publishers that are faster than the disk, deaf to their answers, or gone: what was promised is there, once."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import nsqlite
from nsqlite.net.peer import READ_AHEAD_BYTES, WRITE_HIGH_BYTES
from tests.fakes.caller import Caller
from tests.fakes.gated import GatedStorage, open_gated
from tests.interop.transcripts.wire import mpub, pub, sized, u32
from tests.net.rig import ERROR, HEARTBEAT, MESSAGE, OK, Client, Rig, rigged

ONE_READ_BYTES = 256 * 1024
BODY = b"x" * 5000
LOOPS = pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
ENDINGS: list[Callable[[Client], None]] = [Client.close, Client.reset, Client.half_close]


@attrs.frozen
class Held:
    """A listener on a node whose disk waits until it is let go."""

    rig: Rig
    storage: GatedStorage


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Held]:
    """A node at "fsync" with a topic and a channel, its next sync held."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock)
    with rigged(node, clock, uvloop=request.param) as rig:
        node.topic("t").channel("c")
        node.sync()
        storage.sync_gate.shut()
        try:
            yield Held(rig, storage)
        finally:
            storage.sync_gate.open()


@LOOPS
def test_publisher_that_never_reads_its_answers_is_not_read_any_more(uvloop: bool, tmp_path: Path) -> None:
    """Its answers fill its socket, then it waits; what it was heard to say is published, once."""
    with rigged(uvloop=uvloop, tcp_address=str(tmp_path / "nsq.sock")) as rig:
        topic = rig.node.topic("t")
        client = rig.connect()
        flood = pub("t", b"x") * 5000
        sent = 0
        while any((each := client.try_send(flood[sent % len(flood) :]), rig.settle())) or not _is_choked(rig):
            sent += each
            assert sent < 100_000_000
        rig.is_served()

        held_bytes = sum(
            peer.connection.buffered_bytes + peer.transport.get_write_buffer_size() for peer in rig.peers()
        )
        assert held_bytes <= READ_AHEAD_BYTES + ONE_READ_BYTES + WRITE_HIGH_BYTES + 256 * 10
        depth = topic.depth
        assert 0 < depth <= sent // len(pub("t", b"x"))
        rig.advance(30)
        assert rig.peers() == []
        assert topic.depth == depth
        assert client.rest().count(b"OK") <= depth
        assert rig.lines == []


def _is_choked(rig: Rig) -> bool:
    return any(peer.is_choked for peer in rig.peers())


def test_publisher_faster_than_the_disk_waits_for_it(held: Held) -> None:
    """One command is under way; the rest stays in the socket, but for what is read ahead."""
    rig, topic = held.rig, held.rig.node.topic("t")
    client = rig.connect()
    flood = pub("t", BODY) * 400
    sent = client.try_send(flood)
    held.storage.sync_gate.await_arrival()
    for _ in range(20):
        sent += client.try_send(flood[sent:])
        rig.settle()
    assert rig.held_bytes() <= READ_AHEAD_BYTES + ONE_READ_BYTES
    assert topic.depth == 0

    held.storage.sync_gate.open()
    client.send(flood[sent:])

    assert [client.frame() for _ in range(400)] == [OK] * 400
    assert topic.channel("c").depth == 400


def test_others_are_served_while_the_disk_is_slow(held: Held) -> None:
    """A consumer gets what was there, answers, and hears its heartbeat while publishers wait."""
    rig = held.rig
    held.storage.sync_gate.open()
    consumer = rig.connect()
    assert consumer.ask(b"SUB t c\n") == OK
    assert consumer.ask(mpub("t", b"1", b"2", b"3")) == OK
    held.storage.sync_gate.shut()
    publishers = [rig.connect() for _ in range(20)]
    for each in publishers:
        each.send(pub("t", b"x") * 3)
    held.storage.sync_gate.await_arrival()

    consumer.send(b"RDY 1\n")
    for expected in (b"1", b"2", b"3"):
        message_id, body = consumer.message()
        assert body == expected
        consumer.send(b"FIN " + message_id + b"\n")
    rig.advance(30)
    assert [each.frame() for each in (consumer, *publishers)] == [HEARTBEAT] * 21

    held.storage.sync_gate.open()
    assert [each.frame() for each in publishers for _ in range(3)] == [OK] * 60


def test_waiting_for_the_disk_is_not_silence(held: Held) -> None:
    """A publisher whose command is under way is not let go, however long that takes."""
    client = held.rig.connect()
    client.send(pub("t", b"x"))
    held.storage.sync_gate.await_arrival()
    for _ in range(10):
        held.rig.advance(60)

    held.storage.sync_gate.open()

    frames = iter(client.frame, OK)
    assert set(frames) == {HEARTBEAT}


@pytest.mark.parametrize("ending", ENDINGS)
def test_publisher_that_goes_during_the_sync_has_published(held: Held, ending: Callable[[Client], None]) -> None:
    """What it said whole is kept whether it is there to be told or not; what it said by half is not."""
    clients = [held.rig.connect() for _ in range(5)]
    for client in clients:
        client.send(pub("t", b"x"))
    held.storage.sync_gate.await_arrival()
    held.rig.settle()
    for client in clients:
        client.send(pub("t", b"y")[:-1])
        ending(client)
    held.rig.settle()

    held.storage.sync_gate.open()

    held.rig.until(lambda: held.rig.node.topic("t").channel("c").depth == 5)
    for client in clients if ending is Client.half_close else []:
        assert client.frame() == OK
        assert client.frame() == (ERROR, b"E_BAD_MESSAGE PUB failed to read message body")
        client.close()
    held.rig.until(lambda: not held.rig.peers())


def test_listener_that_closes_during_the_sync_answers_first(held: Held) -> None:
    """Closing waits for what was read: it is on the disk, and the client hears so before the end."""
    client = held.rig.connect()
    client.send(pub("t", b"x") * 3)
    held.storage.sync_gate.await_arrival()
    closing = Caller(held.rig.listener.close)
    held.rig.until(lambda: not held.rig.server._binding.is_open)

    held.storage.sync_gate.open()

    assert [client.frame() for _ in range(3)] == [OK] * 3
    assert client.rest() == b""
    closing.outcome()
    assert held.rig.node.topic("t").channel("c").depth == 3


def test_disk_that_fails_is_told_to_who_published(held: Held) -> None:
    """Each that shared the failed sync hears E_PUB_FAILED, and its message is nowhere."""
    held.storage.failing_syncs = 1
    clients = [held.rig.connect() for _ in range(3)]
    for client in clients:
        client.send(pub("t", b"x"))
    held.storage.sync_gate.await_arrival()
    held.rig.settle()
    held.storage.sync_gate.open()

    frames = [client.frame() for client in clients]

    told = [frame for frame in frames if frame[0] == ERROR]
    assert told
    assert all(payload.startswith(b"E_PUB_FAILED PUB failed ") for _, payload in told)
    assert held.rig.node.topic("t").channel("c").depth == frames.count(OK)
    held.rig.is_served()


def test_batch_that_waits_for_the_disk_is_held_a_bounded_number_of_times(held: Held) -> None:
    """Tiny messages are the worst: each is a body and a frame, in all some twenty times what came."""
    whole = mpub("t", *[b"ab"] * 20_000)
    client = held.rig.connect()
    held.rig.settle()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        client.send(whole)
        held.storage.sync_gate.await_arrival()
        held.rig.settle()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most - before < 25 * len(whole)


@LOOPS
def test_topic_that_is_deleted_under_half_a_batch_is_made_anew(uvloop: bool) -> None:
    """The batch is published to the topic of that name, which is another one."""
    with rigged(uvloop=uvloop) as rig:
        rig.node.topic("t").publish(b"old")
        client = rig.connect()
        whole = mpub("t", b"a", b"b")
        client.send(whole[:-1])
        rig.settle()

        rig.node.delete_topic("t")

        assert client.ask(whole[-1:]) == OK
        assert rig.node.topic("t").depth == 2


@LOOPS
def test_publishers_and_consumers_that_come_and_go_lose_nothing(uvloop: bool) -> None:
    """Two hundred connections that each publish, consume one message without an answer, and break off."""
    with rigged(uvloop=uvloop) as rig:
        topic = rig.node.topic("t")
        topic.channel("c")
        for number in range(100):
            publisher, consumer = rig.connect(), rig.subscriber("t", "c", rdy=1)
            assert publisher.ask(b"PUB t\n" + sized(b"%d" % number)) == OK
            publisher.send(b"PUB t\n" + u32(50))
            publisher.reset()
            assert consumer.frame()[0] == MESSAGE
            consumer.reset()
        rig.until(lambda: not rig.peers())
        rig.advance(60)

        assert topic.channel("c").depth == 100
