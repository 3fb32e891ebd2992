"""The door of a node: who may enter, and what the others are told."""

from collections.abc import Iterator

import pytest

import nsqlite
from nsqlite.core.timers import NEVER
from nsqlite.errors import NodeClosedError, NodeFailedError, ReentrantError, TopicDeletedError
from nsqlite.gate import State
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture
def node(clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node in memory."""
    with nsqlite.open(clock=clock) as made:
        yield made


def test_locked_work_gets_the_broker_and_its_result_comes_back(node: nsqlite.Node) -> None:
    """Something short runs under the lock."""
    assert node.engine.locked(lambda broker: broker is node.engine.broker)


def test_entering_from_inside_is_refused(node: nsqlite.Node) -> None:
    """A call from within a call of the same thread raises, and the outer one goes on."""
    told = []

    def enter_again(_: object) -> str:
        for call in (lambda: node.publish("orders", b"x"), lambda: node.topics, node.stats):
            with pytest.raises(ReentrantError):
                call()
            told.append(True)
        return "done"

    assert node.engine.locked(enter_again) == "done"
    assert len(told) == 3
    assert node.topics == []


def test_close_from_inside_is_refused(node: nsqlite.Node) -> None:
    """A finaliser or signal handler cannot close the node under a turn."""

    def close(_: object) -> None:
        with pytest.raises(ReentrantError):
            node.close()

    node.engine.locked(close)

    assert node.engine.state is State.OPEN


def test_own_errors_do_not_fail_the_node(node: nsqlite.Node) -> None:
    """What is raised on purpose leaves memory whole."""

    def refuse(_: object) -> None:
        raise TopicDeletedError("orders")

    with pytest.raises(TopicDeletedError):
        node.engine.locked(refuse)

    node.publish("orders", b"x")


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_other_errors_fail_the_node(node: nsqlite.Node, clock: AttendedClock, error: BaseException) -> None:
    """A turn that was broken off leaves memory in doubt: all calls, and all who wait, are told."""
    channel = node.topic("orders").channel("billing")
    waiting = Caller(channel.receive)
    clock.await_sleeper()

    def break_off(_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        node.engine.locked(break_off)

    node.engine.wake()
    for call in (lambda: node.publish("orders", b"x"), lambda: channel.receive(timeout=0), waiting.outcome):
        with pytest.raises(NodeFailedError, match="open the store again"):
            call()
    assert node.engine.failure.startswith(type(error).__name__)


def test_closed_node_may_be_read_where_asked(node: nsqlite.Node) -> None:
    """Letting go of a consumer works on a closed node; everything else is refused."""
    node.close()

    assert node.engine.locked(lambda _: 5, even_closed=True) == 5
    with pytest.raises(NodeClosedError):
        node.engine.locked(lambda _: 5)


def test_look_into_refuses_a_deleted_topic(node: nsqlite.Node) -> None:
    """What is read of a topic is read of one that is there."""
    core = node.topic("orders")._core

    assert node.engine.look_into(core, lambda: core.name) == "orders"
    node.delete_topic("orders")

    with pytest.raises(TopicDeletedError):
        node.engine.look_into(core, lambda: core.name)


def test_nobody_is_woken_under_the_lock(node: nsqlite.Node) -> None:
    """Who is woken finds the lock free."""
    found = []

    class Waiter:
        """One whose wake-up looks whether others could enter."""

        def wake(self) -> None:
            """Enter, from another thread."""
            found.append(Caller(lambda: node.topics).outcome())

    channel = node.topic("orders").channel("billing")._core
    node.engine.locked(lambda broker: broker.wait(channel, Waiter(), NEVER))

    node.publish("orders", b"x")

    assert found == [["orders"]]


def test_deadlines_are_monotonic(node: nsqlite.Node, clock: AttendedClock) -> None:
    """No timeout is never."""
    assert node.engine.until_ns(5) == clock.monotonic_ns() + 5
    assert node.engine.until_ns(None) == NEVER


def test_watchers_are_woken_with_the_lock_free(node: nsqlite.Node) -> None:
    """Whatever made or deleted a topic or a channel; ephemeral ones go with their last user."""
    found: list[list[str]] = []

    class Watcher:
        """One who looks at what there is, from another thread."""

        def wake(self) -> None:
            """See what there is."""
            names = Caller(lambda: [f"{name} {node.topic(name).channels}" for name in node.topics]).outcome() or []
            if not found or found[-1] != names:
                found.append(names)

    node.engine.watchers.append(Watcher())

    node.publish("t", b"x")
    node.topic("t").channel("c")
    node.publish("t", b"x")
    node.topic("t").delete_channel("c")
    with node.topic("u#ephemeral").channel("c#ephemeral").consume():
        node.delete_topic("t")
    node.engine.watchers.clear()
    node.topic("v")

    assert found == [
        ["t []"],
        ["t ['c']"],
        ["t []"],
        ["t []", "u#ephemeral []"],
        ["t []", "u#ephemeral ['c#ephemeral']"],
        ["u#ephemeral ['c#ephemeral']"],
        [],
    ]
