"""What happened, in order, and who waits for more of it."""

import threading
from typing import Any

import pytest

from nsqlite.errors import InvalidOptionError
from nsqlite.testing import nsq
from nsqlite.testing.events import KINDS, LOOK_SECONDS, PUBLISHED, Event, History
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS


def event(topic: str = "orders", channel: str = "", kind: str = PUBLISHED, body: bytes = b"x") -> Event:
    """Something that happened."""
    return Event(kind, 0.0, topic, channel, b"0" * 16, body)


def test_history_is_in_the_order_of_what_happened() -> None:
    """It has a length, and is read again and again."""
    history = History()
    for number in range(3):
        history.add(event(body=b"%d" % number))

    assert [each.body for each in history] == [each.body for each in history] == [b"0", b"1", b"2"]
    assert len(history) == 3


@pytest.mark.parametrize(
    "asked,count",
    [
        ({}, 4),
        ({"topic": "orders"}, 3),
        ({"topic": "orders", "channel": "billing"}, 2),
        ({"channel": "billing"}, 3),
        ({"kind": "finished"}, 1),
        ({"topic": "orders", "channel": "billing", "kind": "delivered"}, 1),
        ({"topic": "none"}, 0),
        ({"topic": "orders", "channel": ""}, 1),
    ],
)
def test_history_of_what_is_asked_for(asked: dict[str, str], count: int) -> None:
    """A topic, a channel, a kind: all that are given have to fit."""
    history = History()
    history.add(event())
    history.add(event("orders", "billing", "delivered"))
    history.add(event("orders", "billing", "finished"))
    history.add(event("users", "billing", "delivered"))

    assert len(history.of(**asked)) == count


def test_clear_forgets_what_was() -> None:
    """Later assertions see what comes."""
    history = History()
    history.add(event(body=b"before"))

    history.clear()
    history.add(event(body=b"after"))

    assert [each.body for each in history] == [b"after"]


def test_history_may_grow_while_it_is_read() -> None:
    """Who reads sees what was there when it began."""
    history = History()
    history.add(event())

    for _ in history:
        history.add(event())

    assert len(history) == 2


def test_what_has_come_is_not_waited_for() -> None:
    """It is looked at once, with no time to wait, too."""
    assert History().wait_until(lambda: True, timeout=0)
    assert not History().wait_until(lambda: False, timeout=0)


def test_wait_ends_with_the_event() -> None:
    """Who waits looks after every event, and is told that it has come."""
    history = History()
    looks = threading.Semaphore(0)

    def has_come() -> bool:
        looks.release()
        return len(history) == 3

    waiter = Caller(lambda: history.wait_until(has_come, PATIENCE_SECONDS))
    for _ in range(3):
        assert looks.acquire(timeout=PATIENCE_SECONDS)
        history.add(event())

    assert waiter.outcome() is True


def test_wait_sees_what_tells_nobody() -> None:
    """The end of a thread is no event; it is seen a moment later all the same."""
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    waiter = Caller(lambda: History().wait_until(lambda: not thread.is_alive(), PATIENCE_SECONDS))

    gate.set()

    assert waiter.outcome() is True


def test_wait_ends_at_its_timeout() -> None:
    """In real time, which threads and processes under test run on."""
    assert not History().wait_until(lambda: False, timeout=2 * LOOK_SECONDS)


def test_what_is_waited_for_may_take_the_nodes_lock() -> None:
    """Events are noted under it: while others publish without end, nobody hangs."""
    with nsq() as queue:
        channel = queue.node.topic("orders").channel("billing")

        def publish() -> None:
            for _ in range(200):
                queue.publish("orders", b"x")

        publishers = [Caller(publish) for _ in range(4)]
        waiters = [
            Caller(lambda: queue.history.wait_until(lambda: channel.depth == 800, PATIENCE_SECONDS)) for _ in range(3)
        ]

        assert [each.outcome() for each in waiters] == [True] * 3
        for each in publishers:
            each.outcome()
        queue.assert_published("orders", count=800)


def test_waiters_do_not_keep_a_node_from_closing() -> None:
    """Nor does closing it hang them: they see their timeout."""
    with nsq() as queue:
        waiter = Caller(lambda: queue.history.wait_until(lambda: False, 4 * LOOK_SECONDS))
        queue.publish("orders", b"x")

    assert waiter.outcome() is False


def test_who_listens_is_called_after_every_event_until_it_stops() -> None:
    """Also of events that other threads note, in those."""
    history = History()
    told: list[str] = []
    stop = history.listen(lambda: told.append(threading.current_thread().name))

    history.add(event())
    Caller(lambda: history.add(event())).outcome()
    stop()
    history.add(event())

    assert told == [threading.current_thread().name, "caller"]


def test_kinds_are_those_of_events() -> None:
    """All six, in the order in which they may come."""
    assert KINDS == ("published", "delivered", "finished", "requeued", "touched", "timed out")


@pytest.mark.parametrize(
    "asked,said",
    [
        ({"topic": b"orders"}, "it is of type bytes: give its name as a str"),
        ({"channel": 1}, "it is of type int: give its name as a str"),
        ({"kind": "fin"}, "give one of published"),
    ],
)
def test_history_of_what_cannot_be_is_refused(asked: dict[str, Any], said: str) -> None:
    """It would be empty for ever."""
    with pytest.raises(InvalidOptionError, match=said):
        History().of(**asked)
