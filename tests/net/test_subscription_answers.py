"""A client's answers find what it holds; when it goes, others get it in time."""

from collections.abc import Callable

import pytest

import nsqlite
from tests.interop.transcripts.wire import UNKNOWN_ID
from tests.net.client import attempts, bodies, fin, is_silent
from tests.net.rig import ERROR, Rig, rigged

# -- answers in ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["FIN {} ", "REQ {} 0", "TOUCH {}"])
def test_refusal_tells_whose_a_message_is(command: str) -> None:
    """An id that nobody holds, and one that another client holds, are refused in different words."""
    with rigged() as rig:
        holder, other = rig.subscriber(rdy=1), rig.subscriber()
        rig.node.publish("t", b"x")
        held, _ = holder.message()
        name = command.split(maxsplit=1)[0]

        for message_id, why in ((UNKNOWN_ID, "ID not in flight"), (held, "client does not own message")):
            answer = other.ask(command.format(message_id.decode()).rstrip().encode() + b"\n")

            assert answer == (ERROR, f"E_{name}_FAILED {name} {message_id.decode()} failed {why}".encode())


def test_many_answers_in_one_piece_are_each_answered_for() -> None:
    """Of FINs that came together those that fail are named, in order, and the others hold."""
    with rigged() as rig:
        client = rig.subscriber(rdy=10)
        rig.node.publish_many("t", [b"x"] * 10)
        held = [client.message()[0] for _ in range(10)]

        client.send(fin(*held[:5], UNKNOWN_ID, *held[3:8], UNKNOWN_ID[::-1], *held[8:]))

        named = [client.frame()[1].split()[2] for _ in range(4)]
        assert named == [UNKNOWN_ID, held[3], held[4], UNKNOWN_ID[::-1]]
        channel = rig.node.topic("t").channel("c")
        assert (channel.in_flight_count, channel.depth) == (0, 0)


def test_touch_keeps_a_message() -> None:
    """A touched message comes again a whole timeout after the touch."""
    clock = nsqlite.VirtualClock()
    with rigged(nsqlite.open(clock=clock, msg_timeout=10), clock) as rig:
        client = rig.subscriber(rdy=1)
        rig.node.publish("t", b"x")
        held, _ = client.message()
        rig.advance(9)
        client.send(b"TOUCH " + held + b"\n")

        rig.advance(9.999)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert attempts(client.frame()) == 2


# -- the end -------------------------------------------------------------------------------


def test_lost_clients_messages_stay_in_flight_until_their_time() -> None:
    """Whoever hangs up keeps what it held until the timeout, and then it comes to the next."""
    with rigged() as rig:
        lost = rig.subscriber(rdy=1)
        rig.node.publish_many("t", [b"held", b"waiting"])
        lost.message()
        lost.close()
        rig.until(lambda: not rig.peers())
        rig.advance(1)
        channel = rig.node.topic("t").channel("c")

        assert (channel.depth, channel.in_flight_count) == (1, 1)
        rig.advance(58)
        other = rig.subscriber(rdy=1)
        message_id, body = other.message()
        assert body == b"waiting"
        other.send(fin(message_id))
        rig.advance(1)
        assert bodies(other, 1) == [b"held"]


def test_lost_client_waits_no_more() -> None:
    """A message that comes behind it goes to who is there."""
    with rigged() as rig:
        lost, other = rig.subscriber(rdy=1), rig.subscriber(rdy=1)
        rig.settle()
        lost.close()
        rig.until(lambda: len(rig.peers()) == 1)

        rig.node.publish("t", b"x")

        assert bodies(other, 1) == [b"x"]


def test_ephemeral_channel_goes_with_its_last_client() -> None:
    """One client more keeps it; without any it is gone, and so is an ephemeral topic without channels."""
    with rigged() as rig:
        clients = [rig.subscriber("t#ephemeral", "c#ephemeral") for _ in range(2)]

        clients[0].close()
        rig.until(lambda: len(rig.peers()) == 1)
        rig.settle()
        assert rig.node.topic("t#ephemeral").channels == ["c#ephemeral"]

        clients[1].close()
        rig.until(lambda: rig.node.topics == [])


def test_lasting_channel_outlives_its_clients() -> None:
    """What is not ephemeral waits for the next client."""
    with rigged() as rig:
        rig.subscriber().close()
        rig.until(lambda: not rig.peers())

        assert rig.node.topic("t").channels == ["c"]


def gone_topic(rig: Rig) -> None:
    """Delete the topic."""
    rig.node.delete_topic("t")


def gone_channel(rig: Rig) -> None:
    """Delete the channel."""
    rig.node.topic("t").delete_channel("c")


@pytest.mark.parametrize("delete", [gone_topic, gone_channel])
@pytest.mark.parametrize("rdy", [None, 0, 1, 5])
def test_clients_of_what_is_deleted_are_let_go(delete: Callable[[Rig], None], rdy: int | None) -> None:
    """Whatever their RDY, at their ceiling or not, and without a word."""
    with rigged() as rig:
        client = rig.subscriber(rdy=rdy)
        rig.node.publish("t", b"x")
        if rdy == 1:
            client.message()
        rig.settle()
        if rdy == 5:
            rig.advance(0.25)
            client.message()

        delete(rig)

        assert client.rest() == b""
        rig.is_served()


def test_paused_channel_keeps_its_messages() -> None:
    """Nothing comes while it is paused; then all of it."""
    with rigged() as rig:
        client = rig.subscriber(rdy=2)
        channel = rig.node.topic("t").channel("c")
        channel.pause()
        rig.node.publish_many("t", [b"a", b"b"])
        rig.settle()
        is_early = not is_silent(client)

        channel.unpause()

        assert not is_early
        assert bodies(client, 2) == [b"a", b"b"]


def test_closing_client_may_answer_what_it_holds() -> None:
    """After CLS nothing comes, whatever RDY says, and what is held is finished as ever."""
    with rigged() as rig:
        client = rig.subscriber(rdy=1)
        rig.node.publish_many("t", [b"a", b"b"])
        held, _ = client.message()

        assert client.ask(b"CLS\n") == (0, b"CLOSE_WAIT")
        client.send(fin(held) + b"RDY 5\n")
        rig.settle()

        channel = rig.node.topic("t").channel("c")
        assert (channel.depth, channel.in_flight_count) == (1, 0)
        assert is_silent(client)
