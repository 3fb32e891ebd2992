"""What nsqd left is taken over once and whole, whenever that is broken off; or it is refused in one sentence."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.daemon.importing import BATCH_MESSAGES, IMPORTED, ImportSummary, import_nsqd_files, locked_data_path
from nsqlite.errors import ImportRefusedError, StoreFullError
from nsqlite.storage.check import audit
from tests.fakes.clock import AttendedClock
from tests.fakes.nsqd_files import TIMESTAMP_NS, record, write_nsqd_dat, write_queue

WALL_NS = 1_700_000_000_000_000_000


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    """A data path of nsqd's."""
    made = tmp_path / "nsqd"
    made.mkdir()
    return made


def opened(store: Path, **options: object) -> nsqlite.Node:
    """A node on a store."""
    return nsqlite.open(store, durability="commit", clock=AttendedClock(WALL_NS), **options)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[nsqlite.Node]:
    """A node on a store that must end sound, in memory and on disk."""
    with opened(tmp_path / "store") as made:
        yield made
        made.check()
    assert not audit(str(tmp_path / "store")).faults


def take_over(node: nsqlite.Node, data_path: Path) -> ImportSummary:
    """Import, and find something to import."""
    summary = import_nsqd_files(node, str(data_path))
    assert summary is not None
    return summary


def drain(node: nsqlite.Node, topic: str, channel: str) -> list[tuple[bytes, int]]:
    """Bodies and attempts of all that a channel has, finished."""
    core = node.topic(topic).channel(channel)
    found = []
    while messages := core.receive_many(100, timeout=0):
        core.finish_many(messages)
        found += [(message.body, message.attempts) for message in messages]
    return found


def left(data_path: Path) -> list[str]:
    """What is still in the data path."""
    return sorted(each for each in os.listdir(data_path) if each != IMPORTED)


# -- who gets what -------------------------------------------------------------------------


def test_nothing_there_is_nothing_to_import(node: nsqlite.Node, data_path: Path) -> None:
    """An empty data path, a missing one, and one with other files are left as they are."""
    (data_path / "notes.txt").write_text("mine")
    (data_path / "nsqd.dat.1.tmp").write_text("")

    assert import_nsqd_files(node, str(data_path)) is None
    assert import_nsqd_files(node, str(data_path / "missing")) is None
    assert sorted(os.listdir(data_path)) == ["notes.txt", "nsqd.dat.1.tmp"]


def test_topics_channels_and_pauses_are_made(node: nsqlite.Node, data_path: Path) -> None:
    """Whatever nsqd.dat names is there, paused where it was."""
    write_nsqd_dat(
        data_path,
        {
            "plain": {},
            "busy": {"channels": {"a": False, "b": True}},
            "still": {"paused": True, "channels": {"c": False}},
        },
    )

    assert take_over(node, data_path) == ImportSummary(topics=3, channels=3)
    assert node.topics == ["busy", "plain", "still"]
    assert [node.topic(each).is_paused for each in node.topics] == [False, False, True]
    assert [node.topic("busy").channel(each).is_paused for each in "ab"] == [False, True]
    assert node.topic("still").channels == ["c"]
    assert left(data_path) == []
    assert os.listdir(data_path / IMPORTED) == ["nsqd.dat"]


def test_backlog_of_a_channel_is_owed_by_it_alone(node: nsqlite.Node, data_path: Path) -> None:
    """Each channel gets its own messages, in order; the topic's go to all, behind them."""
    write_nsqd_dat(data_path, {"t": {"channels": {"a": False, "b": False, "c": False}}})
    write_queue(data_path, "t:a", [record(b"a1") + record(b"a2"), record(b"a3")])
    write_queue(data_path, "t:b", [record(b"b1")])
    write_queue(data_path, "t", [record(b"all")])

    assert take_over(node, data_path) == ImportSummary(1, 3, 5)
    assert node.topic("t").depth == 0
    assert [node.topic("t").channel(each).depth for each in "abc"] == [4, 2, 1]
    node.publish("t", b"new")
    assert sorted(drain(node, "t", "a")) == [(b"a1", 1), (b"a2", 1), (b"a3", 1), (b"all", 1), (b"new", 1)]
    assert sorted(drain(node, "t", "b")) == [(b"all", 1), (b"b1", 1), (b"new", 1)]
    assert drain(node, "t", "c") == [(b"all", 1), (b"new", 1)]


def test_backlog_waits_in_a_topic_as_it_did(node: nsqlite.Node, data_path: Path) -> None:
    """Without a channel, and in a paused topic, messages wait in the topic beside what its channels have."""
    write_nsqd_dat(data_path, {"alone": {}, "still": {"paused": True, "channels": {"c": False}}})
    write_queue(data_path, "alone", [record(b"1") + record(b"2")])
    write_queue(data_path, "still", [record(b"3")])
    write_queue(data_path, "still:c", [record(b"4")])

    take_over(node, data_path)

    assert (node.topic("alone").depth, node.topic("still").depth) == (2, 1)
    assert drain(node, "still", "c") == [(b"4", 1)]
    node.topic("still").unpause()
    assert drain(node, "still", "c") == [(b"3", 1)]
    assert drain(node, "alone", "first") == [(b"1", 1), (b"2", 1)]


def test_attempts_and_timestamps_are_kept(node: nsqlite.Node, data_path: Path) -> None:
    """A message that nsqd handed out n times comes with attempts n + 1; ids are new ones."""
    attempts = [0, 0, 2, 2, 1, 65_535, 0]
    records = [record(b"%d" % at, each, TIMESTAMP_NS + at) for at, each in enumerate(attempts)]
    write_queue(data_path, "t:c", [b"".join(records)])

    take_over(node, data_path)

    channel = node.topic("t").channel("c")
    messages = channel.receive_many(10, timeout=0) + channel.receive_many(10, timeout=0)
    messages += [each for _ in range(10) for each in channel.receive_many(10, timeout=0)]
    assert [each.body for each in messages] == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert [each.attempts for each in messages] == [1, 1, 3, 3, 2, 65_535, 1]
    assert [each.timestamp for each in messages] == [TIMESTAMP_NS + at for at in range(7)]
    assert len({each.id for each in messages}) == 7
    channel.finish_many(messages)


def test_import_survives_opening_again(tmp_path: Path, data_path: Path) -> None:
    """What was taken over is in the store: after a clean end, and replayed from the journal after none."""
    write_nsqd_dat(data_path, {"t": {"channels": {"a": False, "b": False}}})
    write_queue(data_path, "t:a", [record(b"a1", 4) + record(b"a2")])
    write_queue(data_path, "t", [record(b"all")])
    with opened(tmp_path / "store") as node:
        take_over(node, data_path)
        shutil.copytree(tmp_path / "store", tmp_path / "killed")
    for store in ("store", "killed"):
        with opened(tmp_path / store) as again:
            assert drain(again, "t", "a") == [(b"a1", 5), (b"a2", 1), (b"all", 1)]
            assert drain(again, "t", "b") == [(b"all", 1)]
            again.check()
        assert not audit(str(tmp_path / store)).faults


def test_large_backlog_is_taken_in_batches(node: nsqlite.Node, data_path: Path) -> None:
    """Batches end at a thousand messages or a MiB, and no message is at their edges twice or never."""
    bodies = [b"%d" % at for at in range(2 * BATCH_MESSAGES + 1)] + [b"x" * 700_000, b"y" * 700_000, b"z" * 2_000_000]
    half = len(bodies) // 2
    write_queue(data_path, "t:c", [b"".join(map(record, part)) for part in (bodies[:half], bodies[half:])])

    assert take_over(node, data_path).messages == len(bodies)
    assert [body for body, _ in drain(node, "t", "c")] == bodies


# -- what is wrong with them ---------------------------------------------------------------


def test_what_cannot_be_imported_is_told(node: nsqlite.Node, data_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Invalid and ephemeral names, torn records and files put aside are skipped, counted, logged and kept."""
    write_nsqd_dat(data_path, {"bad name": {}, "t": {"channels": {"no/channel": False, "c": False}}})
    write_queue(data_path, "t:c", [record(b"a") + record(b"torn")[:-1], record(b"b")])
    write_queue(data_path, "t#ephemeral:c", [record(b"gone")])
    write_queue(data_path, "no topic", [record(b"gone")])
    write_queue(data_path, "t:c:d", [record(b"gone")])
    (data_path / "old.diskqueue.000000.dat.bad").write_bytes(b"?")

    with caplog.at_level(logging.WARNING, "nsqlite"):
        summary = take_over(node, data_path)

    assert summary == ImportSummary(topics=1, channels=1, messages=2, skipped=6)
    events = [each.event for each in caplog.records]
    assert sorted(events) == ["import_bad_files"] + ["import_skipped"] * 6
    assert "t:c.diskqueue.000000.dat, 33 bytes from 31 on: the last record is torn" in caplog.text
    assert node.topics == ["t"]
    assert drain(node, "t", "c") == [(b"a", 1), (b"b", 1)]
    assert left(data_path) == []
    assert len(os.listdir(data_path / IMPORTED)) == 11


def test_queue_that_nsqd_never_named_is_imported(node: nsqlite.Node, data_path: Path) -> None:
    """Without nsqd.dat, or where it is older than a queue, topic and channel are made for their messages."""
    write_queue(data_path, "t:c", [record(b"a")], metadata=False)
    write_queue(data_path, "u", [record(b"b")])

    assert take_over(node, data_path) == ImportSummary(2, 1, 2)
    assert drain(node, "t", "c") == [(b"a", 1)]
    assert node.topic("u").depth == 1


def test_lost_stretch_is_told(node: nsqlite.Node, data_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What metadata promises and no file holds is counted as skipped."""
    write_queue(data_path, "t:c", [record(b"a")], read=(0, 0), write=(0, 99))

    assert take_over(node, data_path) == ImportSummary(1, 1, 1, 1)
    assert "the file ends before the place that its metadata names" in caplog.text


@pytest.mark.parametrize("document", [b"", b"{", b'{"topics":7}'])
def test_unparsable_nsqd_dat_is_refused(node: nsqlite.Node, data_path: Path, document: bytes) -> None:
    """With nsqd's words, before anything is touched."""
    (data_path / "nsqd.dat").write_bytes(document)
    write_queue(data_path, "t:c", [record(b"a")])

    with pytest.raises(ImportRefusedError, match=f"failed to parse metadata in {data_path}/nsqd.dat - "):
        import_nsqd_files(node, str(data_path))

    assert node.topics == []
    assert IMPORTED not in os.listdir(data_path)


def test_running_nsqd_is_refused(node: nsqlite.Node, data_path: Path) -> None:
    """While somebody holds nsqd's lock nothing is imported; who holds it itself says so."""
    write_queue(data_path, "t:c", [record(b"a")])
    with locked_data_path(str(data_path)):
        with pytest.raises(ImportRefusedError, match="possibly in use by another instance of nsqd"):
            import_nsqd_files(node, str(data_path))
        assert node.topics == []

        summary = import_nsqd_files(node, str(data_path), is_locked=True)

    assert summary == ImportSummary(1, 1, 1)


def test_lock_is_let_go(node: nsqlite.Node, data_path: Path) -> None:
    """Once it is done an nsqd could start there."""
    write_queue(data_path, "t:c", [record(b"a")])
    take_over(node, data_path)

    descriptor = os.open(data_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_node_in_memory_is_refused(data_path: Path) -> None:
    """Files are not moved away for a node that forgets what it took."""
    write_queue(data_path, "t:c", [record(b"a")])
    with nsqlite.open() as node, pytest.raises(ImportRefusedError, match="keeps nothing on disk"):
        import_nsqd_files(node, str(data_path))

    assert len(left(data_path)) == 2


def test_unreadable_file_is_refused(node: nsqlite.Node, data_path: Path) -> None:
    """What the system refuses is told with the file's name, and stays where it is."""
    (data_path / "t:c.diskqueue.000000.dat").mkdir()

    with pytest.raises(ImportRefusedError, match=r"t:c\.diskqueue\.000000\.dat: Is a directory"):
        import_nsqd_files(node, str(data_path))

    assert left(data_path) == ["t:c.diskqueue.000000.dat"]


def test_channel_is_not_filled_past_a_waiting_topic(node: nsqlite.Node, data_path: Path) -> None:
    """In a store whose paused topic has messages already, a channel's backlog has no place yet."""
    node.topic("t").channel("c")
    node.topic("t").pause()
    node.publish("t", b"first")
    write_queue(data_path, "t:c", [record(b"a")])

    with pytest.raises(ImportRefusedError, match="topic 't' of the store is paused and has messages"):
        import_nsqd_files(node, str(data_path))

    node.topic("t").unpause()
    assert take_over(node, data_path).messages == 1
    assert sorted(drain(node, "t", "c")) == [(b"a", 1), (b"first", 1)]


# -- broken off ----------------------------------------------------------------------------


class KilledError(BaseException):
    """The process ends here."""


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """End the process at one call of a function of os."""
    real, calls = getattr(os, name), iter(range(call + 1))

    def killed(*args: object, **kwargs: object) -> object:
        if str(args[0]).find("nsqd") >= 0 and next(calls, -1) == call:
            raise KilledError
        return real(*args, **kwargs)

    monkeypatch.setattr(f"nsqlite.daemon.importing.os.{name}", killed)


@pytest.mark.parametrize(
    "name, call, again",
    [("makedirs", 0, 0)]
    + [("replace", call, again) for call, again in enumerate([1000, 1000, 1, 1])]
    + [("rename", call, 0) for call in range(6)]
    + [("unlink", call, 0) for call in range(2)],
)
def test_import_goes_on_where_it_was_broken_off(
    tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int, again: int
) -> None:
    """Killed at any moment and started again it loses nothing, and repeats one batch at most."""
    bodies = [b"%d" % at for at in range(2 * BATCH_MESSAGES + 1)]
    write_nsqd_dat(data_path, {"t": {"channels": {"a": False}}, "u": {}})
    write_queue(data_path, "t:a", [b"".join(map(record, part)) for part in (bodies[:700], bodies[700:])])
    write_queue(data_path, "u", [record(b"topic")])
    with opened(tmp_path / "store") as node, monkeypatch.context() as patch:
        kill_at(patch, name, call)
        with pytest.raises(KilledError):
            import_nsqd_files(node, str(data_path))

    with opened(tmp_path / "store") as node:
        take_over(node, data_path)
        found = [body for body, _ in drain(node, "t", "a")] + [body for body, _ in drain(node, "u", "late")]
        node.check()

    assert set(found) == {*bodies, b"topic"}
    assert len(found) == len(bodies) + 1 + again
    assert left(data_path) == []
    names = os.listdir(data_path / IMPORTED)
    assert len(names) == 6
    assert not [each for each in names if each.endswith((".bookmark", ".tmp"))]


def test_full_store_is_told_and_gone_on_with(tmp_path: Path, data_path: Path) -> None:
    """An import for which there is no room leaves what it did not take; with room it goes on."""
    bodies = [b"%d" % at + b"x" * 500_000 for at in range(30)]
    write_queue(data_path, "t:c", [b"".join(map(record, bodies))])
    with (
        opened(tmp_path / "store", max_store_bytes=12 << 20, full_timeout=0.05) as node,
        pytest.raises(StoreFullError),
    ):
        import_nsqd_files(node, str(data_path))

    with opened(tmp_path / "store") as node:
        assert take_over(node, data_path).messages < len(bodies)
        assert [body for body, _ in drain(node, "t", "c")] == bodies


def test_second_import_keeps_the_files_of_the_first(node: nsqlite.Node, data_path: Path) -> None:
    """Who goes back to nsqd and comes again has both backlogs, and the files of both, under their own names."""
    for body in (b"one", b"two", b"three"):
        write_nsqd_dat(data_path, {"t": {"channels": {"c": False}}})
        write_queue(data_path, "t:c", [record(body)])
        take_over(node, data_path)

    assert drain(node, "t", "c") == [(b"one", 1), (b"two", 1), (b"three", 1)]
    for folder in (IMPORTED, f"{IMPORTED}.1", f"{IMPORTED}.2"):
        names = ["nsqd.dat", "t:c.diskqueue.000000.dat", "t:c.diskqueue.meta.dat"]
        assert sorted(os.listdir(data_path / folder)) == names


def test_files_that_came_back_are_warned_of(
    node: nsqlite.Node, data_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They double what the store holds, which is said with how much that is; the first time nothing is."""
    write_queue(data_path, "t:c", [record(b"one") + record(b"two")])
    take_over(node, data_path)
    assert [each for each in caplog.records if each.event == "import_again"] == []
    for each in (data_path / IMPORTED).iterdir():
        each.rename(data_path / each.name)

    take_over(node, data_path)

    (warning,) = [each for each in caplog.records if each.event == "import_again"]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith("the store holds 2 messages already")
    assert node.topic("t").channel("c").depth == 4
    assert sorted(os.listdir(data_path)) == [IMPORTED]


def test_import_that_goes_on_is_not_warned_of(
    tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the store holds is then what it took already, and comes no second time."""
    write_queue(data_path, "t:c", [record(b"one")])
    write_queue(data_path, "u:c", [record(b"two")])
    with opened(tmp_path / "store") as node, monkeypatch.context() as patch:
        kill_at(patch, "rename", 0)
        with pytest.raises(KilledError):
            import_nsqd_files(node, str(data_path))

    with opened(tmp_path / "store") as node:
        take_over(node, data_path)

    assert [each for each in caplog.records if each.event == "import_again"] == []


def test_who_holds_the_lock_is_told(data_path: Path) -> None:
    """By its process, where the system says so."""
    told = f"possibly in use by another instance of nsqd.: process {os.getpid()} holds it"

    with (
        locked_data_path(str(data_path)),
        pytest.raises(ImportRefusedError, match=told),
        locked_data_path(str(data_path)),
    ):
        pass
