"""One node under test, through its crashes: what is kept at each durability, and what can be made to fail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import nsqlite
from nsqlite.clock import SystemClock
from nsqlite.errors import InvalidOptionError, NodeFailedError, StorageFailedError, StoreFullError
from nsqlite.testing.clock import Clock
from nsqlite.testing.subject import DURABILITIES, Subject

KEPT = ["commit", "fsync", "disk"]


@contextmanager
def opened(durability: Any = "fsync", **options: Any) -> Iterator[Subject]:
    """A node that must end sound."""
    subject = Subject(durability, Clock(), **options)
    try:
        yield subject
        subject.check()
    finally:
        subject.close()


def billing(subject: Subject) -> nsqlite.Channel:
    """The channel that is looked at."""
    return subject.node.topic("orders").channel("billing")


def finish_one(subject: Subject) -> bytes:
    """Take a message and finish it."""
    message = billing(subject).receive(timeout=0)
    assert message is not None
    message.finish()
    return message.body


def left(subject: Subject) -> list[tuple[bytes, int]]:
    """Bodies and attempts of what is ready."""
    return sorted((each.body, each.attempts) for each in billing(subject).receive_many(100, timeout=0))


@pytest.mark.parametrize("durability", KEPT)
def test_crash_keeps_what_was_promised(durability: str) -> None:
    """Messages and their delays, topics, channels, pauses; what was in flight comes again, with its attempts."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.topic("orders").channel("paused").pause()
        subject.node.publish_many("orders", [b"0", b"1"])
        subject.node.publish("orders", b"later", delay=60)
        billing(subject).receive(timeout=0)

        subject.crash()

        assert subject.node.topic("orders").channels == ["billing", "paused"]
        assert subject.node.topic("orders").channel("paused").is_paused
        assert left(subject) == [(b"0", 2), (b"1", 1)]
        assert billing(subject).deferred_count == 1
        subject.clock.advance(60)
        assert left(subject) == [(b"0", 3), (b"1", 2), (b"later", 1)]


def test_crash_at_memory_leaves_nothing() -> None:
    """As a process without a store."""
    with opened("memory") as subject:
        billing(subject)
        subject.node.publish("orders", b"x")

        subject.crash()

        assert subject.node.topics == []


@pytest.mark.parametrize("durability", KEPT)
def test_crash_loses_progress_of_the_last_25_ms(durability: str) -> None:
    """What was finished in them comes again; what was finished before does not."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.publish_many("orders", [b"old", b"young"])
        assert finish_one(subject) == b"old"
        subject.clock.advance(0.025)
        assert finish_one(subject) == b"young"
        subject.clock.advance(0.024)

        subject.crash()

        assert left(subject) == [(b"young", 2)]


@pytest.mark.parametrize("durability", KEPT)
def test_crash_keeps_progress_that_a_promise_took_along(durability: str) -> None:
    """However young it is: it is journaled ahead of the next publish."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.publish("orders", b"0")
        finish_one(subject)

        subject.node.publish("orders", b"1")
        subject.crash()

        assert left(subject) == [(b"1", 1)]


@pytest.mark.parametrize("durability", KEPT)
def test_crash_keeps_what_was_synced(durability: str) -> None:
    """`sync` is what its caller trusts, at any age."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.publish("orders", b"0")
        finish_one(subject)

        subject.node.sync()
        subject.crash()

        assert left(subject) == []


@pytest.mark.parametrize("durability", KEPT)
def test_requeue_with_a_delay_survives_when_it_is_old_enough(durability: str) -> None:
    """An answer is progress, too: its delay is kept once 25 ms have passed."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.publish("orders", b"x")
        message = billing(subject).receive(timeout=0)
        assert message is not None
        message.requeue(delay=60)
        subject.clock.advance(1)

        subject.crash()

        assert (billing(subject).depth, billing(subject).deferred_count) == (0, 1)
        subject.clock.advance(59)
        assert left(subject) == [(b"x", 2)]


@pytest.mark.parametrize("durability", DURABILITIES)
def test_node_of_before_the_crash_is_gone(durability: str) -> None:
    """Its handles and messages say so, and change nothing of the new one."""
    with opened(durability) as subject:
        node, channel = subject.node, billing(subject)
        node.publish("orders", b"x")
        message = channel.receive(timeout=0)
        assert message is not None

        subject.crash()

        for call in (lambda: node.publish("orders", b"y"), channel.receive, message.finish):
            with pytest.raises(NodeFailedError, match="the test has killed this node"):
                call()
        assert subject.node is not node


@pytest.mark.parametrize("durability", DURABILITIES)
def test_history_goes_on_across_crashes(durability: str) -> None:
    """One story of several lives, in order, with times that go on."""
    with opened(durability) as subject:
        for life in range(3):
            billing(subject)
            subject.node.publish("orders", b"%d" % life)
            subject.clock.advance(1)
            subject.crash()

        events = subject.history.of(kind="published")
        assert [(each.at, each.body) for each in events] == [(0.0, b"0"), (1.0, b"1"), (2.0, b"2")]


@pytest.mark.parametrize("durability", KEPT)
def test_ids_go_on_across_crashes(durability: str) -> None:
    """No id is given twice, so that histories are of one message each."""
    with opened(durability) as subject:
        ids = []
        for _ in range(3):
            ids += subject.node.publish_many("orders", [b"0", b"1"])
            subject.crash()

        assert len(set(ids)) == len(ids) == 6


def test_crash_after_the_code_under_test_has_closed_the_node() -> None:
    """Closing promises more than a crash: everything is there."""
    with opened() as subject:
        billing(subject)
        subject.node.publish_many("orders", [b"0", b"1"])
        finish_one(subject)
        subject.node.close()

        subject.crash()

        assert left(subject) == [(b"1", 1)]


def test_disk_is_a_folder_that_goes_with_it() -> None:
    """A real store, in the system's place for such."""
    with opened("disk") as subject:
        folder = Path(subject._folder)
        subject.node.publish("orders", b"x")
        assert "journal" in " ".join(os.listdir(folder))
        subject.crash()
        assert folder.exists()

    assert not folder.exists()
    subject.close()


@pytest.mark.parametrize("durability", ["commit", "fsync"])
def test_full_disk_refuses_promises_until_it_is_freed(durability: str) -> None:
    """Consumers go on meanwhile."""
    with opened(durability) as subject:
        billing(subject)
        subject.node.publish("orders", b"0")

        subject.fill_disk()
        for _ in range(2):
            with pytest.raises(StoreFullError):
                subject.node.publish("orders", b"x")
        assert finish_one(subject) == b"0"
        subject.fill_disk(is_full=False)
        subject.node.publish("orders", b"1")

        assert left(subject) == [(b"1", 1)]
        assert [each.body for each in subject.history.of(kind="published")] == [b"0", b"1"]


def test_failing_promises_do_not_happen() -> None:
    """So many of them, and no more."""
    with opened() as subject:
        billing(subject)
        subject.fail_promises(2)
        for _ in range(2):
            with pytest.raises(StorageFailedError):
                subject.node.publish("orders", b"x")

        subject.node.publish("orders", b"1")

        assert left(subject) == [(b"1", 1)]


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_only_a_disk_of_the_tests_own_fails(durability: str) -> None:
    """Neither a real one nor none can be filled, and the error says what to give."""
    with opened(durability) as subject:
        for fault in (subject.fill_disk, lambda: subject.fail_promises(1)):
            with pytest.raises(InvalidOptionError, match='give "fsync" or "commit" for a disk that fails'):
                fault()


def test_forced_timeout_takes_all_that_is_in_flight() -> None:
    """Of one channel, at once; the late answer is refused, and a message that waits comes."""
    with opened() as subject:
        subject.node.topic("orders").channel("other")
        subject.node.topic("orders").channel("billing")
        subject.node.publish_many("orders", [b"0", b"1"])
        late = [*billing(subject).receive_many(2, timeout=0)]
        other = subject.node.topic("orders").channel("other").receive(timeout=0)
        assert other is not None

        subject.time_out("orders", "billing")

        assert [each.body for each in subject.history.of(kind="timed out")] == [b"0", b"1"]
        with pytest.raises(LookupError):
            late[0].finish()
        other.finish()
        assert left(subject) == [(b"0", 2), (b"1", 2)]


@pytest.mark.parametrize("names", [("orders", "none"), ("none", "billing")])
def test_forced_timeout_of_nothing_does_nothing(names: tuple[str, str]) -> None:
    """Nor does it make a topic or a channel."""
    with opened() as subject:
        billing(subject)

        subject.time_out(*names)

        assert (subject.node.topics, subject.node.topic("orders").channels) == (["orders"], ["billing"])


def test_owed_is_what_waits_is_in_flight_and_is_deferred() -> None:
    """By channel, with what is due by now where it is due; channels that owe nothing are left out."""
    with opened() as subject:
        subject.node.topic("idle").channel("ch")
        billing(subject)
        subject.node.publish_many("orders", [b"0", b"1", b"2"])
        subject.node.publish("orders", b"3", delay=10)
        billing(subject).receive(timeout=0)

        before = subject.owed()
        subject.clock.advance(10)

        assert before == {("orders", "billing"): (2, 1, 1)}
        assert subject.owed() == {("orders", "billing"): (3, 1, 0)}


def test_owed_of_a_closed_node_is_what_it_was() -> None:
    """A test may ask after the code under test has ended."""
    with opened() as subject:
        billing(subject)
        subject.node.publish("orders", b"0")
        subject.node.close()

        assert subject.owed() == {("orders", "billing"): (1, 0, 0)}


def test_check_names_what_is_broken() -> None:
    """An invariant of the node, or that it has failed."""
    subject = Subject()
    subject.node.topic("orders").channel("billing")._core.ready_count = 1
    with pytest.raises(AssertionError, match="ready_count"):
        subject.check()
    subject.close()

    subject = Subject()
    subject.engine.fail(RuntimeError("broken off"))
    with pytest.raises(AssertionError, match="the node has failed: RuntimeError: broken off"):
        subject.check()
    subject.close()


@pytest.mark.parametrize("durability", ["fast", "", None, "Memory"])
def test_unknown_durability_is_refused(durability: Any) -> None:
    """With those that there are."""
    with pytest.raises(InvalidOptionError, match="give one of memory, commit, fsync, disk"):
        Subject(durability)


def test_unknown_option_is_refused() -> None:
    """And where the known ones stand."""
    with pytest.raises(InvalidOptionError, match=r"nonsense.*see nsqlite.Options"):
        Subject(nonsense=1)
    with pytest.raises(InvalidOptionError, match="msg_timeout"):
        Subject(msg_timeout=-1)


def test_options_are_the_nodes() -> None:
    """After a crash, too."""
    with opened(msg_timeout=5) as subject:
        subject.crash()
        billing(subject)
        subject.node.publish("orders", b"x")
        billing(subject).receive(timeout=0)
        subject.clock.advance(5)

        assert subject.owed() == {("orders", "billing"): (1, 0, 0)}


def test_real_time_is_the_machines() -> None:
    """Without a clock of its own it runs as any node does."""
    subject = Subject()
    try:
        assert isinstance(subject.clock, SystemClock)
        billing(subject)
        subject.node.publish("orders", b"x", delay=0.001)
        message = billing(subject).receive(timeout=20)
        assert message is not None
        message.finish()
        subject.crash()
        subject.check()
    finally:
        subject.close()
