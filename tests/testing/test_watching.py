"""A watched node is the product's, with a note at the side of everything that happens to its messages."""

from collections.abc import Iterator

import pytest

from nsqlite.testing.events import Event
from nsqlite.testing.nsq import Nsq
from nsqlite.testing.watching import next_due_ns
from tests.fakes.clients import Client


@pytest.fixture
def queue() -> Iterator[Nsq]:
    """A node with a channel."""
    made = Nsq(topics=["orders:billing"])
    yield made
    made.check()
    made.close()


def told(queue: Nsq, topic: str | None = None) -> list[tuple[str, bytes, int]]:
    """Kind, body and attempts of all that happened."""
    return [(each.kind, each.body, each.attempts) for each in queue.history.of(topic)]


def test_life_of_a_message_is_written_down(queue: Nsq) -> None:
    """Published, delivered, touched, requeued, delivered again, finished; each at its time, by its id."""
    channel = queue.node.topic("orders").channel("billing")
    message_id = queue.publish("orders", b"7", delay=2)
    queue.clock.advance(2)
    message = channel.receive(timeout=0)
    assert message is not None
    queue.clock.advance(1)
    message.touch()
    message.requeue(delay=10)
    queue.clock.advance(10)
    again = channel.receive(timeout=0)
    assert again is not None
    again.finish()

    assert list(queue.history) == [
        Event("published", 0.0, "orders", "", message_id, b"7", 0, 2.0),
        Event("delivered", 2.0, "orders", "billing", message_id, b"7", 1),
        Event("touched", 3.0, "orders", "billing", message_id, b"7", 1),
        Event("requeued", 3.0, "orders", "billing", message_id, b"7", 1, 10.0),
        Event("delivered", 13.0, "orders", "billing", message_id, b"7", 2),
        Event("finished", 13.0, "orders", "billing", message_id, b"7", 2),
    ]


def test_every_delivery_is_written_down_once(queue: Nsq) -> None:
    """One by one on the node's fast path, in batches, and to consumers."""
    channel = queue.node.topic("orders").channel("billing")
    bodies = [b"%d" % number for number in range(7)]
    for body in bodies:
        queue.publish("orders", body)

    taken = [channel.receive(timeout=0) for _ in range(3)] + list(channel.receive_many(3, timeout=0))
    with channel.consume() as consumer:
        taken.append(next(consumer))
    channel.finish_many([each for each in taken if each is not None])

    assert [each.body for each in queue.history.of(kind="delivered")] == bodies
    assert sorted(each.body for each in queue.history.of(kind="finished")) == bodies


def test_batches_are_written_down_by_message(queue: Nsq) -> None:
    """A batch has an event for each of its messages, with its own id, and the batch's delay."""
    ids = queue.publish_many("orders", [b"0", b"1"], delay=1.5)

    assert [(each.id, each.body, each.delay) for each in queue.history] == [(ids[0], b"0", 1.5), (ids[1], b"1", 1.5)]


def test_each_channel_has_its_own(queue: Nsq) -> None:
    """One publish, and a delivery in each channel."""
    other = queue.node.topic("orders").channel("archive")
    queue.publish("orders", b"x")

    for channel in (queue.node.topic("orders").channel("billing"), other):
        message = channel.receive(timeout=0)
        assert message is not None
        message.finish()

    assert [each.channel for each in queue.history] == ["", "billing", "billing", "archive", "archive"]


def test_timeout_is_written_down_when_it_is_seen(queue: Nsq) -> None:
    """Of every message that was late; and what comes again counts its attempts."""
    channel = queue.node.topic("orders").channel("billing")
    queue.publish_many("orders", [b"0", b"1"])
    held = channel.receive_many(2, timeout=0)
    held[1].finish()
    queue.clock.advance(60)

    again = channel.receive(timeout=0)

    assert again is not None
    assert told(queue)[-2:] == [("timed out", b"0", 1), ("delivered", b"0", 2)]


def test_answer_that_comes_too_late_is_not_written_down(queue: Nsq) -> None:
    """Nothing happened to the message."""
    channel = queue.node.topic("orders").channel("billing")
    queue.publish("orders", b"x")
    message = channel.receive(timeout=0)
    assert message is not None
    message.finish()
    before = len(queue.history)

    for answer in (message.finish, message.requeue, message.touch):
        with pytest.raises(LookupError):
            answer()

    assert len(queue.history) == before


def test_ephemeral_messages_are_written_down(queue: Nsq) -> None:
    """Also those that no store keeps."""
    channel = queue.node.topic("logs#ephemeral").channel("tail#ephemeral")
    queue.publish("logs#ephemeral", b"x")
    with channel.consume() as consumer:
        message = next(consumer)
        message.requeue()
        next(consumer).finish()

    assert [kind for kind, *_ in told(queue)] == ["published", "delivered", "requeued", "delivered", "finished"]


def test_clients_of_a_listener_are_written_down(queue: Nsq) -> None:
    """What they take by the slice and answer by id."""
    channel = queue.node.topic("orders").channel("billing")._core
    client = Client(queue.node.engine, channel)
    queue.publish_many("orders", [b"0", b"1", b"2"])

    numbers = client.take()
    client.finish(numbers[0])
    client.requeue(numbers[1])
    client.touch(numbers[2])

    assert told(queue)[3:] == [
        *[("delivered", b"%d" % number, 1) for number in range(3)],
        ("finished", b"0", 1),
        ("requeued", b"1", 1),
        ("touched", b"2", 1),
    ]


@pytest.mark.parametrize("durability", ["memory", "commit", "disk"])
def test_history_is_the_same_wherever_messages_are_kept(durability: str) -> None:
    """What is watched is the broker, not the store."""
    queue = Nsq(durability, topics=["orders:billing"])
    channel = queue.node.topic("orders").channel("billing")
    for number in range(3):
        queue.publish("orders", b"%d" % number)
        message = channel.receive(timeout=0)
        assert message is not None
        message.finish()
    queue.close()

    assert [kind for kind, *_ in told(queue)] == ["published", "delivered", "finished"] * 3


def test_progress_is_journaled_when_it_has_waited_for_25_ms(queue: Nsq) -> None:
    """Counted from the first answer that no promise has taken along; time may jump over it."""
    engine = queue._subject.engine
    channel = queue.node.topic("orders").channel("billing")
    queue.publish_many("orders", [b"0", b"1", b"2"])

    def finish() -> None:
        message = channel.receive(timeout=0)
        assert message is not None
        message.finish()

    finish()
    queue.clock.advance(0.020)
    assert engine.broker.progress
    queue.clock.advance(0.005)
    assert not engine.broker.progress

    finish()
    queue.clock.advance(0.024)
    queue.publish("orders", b"3")  # takes it along
    assert not engine.broker.progress
    finish()
    queue.clock.advance(0.024)
    assert engine.broker.progress
    queue.clock.advance(3600)
    assert not engine.broker.progress


def test_next_due_is_exact(queue: Nsq) -> None:
    """What was finished long ago is not due, nor does anybody wait for it."""
    channel = queue.node.topic("orders").channel("billing")
    begun_ns = queue.clock.monotonic_ns()
    queue.publish("orders", b"now")
    queue.publish("orders", b"later", delay=300)
    message = channel.receive(timeout=0)
    assert message is not None
    held = next_due_ns(queue.node.engine)
    message.finish()

    assert held == begun_ns + 60_000_000_000
    assert next_due_ns(queue.node.engine) == begun_ns + 300_000_000_000
