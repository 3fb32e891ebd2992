"""Messages leave when there are enough of them or after a time; answers at once, and messages with them."""

import pytest

from nsqlite.net.protocol import wire
from tests.interop.transcripts.wire import identify, pub
from tests.net.client import bodies, fin, frames, identified, is_silent
from tests.net.rig import ERROR, HEARTBEAT, MESSAGE, OK, Client, Rig, rigged

FRAME_BYTES = 35  # of a message with a body of one byte


def subscribed(rig: Rig, rdy: int = 100, **values: object) -> Client:
    """A client that has agreed on something, and waits for messages of topic t."""
    client = identified(rig, identify(**values))
    assert client.ask(b"SUB t c\n") == OK
    client.send(b"RDY %d\n" % rdy)
    rig.settle()
    return client


def publish(rig: Rig, count: int) -> None:
    """Publish messages one by one, each given its time to leave."""
    for number in range(count):
        rig.node.publish("t", b"%d" % (number % 10))
        rig.settle()


# -- by time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, seconds", [({}, 0.25), ({"output_buffer_timeout": 100}, 0.1), ({"output_buffer_timeout": 30_000}, 30)]
)
def test_messages_leave_after_the_agreed_time(values: dict[str, int], seconds: float) -> None:
    """A message waits as long as was agreed on, and not a millisecond more."""
    with rigged() as rig:
        client = subscribed(rig, heartbeat_interval=60_000, **values)
        publish(rig, 1)

        rig.advance(seconds - 0.001)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert bodies(client, 1) == [b"0"]


def test_time_is_counted_from_the_oldest_message() -> None:
    """Later messages leave with the first one, and the next time begins with the next message."""
    with rigged() as rig:
        client = subscribed(rig)
        publish(rig, 1)
        rig.advance(0.2)
        publish(rig, 1)

        rig.advance(0.05)

        assert bodies(client, 2) == [b"0", b"0"]
        publish(rig, 1)
        rig.advance(0.24)
        assert is_silent(client)
        rig.advance(0.01)
        assert bodies(client, 1) == [b"0"]


def test_no_message_waits_longer_for_what_left_before() -> None:
    """A buffer that left because it was full may make the next one leave early, never late."""
    with rigged() as rig:
        client = subscribed(rig, output_buffer_size=2 * FRAME_BYTES)
        publish(rig, 2)
        assert bodies(client, 2) == [b"0", b"1"]
        rig.advance(0.1)
        publish(rig, 1)

        rig.advance(0.25)

        assert bodies(client, 1) == [b"0"]


def test_without_a_timer_messages_wait_for_the_heartbeat() -> None:
    """Who asks for no time at all gets messages with the next thing that leaves."""
    with rigged() as rig:
        client = subscribed(rig, output_buffer_timeout=-1, heartbeat_interval=1000)
        publish(rig, 1)

        rig.advance(0.999)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert bodies(client, 1) == [b"0"]
        assert client.frame() == HEARTBEAT


# -- by size -------------------------------------------------------------------------------


def test_messages_leave_when_the_buffer_is_full() -> None:
    """A buffer of the agreed size leaves at once, and not a message earlier."""
    with rigged() as rig:
        client = subscribed(rig, output_buffer_size=3 * FRAME_BYTES)
        publish(rig, 2)
        is_early = not is_silent(client)

        publish(rig, 1)

        assert not is_early
        assert bodies(client, 3) == [b"0", b"1", b"0"]
        assert is_silent(client)


def test_a_batch_that_fills_the_buffer_leaves_at_once() -> None:
    """Sixteen KiB, unless another size was agreed on."""
    with rigged() as rig:
        client = subscribed(rig)

        rig.node.publish_many("t", [b"x" * 1000] * 17)
        rig.settle()

        assert bodies(client, 17) == [b"x" * 1000] * 17


def test_without_a_buffer_every_message_leaves_at_once() -> None:
    """Size -1 is for who wants messages as they come."""
    with rigged() as rig:
        client = subscribed(rig, output_buffer_size=-1)

        for _ in range(3):
            publish(rig, 1)

            assert bodies(client, 1) == [b"0"]


# -- with something else -------------------------------------------------------------------


def test_message_that_uses_up_the_room_leaves_at_once() -> None:
    """A client that takes no more has nothing to wait for: RDY 1 is without delay."""
    with rigged() as rig:
        client = subscribed(rig, rdy=2)
        publish(rig, 1)
        is_early = not is_silent(client)

        publish(rig, 1)

        assert not is_early
        assert bodies(client, 2) == [b"0", b"0"]


@pytest.mark.parametrize("count", [0, 1])
def test_client_that_is_not_ready_any_more_waits_for_nothing(count: int) -> None:
    """A ceiling that falls to what is held lets go of what was kept for more to come."""
    with rigged() as rig:
        client = subscribed(rig, output_buffer_timeout=-1)
        publish(rig, 1)
        is_early = not is_silent(client)

        client.send(b"RDY %d\n" % count)

        assert not is_early
        assert bodies(client, 1) == [b"0"]


def test_answer_takes_the_messages_along() -> None:
    """What waits leaves ahead of an answer to a later command."""
    with rigged() as rig:
        client = subscribed(rig)
        publish(rig, 2)

        client.send(pub("elsewhere", b"x"))

        assert [kind for kind, _ in frames(client, 2)] == [MESSAGE, MESSAGE]
        assert client.frame() == OK


def test_refusal_takes_the_messages_along() -> None:
    """An error that lets the client go on is an answer, too."""
    with rigged() as rig:
        client = subscribed(rig)
        publish(rig, 1)

        client.send(fin(b"0123456789abcdef"))

        assert [kind for kind, _ in frames(client, 2)] == [MESSAGE, ERROR]


def test_end_takes_the_messages_along() -> None:
    """A client that is sent away has first what was meant for it."""
    with rigged() as rig:
        client = subscribed(rig)
        publish(rig, 1)

        client.send(b"NONSENSE\n")

        assert [kind for kind, _ in frames(client, 2)] == [MESSAGE, ERROR]
        assert client.rest() == b""


def test_answers_of_one_round_leave_in_order() -> None:
    """Commands that came together are answered in their order."""
    with rigged() as rig:
        client = rig.connect()

        client.send(b"".join(pub("t", b"x") for _ in range(50)) + b"SUB t c\nCLS\n")

        assert frames(client, 51) == [OK] * 51
        assert wire.frame(*client.frame()) == wire.CLOSE_WAIT


def test_nothing_leaves_once_it_is_shut() -> None:
    """Behind the last error of a connection comes nothing, whatever its channel has."""
    with rigged() as rig:
        client = subscribed(rig)
        client.send(b"NONSENSE\n")
        rig.settle()

        publish(rig, 3)

        assert client.frame()[0] == ERROR
        assert client.rest() == b""
