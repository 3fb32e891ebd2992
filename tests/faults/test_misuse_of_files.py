"""A store that was left open, forked, opened twice, cut short or damaged: a clear error, and nothing lost."""

import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import nsqlite
from nsqlite.errors import (
    DamagedRecordError,
    ForkedError,
    NsqliteError,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
)

REPOSITORY = Path(__file__).parents[2]


def run(source: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with `path` as the store."""
    head = f"import os, sys\nimport nsqlite\npath = {str(path)!r}\n"
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", head + textwrap.dedent(source)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def filled(path: Path, count: int = 300) -> None:
    """A store with messages in one channel, cleanly closed."""
    with nsqlite.open(path, settle_interval=0.01) as node:
        topic = node.topic("t")
        topic.channel("c")
        for start in range(0, count, 50):
            topic.publish_many([b"%06d" % number + bytes(500) for number in range(start, start + 50)])


def drained(channel: Any) -> tuple[set[bytes], list[DamagedRecordError]]:
    """All that a channel gives, and the damage it names on the way."""
    bodies, damage = set(), []
    while True:
        try:
            messages = channel.receive_many(1000, timeout=0)
        except DamagedRecordError as error:
            damage.append(error)
            assert len(damage) < 1000, "the same damage for ever"
            continue
        if not messages:
            return bodies, damage
        bodies.update(message.body for message in messages)


def test_exit_without_close_keeps_what_was_promised(tmp_path: Path) -> None:
    """A script that ends with its node open ends at once, and its messages are there."""
    done = run(
        """
        node = nsqlite.open(path, durability="commit")
        node.topic("t").channel("c")
        node.publish("t", b"kept")
        """,
        tmp_path / "store",
    )

    assert done.returncode == 0, done.stderr
    with nsqlite.open(tmp_path / "store") as node:
        message = node.topic("t").channel("c").receive(timeout=0)
        assert message is not None
        assert message.body == b"kept"


def test_fork_inside_with_refuses_the_child_and_leaves_the_parent_alone(tmp_path: Path) -> None:
    """In the child every method raises ForkedError, also leaving the with block; the parent goes on."""
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        calls = ("n.publish('t', b'x')", "n.topic('t')", "t.publish(b'x')", "c.receive(timeout=0)", "n.stats()",
                 "n.sync()", "m.finish()", "c.depth", "n.check()", "n.topics")
        with nsqlite.open(path) as n:
            t = n.topic("t")
            c = t.channel("c")
            n.publish("t", b"before")
            m = c.receive(timeout=0)
            pid = os.fork()
            if not pid:
                for call in calls:
                    try:
                        eval(call)
                    except nsqlite.ForkedError:
                        continue
                    print("went through in the child:", call, flush=True)
                n.close()
                sys.exit(7)
            print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            m.finish()
            n.publish("t", b"after")
            print(c.receive(timeout=0).body, c.depth)
        with nsqlite.open(path) as n:
            print(n.topic("t").channel("c").depth)
        """,
        tmp_path / "store",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == ["child 7", "b'after' 0", "1"]
    assert issubclass(ForkedError, NsqliteError)


def test_second_opener_in_another_process_is_told_the_owners_pid(tmp_path: Path) -> None:
    """The error says who has the store open, as an attribute and in words."""
    with nsqlite.open(tmp_path / "store"):
        done = run(
            """
            try:
                nsqlite.open(path)
            except nsqlite.StoreLockedError as error:
                print(error.pid, str(error.pid) in str(error))
            """,
            tmp_path / "store",
        )

    assert done.stdout.split() == [str(os.getpid()), "True"], done.stderr


def test_second_opener_in_this_process_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    """Also by another spelling of the path; afterwards the first still holds its lock."""
    (tmp_path / "link").symlink_to(tmp_path)
    with nsqlite.open(tmp_path / "store") as node:
        for path in (tmp_path / "store", tmp_path / "link" / "store"):
            with pytest.raises(StoreLockedError):
                nsqlite.open(path)
        done = run("nsqlite.open(path)", tmp_path / "store")
        node.publish("t", b"x")

    assert "StoreLockedError" in done.stderr


@pytest.mark.parametrize("size", [0, 1, 4096, 8192, 20_000])
def test_truncated_data_is_a_typed_error_that_changes_nothing(tmp_path: Path, size: int) -> None:
    """LMDB would end the process with SIGBUS; instead the store says that it was truncated."""
    filled(tmp_path / "store")
    data = tmp_path / "store" / "lmdb" / "data.mdb"
    whole = data.read_bytes()
    os.truncate(data, size)

    done = run(
        """
        try:
            nsqlite.open(path)
        except nsqlite.StoreDamagedError as error:
            print("refused", error)
        """,
        tmp_path / "store",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused")
    assert data.stat().st_size == size
    data.write_bytes(whole)
    with nsqlite.open(tmp_path / "store") as node:
        assert node.topic("t").channel("c").depth == 300


def test_flipped_bits_in_messages_are_named_and_passed_over(tmp_path: Path) -> None:
    """Bits flipped inside bodies on disk: a typed error names each stretch once, and all the rest comes."""
    filled(tmp_path / "store")
    data = tmp_path / "store" / "lmdb" / "data.mdb"
    content = bytearray(data.read_bytes())
    at = content.find(b"000120" + bytes(500))
    while at >= 0:
        content[at + 100] ^= 4
        at = content.find(b"000120" + bytes(500), at + 1)
    data.write_bytes(content)

    with nsqlite.open(tmp_path / "store") as node:
        bodies, damage = drained(node.topic("t").channel("c"))
        node.check()

    assert len(damage) == 1
    assert damage[0].topic == "t"
    assert damage[0].first_seq <= 120 < damage[0].first_seq + damage[0].count
    assert len(bodies) + damage[0].count == 300
    assert b"000000" + bytes(500) in bodies
    assert b"000299" + bytes(500) in bodies


def test_flipped_bits_anywhere_never_invent_a_message(tmp_path: Path) -> None:
    """One bit anywhere in data.mdb: the store opens and gives true messages, or says what is wrong."""
    seed = random.SystemRandom().randrange(1 << 31)
    rng = random.Random(seed)
    filled(tmp_path / "whole")
    expected = {b"%06d" % number + bytes(500) for number in range(300)}
    for number in range(12):
        path = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", path)
        data = path / "lmdb" / "data.mdb"
        content = bytearray(data.read_bytes())
        content[rng.randrange(8192, len(content))] ^= 1 << rng.randrange(8)
        data.write_bytes(content)
        done = run(
            """
            from tests.faults.test_misuse_of_files import drained
            try:
                with nsqlite.open(path) as node:
                    for name in node.topics:
                        for channel in node.topic(name).channels:
                            for body in sorted(drained(node.topic(name).channel(channel))[0]):
                                print(body.hex())
            except nsqlite.NsqliteError as error:
                print("told", type(error).__name__)
            """,
            path,
        )
        lines = done.stdout.split("\n")[:-1]
        bodies = {bytes.fromhex(line) for line in lines if not line.startswith("told")}
        assert bodies <= expected, f"seed {seed}, flip {number}"


def test_flipped_bits_in_the_journal_end_it_there(tmp_path: Path) -> None:
    """A record that is damaged ends the replay: what was promised before it is there, nothing else appears."""
    done = run(
        """
        node = nsqlite.open(path, durability="commit", settle_interval=1000.0, journal_writes="pwrite")
        node.topic("t").channel("c")
        for number in range(100):
            node.publish("t", b"%06d" % number)
        os._exit(0)
        """,
        tmp_path / "store",
    )
    assert done.returncode == 0, done.stderr
    (segment,) = (tmp_path / "store" / "journal").glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[content.index(b"000050") + 2] ^= 1
    segment.write_bytes(content)

    with nsqlite.open(tmp_path / "store") as node:
        bodies, damage = drained(node.topic("t").channel("c"))
        node.check()

    assert bodies == {b"%06d" % number for number in range(50)}
    assert damage == []


def test_foreign_journal_is_refused(tmp_path: Path) -> None:
    """Segments of another store beside this one's data are refused, and nothing is changed."""
    for name in ("one", "two"):
        done = run("node = nsqlite.open(path); node.publish('t', b'x'); os._exit(0)", tmp_path / name)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "one" / "journal")
    shutil.copytree(tmp_path / "two" / "journal", tmp_path / "one" / "journal")

    with pytest.raises(StoreDamagedError, match="another store"):
        nsqlite.open(tmp_path / "one")

    assert len(list((tmp_path / "one" / "journal").glob("*.seg"))) == 1
    assert issubclass(StoreDamagedError, StoreError)
