"""A message is answered once; as a context manager it answers for itself."""

import asyncio
from datetime import timedelta

import pytest

import nsqlite
from nsqlite.errors import InvalidDelayError, NodeClosedError, NotInFlightError
from nsqlite.testing import Clock, Nsq


@pytest.fixture
def channel(nsq: Nsq) -> nsqlite.Channel:
    """A channel in which one message waits."""
    made = nsq.node.topic("orders").channel("billing")
    nsq.publish("orders", b"secret body")
    return made


def counts(channel: nsqlite.Channel) -> tuple[int, int, int]:
    """Depth, in flight, deferred."""
    return channel.depth, channel.in_flight_count, channel.deferred_count


def test_fields_are_what_was_published(channel: nsqlite.Channel) -> None:
    """Reading them twice gives the same."""
    message = channel.receive(timeout=0)

    for _ in range(2):
        assert message.body == b"secret body"
        assert int(message.id, 16) > 0
        assert message.attempts == 1
    assert not message.is_answered


def test_repr_tells_where_it_is_and_never_the_body(channel: nsqlite.Channel) -> None:
    """What is logged by accident does not leak a body."""
    message = channel.receive(timeout=0)

    assert repr(message) == f"<Message {message.id.decode()} of orders:billing, attempts=1>"
    assert "secret" not in repr(message)


def test_block_that_ends_finishes(channel: nsqlite.Channel) -> None:
    """Leaving without an error is an answer."""
    with channel.receive(timeout=0) as message:
        assert counts(channel) == (0, 1, 0)

    assert message.is_answered
    assert counts(channel) == (0, 0, 0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_block_that_raises_requeues(channel: nsqlite.Channel, error: type[BaseException]) -> None:
    """Any BaseException gives the message back, and goes on."""
    with pytest.raises(error), channel.receive(timeout=0):
        raise error

    assert counts(channel) == (1, 0, 0)
    assert channel.receive(timeout=0).attempts == 2


@pytest.mark.parametrize("answer", ["finish", "requeue", "defer"])
def test_leaving_after_an_answer_does_nothing(channel: nsqlite.Channel, answer: str) -> None:
    """Who has answered inside is not answered for again, whether the block raises or not."""

    def answer_and_raise() -> None:
        with channel.receive(timeout=0) as message:
            {"finish": message.finish, "requeue": message.requeue, "defer": lambda: message.requeue(5)}[answer]()
            raise ValueError("after")

    with pytest.raises(ValueError, match="after"):
        answer_and_raise()

    assert counts(channel) == {"finish": (0, 0, 0), "requeue": (1, 0, 0), "defer": (0, 0, 1)}[answer]


def test_leaving_after_finish_many_does_nothing(channel: nsqlite.Channel) -> None:
    """finish_many is an answer too."""
    with channel.receive(timeout=0) as message:
        channel.finish_many([message])

    assert counts(channel) == (0, 0, 0)


def test_leaving_too_late_says_so(channel: nsqlite.Channel, nsq_clock: Clock) -> None:
    """A block that took longer than the timeout is told that its message is somebody else's."""
    with pytest.raises(NotInFlightError, match="touch"), channel.receive(timeout=0):
        nsq_clock.advance(60)

    assert counts(channel) == (1, 0, 0)


def test_error_of_a_late_block_matters_more(channel: nsqlite.Channel, nsq: Nsq, nsq_clock: Clock) -> None:
    """When the block raises and the message has timed out, the block's error is what is seen."""

    def take_too_long_and_raise() -> None:
        with channel.receive(timeout=0):
            nsq_clock.advance(60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_too_long_and_raise()

    nsq.assert_timed_out("orders", "billing", count=1)
    nsq.assert_requeued("orders", "billing", count=0)
    assert counts(channel) == (1, 0, 0)


@pytest.mark.parametrize("first", ["finish", "requeue"])
@pytest.mark.parametrize("second", ["finish", "requeue", "touch"])
def test_second_answer_is_refused(nsq: Nsq, channel: nsqlite.Channel, first: str, second: str) -> None:
    """Answering twice raises NotInFlightError with the id, and changes nothing."""
    message = channel.receive(timeout=0)
    getattr(message, first)()
    before, history = counts(channel), list(nsq.history)

    with pytest.raises(NotInFlightError, match=message.id.decode()) as caught:
        getattr(message, second)()

    assert caught.value.ids == [message.id]
    assert isinstance(caught.value, LookupError)
    assert counts(channel) == before
    assert list(nsq.history) == history


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon", timedelta(seconds=-1)])
def test_requeue_with_a_bad_delay_changes_nothing(channel: nsqlite.Channel, delay: object) -> None:
    """The message is still in flight, and can still be answered."""
    message = channel.receive(timeout=0)

    with pytest.raises(InvalidDelayError):
        message.requeue(delay=delay)

    assert counts(channel) == (0, 1, 0)
    message.finish()


def test_touch_is_no_answer(channel: nsqlite.Channel, nsq: Nsq, nsq_clock: Clock) -> None:
    """A touched message is still in flight, and finished when its block ends."""
    with channel.receive(timeout=0) as message:
        nsq_clock.advance(59)
        message.touch()
        nsq_clock.advance(59)
        assert not message.is_answered

    nsq.assert_touched("orders", "billing", count=1)
    nsq.assert_timed_out("orders", "billing", count=0)
    nsq.assert_finished("orders", "billing", attempts=1, count=1)
    nsq.assert_empty()


@pytest.mark.parametrize("answer", ["finish", "requeue", "touch"])
def test_message_of_a_closed_node_says_so(nsq: Nsq, channel: nsqlite.Channel, answer: str) -> None:
    """Its fields can be read; an answer raises NodeClosedError."""
    message = channel.receive(timeout=0)

    nsq.node.close()

    assert message.body == b"secret body"
    with pytest.raises(NodeClosedError):
        getattr(message, answer)()


def test_message_of_a_deleted_channel_is_not_in_flight(channel: nsqlite.Channel) -> None:
    """Deleting a channel takes its messages from whoever holds them."""
    message = channel.receive(timeout=0)

    channel._node.topic("orders").delete_channel("billing")

    with pytest.raises(NotInFlightError):
        message.finish()
