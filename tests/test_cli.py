import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nsqlite
from nsqlite import cli
from tests.storage.stores import COUNT, closed_store, contents, flip_in_body, killed_store


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all it holds in its journal, for tests that only look."""
    return killed_store(tmp_path_factory.mktemp("killed") / "store")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without a journal, for tests that only look."""
    return closed_store(tmp_path_factory.mktemp("closed") / "store")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "nsqlite", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(*arguments: object) -> str:
    """Run the command, which must refuse with one line; return that line."""
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (cli.REFUSED, "")
    (line,) = done.stderr.splitlines()
    return line


# -- stat ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "killed"])
def test_stat_shows_a_table(kind: str, request: pytest.FixtureRequest) -> None:
    """Topics and channels stand in order, whether LMDB or the journal has them."""
    done = run("stat", request.getfixturevalue(kind))

    lines = [line.split() for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == ["TOPIC", "CHANNEL", "DEPTH", "DEFERRED", "OLDEST", "PAUSED"]
    assert lines[1] == ["lonely", "3"]
    assert lines[2] == ["orders", "0"]
    assert lines[3][:4] == ["orders", "billing", str(COUNT - 8), "1"]
    assert lines[4][:4] == ["orders", "mail", str(COUNT), "0"]
    assert lines[4][-1] == "yes"
    assert "MiB in use; journal" in done.stdout


def test_stat_answers_in_json(killed: Path) -> None:
    """The same as one object, with exact numbers."""
    answer = json.loads(run("stat", "--json", killed).stdout)

    assert answer["path"] == str(killed)
    assert answer["record_count"] > 0
    assert [topic["topic_name"] for topic in answer["topics"]] == ["lonely", "orders"]
    billing, mail = answer["topics"][1]["channels"]
    assert (billing["channel_name"], billing["depth"], billing["deferred_count"]) == ("billing", COUNT - 8, 1)
    assert (mail["depth"], mail["paused"]) == (COUNT, True)
    assert mail["oldest_waiting_seconds"] > 0


# -- check ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "killed"])
def test_check_of_a_sound_store(kind: str, request: pytest.FixtureRequest) -> None:
    """A sound store is one line, and exit code 0."""
    done = run("check", request.getfixturevalue(kind))

    assert (done.returncode, done.stderr) == (cli.OK, "")
    assert done.stdout.startswith("sound: 2 topics, ")
    assert len(done.stdout.splitlines()) == 1


def test_check_prints_one_line_a_fault(tmp_path: Path) -> None:
    """Each fault is one line on standard output, and the exit code is 1."""
    path = closed_store(tmp_path / "store")
    flip_in_body(path, 0)
    flip_in_body(path, 599)

    done = run("check", path)

    assert (done.returncode, done.stderr) == (cli.FAULTS, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["topic 'orders'", "topic 'orders'"]


def test_check_answers_in_json(tmp_path: Path) -> None:
    """Faults come as objects, with the same exit code."""
    path = closed_store(tmp_path / "store")
    flip_in_body(path, 599)

    done = run("check", path, "--json")

    answer = json.loads(done.stdout)
    assert done.returncode == cli.FAULTS
    assert (answer["is_sound"], answer["notes"], answer["topic_count"]) == (False, [], 2)
    (fault,) = answer["faults"]
    assert fault["place"] == "topic 'orders'"
    assert "is damaged" in fault["what"]


def test_check_names_a_truncated_file(tmp_path: Path) -> None:
    """A file cut short is a fault that `check` finds, in one line."""
    path = closed_store(tmp_path / "store")
    os.truncate(path / "lmdb" / "data.mdb", 8192)

    done = run("check", path)

    assert (done.returncode, done.stderr) == (cli.FAULTS, "")
    assert done.stdout.startswith("store: data.mdb has 8192 bytes, ")
    assert len(done.stdout.splitlines()) == 1


def test_check_puts_notes_beside_the_answer(closed: Path, tmp_path: Path) -> None:
    """What is unusual and no fault goes to standard error, and the exit code stays 0."""
    path = Path(shutil.copytree(closed, tmp_path / "store"))
    (path / "compacting").mkdir()

    done = run("check", path)

    assert done.returncode == cli.OK
    assert done.stderr.startswith("nsqlite: note: a compaction was broken off")


DIE_WHILE_READING = """
import os, sys
from nsqlite import cli
from nsqlite.storage import check, reading
check.audit = reading.summarise = lambda *_: os.kill(os.getpid(), int(sys.argv[1]))
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", cli.DAMAGE_SIGNALS)
def test_damage_that_ends_the_reader_is_one_line(closed: Path, number: signal.Signals) -> None:
    """A page that LMDB dies of is a fault for `check`, and a refusal by `stat`."""
    command = [sys.executable, "-c", DIE_WHILE_READING, str(int(number))]

    checked, stated = (
        subprocess.run([*command, verb, closed], capture_output=True, text=True, check=False)
        for verb in ("check", "stat")
    )

    line = f"store: a page of LMDB's is damaged: reading it raised {number.name}\n"
    assert (checked.returncode, checked.stdout, checked.stderr) == (cli.FAULTS, line, "")
    assert (stated.returncode, stated.stdout, stated.stderr) == (cli.REFUSED, "", f"nsqlite: {line}")


def test_killed_reader_is_no_damage(closed: Path) -> None:
    """A reader that somebody ends is not taken for a damaged store."""
    command = [sys.executable, "-c", DIE_WHILE_READING, str(int(signal.SIGTERM)), "check", str(closed)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


# -- compact -------------------------------------------------------------------------------


def test_compact_gives_disk_back(tmp_path: Path) -> None:
    """The journal is settled and what it took is free."""
    path = killed_store(tmp_path / "store")

    done = run("compact", path)

    assert (done.returncode, done.stderr) == (cli.OK, "")
    assert done.stdout.startswith(f"{path}: ")
    assert " MiB before, " in done.stdout
    assert list((path / "journal").iterdir()) == []
    assert run("check", path).returncode == cli.OK


def test_compact_answers_in_json(tmp_path: Path) -> None:
    """Bytes before and after are exact."""
    path = killed_store(tmp_path / "store")

    answer = json.loads(run("compact", path, "--json").stdout)

    assert answer["path"] == str(path)
    assert answer["before_bytes"] > answer["after_bytes"] > 0


# -- all verbs -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "killed"])
@pytest.mark.parametrize("verb", ["stat", "check"])
def test_reading_verbs_write_nothing(verb: str, kind: str, request: pytest.FixtureRequest) -> None:
    """Not a file, not a time of change, not a lock file."""
    path = request.getfixturevalue(kind)
    before = contents(path)

    assert run(verb, path).returncode == cli.OK

    assert contents(path) == before


@pytest.mark.parametrize("verb", ["stat", "check", "compact"])
def test_store_in_use_is_refused_with_its_pid(verb: str, tmp_path: Path) -> None:
    """Who has the store open is in the line."""
    with nsqlite.open(tmp_path / "store"):
        line = refused(verb, tmp_path / "store")

    assert f"is open in process {os.getpid()}" in line


@pytest.mark.parametrize("verb", ["stat", "check", "compact"])
@pytest.mark.parametrize(
    "name, why",
    [("missing", "there is nothing at this path"), ("file", "it is no folder"), ("folder", "it is no store")],
)
def test_what_is_no_store_is_refused(verb: str, name: str, why: str, tmp_path: Path) -> None:
    """Each verb says what is wrong with the path, and makes nothing there."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)

    line = refused(verb, tmp_path / name)

    assert why in line
    assert contents(tmp_path) == before


def test_store_without_its_tables_is_told(closed: Path, tmp_path: Path) -> None:
    """What is missing, and not that it is no store; for `check` that is a fault."""
    path = Path(shutil.copytree(closed, tmp_path / "store"))
    (path / "lmdb" / "data.mdb").unlink()

    lines = [refused(verb, path) for verb in ("stat", "compact")]
    checked = run("check", path)

    assert all("its lmdb/data.mdb is missing" in line and "restore it from a backup" in line for line in lines)
    assert (checked.returncode, checked.stdout.startswith("store: its lmdb/data.mdb is missing")) == (cli.FAULTS, True)


@pytest.mark.parametrize("verb", ["stat", "compact"])
def test_truncated_file_is_refused(verb: str, tmp_path: Path) -> None:
    """A file cut short is one line, and is left as it is."""
    path = closed_store(tmp_path / "store")
    os.truncate(path / "lmdb" / "data.mdb", 8192)

    line = refused(verb, path)

    assert "it was truncated" in line
    assert (path / "lmdb" / "data.mdb").stat().st_size == 8192


@pytest.mark.parametrize("verb", ["stat", "check", "compact"])
def test_refusal_is_the_same_with_json(verb: str, tmp_path: Path) -> None:
    """Standard output stays empty, so that who parses it sees nothing half."""
    assert "there is nothing at this path" in refused(verb, "--json", tmp_path / "missing")


@pytest.mark.parametrize("arguments", [(), ("stat",), ("burn", "x"), ("stat", "a", "b"), ("stat", "--what", "a")])
def test_wrong_call_shows_the_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A call that is none says how to call, with exit code 2."""
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)

    assert left.value.code == cli.REFUSED
    assert capsys.readouterr().err.startswith("usage: nsqlite")


# -- descriptors and rights ----------------------------------------------------------------


WHERE_FILES_GO = """
import os, sys
from nsqlite import cli
cli.fill_descriptors()
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
print("out"); print("err", file=sys.stderr); os.write(1, b"1"); os.write(2, b"2"); sys.stdin.read()
for number in range(3):
    os.fstat(number)
os.write(fd, b"mine")
sys.exit(fd if fd > 2 else 1)
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", ""])
def test_closed_descriptors_are_nobody_elses(closed: str, tmp_path: Path) -> None:
    """What is written to them is lost, and in no file that is opened later."""
    file = tmp_path / "file"
    line = f'exec "$0" -c "$1" "$2" {closed}'

    done = subprocess.run(["sh", "-c", line, sys.executable, WHERE_FILES_GO, file], capture_output=True, check=False)

    assert done.returncode > 2
    assert file.read_bytes() == b"mine"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_verb_with_closed_descriptors_ends_as_ever(closed: str, tmp_path: Path) -> None:
    """Only nobody hears of it."""
    path = closed_store(tmp_path / "store")
    line = f'exec "$0" -m nsqlite stat "$1" {closed}'

    done = subprocess.run(["sh", "-c", line, sys.executable, path], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (cli.OK, b"")


# -- daemons -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cli.DAEMONS)
def test_daemon_reads_its_own_arguments(name: str) -> None:
    """All that stands behind its name is for it, help and version too; see tests/daemon."""
    helped, told, refused_one = run(name, "--help"), run(name, "-version"), run(name, "-nonesuch")

    assert (helped.returncode, helped.stdout) == (cli.OK, "")
    assert helped.stderr.startswith(f"Usage of {name}:\n  -")
    assert (told.returncode, told.stderr) == (cli.OK, "")
    assert told.stdout.startswith(f"{name} v1.")
    assert refused_one.returncode == 2
    assert refused_one.stderr.startswith("flag provided but not defined: -nonesuch\n")


def test_help_names_the_daemons(capsys: pytest.CaptureFixture[str]) -> None:
    """They stand beside the verbs."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in cli.DAEMONS)


def test_other_verbs_load_no_daemon(closed: Path) -> None:
    """Who looks after a store pays for no loop and no server."""
    code = "import sys; from nsqlite.cli import main; main(sys.argv[1:]); print('asyncio' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code, "stat", closed], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's."""
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])

    assert left.value.code == 0
    assert capsys.readouterr().out == f"nsqlite {nsqlite.__version__}\n"


def test_reader_that_leaves_early_is_no_error(closed: Path) -> None:
    """`nsqlite stat PATH | head -1` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "nsqlite", "stat", str(closed)]

    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)

    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.OK, "")


def test_installed_command_is_the_module(closed: Path) -> None:
    """`nsqlite` and `python -m nsqlite` answer alike."""
    command = Path(sys.executable).with_name("nsqlite")
    if not command.exists():
        pytest.skip("the package is on the path and not installed")

    done = subprocess.run([command, "check", closed], capture_output=True, text=True, check=False)

    assert done.stdout == run("check", closed).stdout
