"""Consumers that do not read, do not answer, or lose what they stand on: the others get the messages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsqlite.net.peer import WRITE_HIGH_BYTES
from nsqlite.net.subscription import BUDGET_BYTES
from tests.interop.transcripts.wire import pub
from tests.net.rig import ERROR, HEARTBEAT, MESSAGE, OK, Client, Rig, rigged

ID_UNKNOWN = b"0123456789abcdef"
BODY = b"x" * 5000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A listener on a unix socket, whose buffers are small and do not grow, in either loop."""
    with rigged(uvloop=request.param, tcp_address=str(tmp_path / "nsq.sock")) as made:
        yield made


def drained(rig: Rig, count: int, channel: str = "c") -> set[bytes]:
    """The ids of so many messages, finished by a consumer that behaves."""
    client = rig.subscriber("t", channel, rdy=1)
    found = set()
    while len(found) < count:
        kind, data = client.frame()
        if kind == MESSAGE:
            found.add(data[10:26])
            client.send(b"FIN " + data[10:26] + b"\n")
    client.close()
    rig.settle()
    return found


def is_choked(rig: Rig) -> bool:
    """Whether some socket takes nothing any more."""
    return any(peer.is_choked for peer in rig.peers())


def test_consumer_that_never_reads_is_given_what_its_socket_takes(rig: Rig) -> None:
    """It holds one budget of messages beyond the socket's buffers, is let go, and others get all of them."""
    topic = rig.node.topic("t")
    topic.channel("c")
    deaf = rig.subscriber("t", "c", rdy=2500)
    topic.publish_many([BODY] * 1000)
    rig.until(lambda: is_choked(rig))
    rig.is_served()

    assert rig.held_bytes() <= WRITE_HIGH_BYTES + BUDGET_BYTES + len(BODY) + 100
    rig.advance(30)
    assert rig.peers() == []
    deaf.rest()
    rig.advance(30)
    assert len(drained(rig, 1000)) == 1000
    assert topic.channel("c").depth == 0
    assert rig.lines == []


def test_consumer_that_reads_again_goes_on(rig: Rig) -> None:
    """A socket that was full for less than a heartbeat interval costs nothing."""
    topic = rig.node.topic("t")
    topic.channel("c")
    slow = rig.subscriber("t", "c", rdy=2500)
    topic.publish_many([BODY] * 500)
    rig.until(lambda: is_choked(rig))
    rig.advance(29)

    found = {slow.message()[0] for _ in range(500)}

    assert len(found) == 500
    slow.send(b"".join(b"FIN " + each + b"\n" for each in found))
    rig.until(lambda: topic.channel("c").in_flight_count == 0)


def test_consumer_that_never_answers_loses_its_messages_to_the_others(rig: Rig) -> None:
    """What it holds comes again after its timeout, though it lives on and says NOP."""
    topic = rig.node.topic("t")
    topic.channel("c")
    mute = rig.subscriber("t", "c", rdy=10)
    topic.publish_many([b"%d" % number for number in range(10)])
    rig.advance(0.25)
    assert len({mute.message()[0] for _ in range(10)}) == 10
    mute.send(b"RDY 0\n")
    rig.advance(30)
    assert mute.frame() == HEARTBEAT
    mute.send(b"NOP\n")
    rig.advance(30)

    assert len(drained(rig, 10)) == 10
    assert mute.ask(b"FIN " + ID_UNKNOWN + b"\n")[0] in {0, ERROR}


@pytest.mark.parametrize("line", [b"FIN %s\n", b"REQ %s 0\n", b"TOUCH %s\n"])
def test_refusals_without_end_are_not_piled_up(rig: Rig, line: bytes) -> None:
    """A client that does not read why it is refused is not read any more."""
    rig.node.topic("t").channel("c")
    client = rig.subscriber("t", "c")
    flood = line % ID_UNKNOWN * 5000
    for _ in range(200):
        client.try_send(flood)
        rig.settle()
        if is_choked(rig) and client.try_send(flood) == 0:
            break
    rig.is_served()

    assert is_choked(rig)
    assert rig.held_bytes() < 4_000_000
    rig.advance(30)
    assert rig.peers() == []


def test_ids_of_others_are_looked_up_together(rig: Rig) -> None:
    """Who names a thousand messages that another one holds is told so for each, and nobody waits for it."""
    topic = rig.node.topic("t")
    topic.channel("c")
    holder = rig.subscriber("t", "c", rdy=2500)
    topic.publish_many([b"x"] * 1000)
    rig.advance(0.25)
    ids = [holder.message()[0] for _ in range(1000)]
    thief = rig.subscriber("t", "c")

    thief.send(b"".join(b"FIN " + each + b"\n" for each in ids))

    for each in ids:
        assert thief.frame() == (ERROR, b"E_FIN_FAILED FIN " + each + b" failed client does not own message")
    assert topic.channel("c").in_flight_count == 1000


@pytest.mark.parametrize("ending", [Client.close, Client.reset, Client.half_close])
def test_ephemeral_channel_goes_with_a_client_that_did_not_wait_for_it(
    rig: Rig, ending: Callable[[Client], None]
) -> None:
    """SUB and hang up at once: whether the channel was made by then or not, nothing of it stays."""
    for number in range(40):
        client = rig.connect()
        client.send(b"SUB t%d c#ephemeral\n" % number)
        ending(client)
    topics = rig.node.engine.broker.topics
    rig.until(lambda: len(topics) == 40 and all(peer.is_closing for peer in rig.peers()))

    rig.until(lambda: not any(topic.channels for topic in topics.values()))
    assert rig.lines == []


@pytest.mark.parametrize("rdy", [0, 1])
@pytest.mark.parametrize("what", ["topic", "channel"])
def test_deletion_lets_clients_go_without_a_frame(rig: Rig, what: str, rdy: int) -> None:
    """Whether they wait for a message or want none."""
    topic = rig.node.topic("t")
    topic.channel("c")
    client = rig.subscriber("t", "c", rdy=rdy)
    rig.settle()

    if what == "topic":
        rig.node.delete_topic("t")
    else:
        topic.delete_channel("c")

    assert client.rest() == b""
    rig.is_served()
    assert rig.lines == []


def test_answers_to_what_was_deleted_are_refused_one_by_one(rig: Rig) -> None:
    """A consumer that holds messages of an emptied channel hears so, and lives on."""
    topic = rig.node.topic("t")
    channel = topic.channel("c")
    client = rig.subscriber("t", "c", rdy=1)
    topic.publish(b"x")
    message_id, _ = client.message()

    channel.empty()

    for name in (b"FIN %s\n", b"REQ %s 0\n", b"TOUCH %s\n"):
        kind, payload = client.ask(name % message_id)
        assert (kind, payload.endswith(b"failed ID not in flight")) == (ERROR, True)
    topic.publish(b"y")
    assert client.message()[1] == b"y"


def test_pause_under_a_choked_consumer_keeps_the_rest(rig: Rig) -> None:
    """What it holds it may answer; what waits goes on when the channel does."""
    topic = rig.node.topic("t")
    channel = topic.channel("c")
    client = rig.subscriber("t", "c", rdy=2500)
    topic.publish_many([BODY] * 300)
    rig.until(lambda: is_choked(rig))
    channel.pause()
    taken = channel.in_flight_count
    assert 0 < taken < 300

    found = [client.message()[0] for _ in range(taken)]
    client.send(b"".join(b"FIN " + each + b"\n" for each in found))
    rig.until(lambda: channel.in_flight_count == 0)
    assert channel.depth == 300 - taken
    channel.unpause()
    rig.until(lambda: channel.depth == 0 or is_choked(rig))
    rig.advance(0.25)
    assert client.message()[1] == BODY


def test_half_close_of_a_consumer_keeps_what_it_had(rig: Rig) -> None:
    """It is let go as in nsqd, its answers are taken, and the rest comes again after its time."""
    topic = rig.node.topic("t")
    topic.channel("c")
    client = rig.subscriber("t", "c", rdy=2)
    topic.publish_many([b"a", b"b"])
    first, _ = client.message()
    client.message()
    client.send(b"FIN " + first + b"\n" + pub("t", b"c"))

    client.half_close()

    assert client.frame() == OK
    client.rest()
    assert topic.channel("c").in_flight_count + topic.channel("c").depth == 2
    rig.advance(60)
    assert len(drained(rig, 2)) == 2
