"""Which nodes are open here: closed at exit, refused in forked children, told to the log."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import ForkedError, InvalidOptionError, StoreFullError
from nsqlite.lifetime import _engines, open_engine
from nsqlite.options import Options
from nsqlite.storage.durable import DurableStorage
from nsqlite.storage.in_memory import InMemoryStorage
from tests.fakes.clock import AttendedClock
from tests.fakes.gated import open_gated

ROOT = Path(__file__).resolve().parents[1]
LEFT_OPEN = """\
import sys
import nsqlite
node = nsqlite.open(sys.argv[1], durability="commit")
channel = node.topic("orders").channel("billing")
node.publish_many("orders", [b"a", b"b", b"c"])
channel.receive(timeout=0).finish()
channel.receive(timeout=0).requeue(delay=3600)
print("left", flush=True)
"""
FORK = """\
import os, sys
import nsqlite
node = nsqlite.open(sys.argv[1])
topic = node.topic("orders")
channel = topic.channel("billing")
node.publish_many("orders", [b"a", b"b"])
message = channel.receive(timeout=0)
with node:
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (
            lambda: node.publish("orders", b"x"), lambda: topic.publish(b"x"), lambda: channel.receive(timeout=0),
            message.finish, node.stats, node.sync, node.check, lambda: channel.depth, lambda: node.topics,
            lambda: topic.publish_many([b"x"]), channel.empty, lambda: node.delete_topic("orders"),
        ):
            try:
                call()
            except nsqlite.ForkedError:
                refused += 1
        node.close()
        sys.exit(refused)  # leaves the block and runs atexit, as a careless child does
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 12, status
    node.publish("orders", b"c")
    message.finish()
    assert channel.depth == 2
print("sound")
"""


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script on a store, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "path, durability, kind, is_synced",
    [
        (None, None, InMemoryStorage, False),
        (None, "memory", InMemoryStorage, False),
        ("store", None, DurableStorage, True),
        ("store", "fsync", DurableStorage, True),
        ("store", "commit", DurableStorage, False),
    ],
)
def test_level_follows_from_the_path(
    tmp_path: Path, path: str | None, durability: str | None, kind: type, is_synced: bool
) -> None:
    """Without a path memory, with one "fsync" unless "commit" is asked for."""
    engine = open_engine(None if path is None else tmp_path / path, Options(durability=durability), AttendedClock())

    assert type(engine.storage) is kind
    assert engine.is_synced == is_synced
    engine.close()


def test_path_may_be_a_string_or_a_path(tmp_path: Path) -> None:
    """Anything that os.fspath takes names a store."""
    with nsqlite.open(str(tmp_path / "store")) as node:
        node.publish("orders", b"x")
    with nsqlite.open(tmp_path / "store") as node:
        assert node.topics == ["orders"]


def test_level_and_path_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """The error says what would."""
    with pytest.raises(InvalidOptionError, match="give a path"):
        open_engine(None, Options(durability="fsync"), None)


def test_closed_node_is_left_alone_at_exit() -> None:
    """Only open nodes are closed at exit."""
    node = nsqlite.open()
    assert node.engine in _engines

    node.close()

    assert node.engine not in _engines


def test_node_left_open_is_closed_at_exit(tmp_path: Path) -> None:
    """Progress is journaled, the lock is free, and nothing hangs the interpreter."""
    result = run(LEFT_OPEN, tmp_path / "store")

    assert (result.returncode, result.stdout, result.stderr) == (0, "left\n", "")
    with nsqlite.open(tmp_path / "store") as node:
        channel = node.topic("orders").channel("billing")
        assert (channel.depth, channel.deferred_count) == (1, 1)


def test_forked_child_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    """In a child every call raises ForkedError, leaving the block and exiting only close descriptors."""
    result = run(FORK, tmp_path / "store")

    assert (result.returncode, result.stdout, result.stderr) == (0, "sound\n", "")
    with nsqlite.open(tmp_path / "store") as node:
        channel = node.topic("orders").channel("billing")
        assert [m.body for m in channel.receive_many(9, timeout=0)] == [b"b", b"c"]


def test_forked_error_says_what_to_do() -> None:
    """Start workers before opening, or use threads."""
    assert "before opening" in str(ForkedError())


# -- the log -------------------------------------------------------------------------------


def test_log_tells_events_and_never_bodies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Records of logger nsqlite carry an event in `extra`; nothing of a message is in any of them."""
    caplog.set_level(logging.DEBUG, logger="nsqlite")
    clock = AttendedClock()
    node, storage = open_gated(tmp_path / "store", clock)
    channel = node.topic("orders").channel("billing")
    node.publish("orders", b"secret body")
    storage.failing_syncs = 1
    with pytest.raises(nsqlite.StorageFailedError):
        node.publish("orders", b"secret body")
    storage.failing_settlements = 1
    with pytest.raises(StoreFullError):
        node.engine.background.settle_now()
    with pytest.raises(ZeroDivisionError), channel.receive(timeout=0):
        _ = 1 / 0
    node.close()
    nsqlite.open(tmp_path / "store").close()

    events = [record.event for record in caplog.records]

    assert {record.name for record in caplog.records} == {"nsqlite"}
    assert {"opened", "journal_failed", "settle_failed"} <= set(events)
    assert "secret" not in "".join(record.getMessage() + str(record.__dict__) for record in caplog.records)


def test_logging_happens_with_the_lock_free(tmp_path: Path) -> None:
    """A handler may use the node that is being logged about."""
    clock = AttendedClock()
    node, storage = open_gated(tmp_path / "store", clock)
    seen = []

    class Handler(logging.Handler):
        """Looks at the node for every record."""

        def emit(self, record: logging.LogRecord) -> None:
            """Look."""
            seen.append((record.event, node.topics))

    handler = Handler()
    logging.getLogger("nsqlite").addHandler(handler)
    try:
        node.topic("orders")
        storage.failing_settlements = 1
        with pytest.raises(StoreFullError):
            node.engine.background.settle_now()
    finally:
        logging.getLogger("nsqlite").removeHandler(handler)
        node.close()

    assert seen == [("settle_failed", ["orders"])]


def test_library_is_quiet_unless_asked(tmp_path: Path) -> None:
    """Without a handler of the application's nothing is written to stderr."""
    script = "import sys, nsqlite; nsqlite.open(sys.argv[1]).close()"

    assert run(script, tmp_path / "store").stderr == ""


def test_importing_the_package_loads_nothing_heavy() -> None:
    """The root is lazy: no lmdb, no asyncio, no threads before a name is used."""
    script = "import sys, nsqlite; print(sorted({'lmdb', 'asyncio', 'attrs'} & set(sys.modules)))"

    assert run(script, Path(os.devnull)).stdout == "[]\n"
