"""What both daemons have in common: command line, log, loop, signals and exit codes."""

import asyncio
import os
import re
import signal

import pytest

from nsqlite._version import __version__
from nsqlite.daemon.beginning import SIGNALS, Ending
from nsqlite.daemon.flags import FlagSet
from nsqlite.daemon.foreground import FAILED, MISUSED, OK, Program, StartError, run, take_signals
from nsqlite.daemon.kinds import BOOL, LOG_LEVEL, TEXT
from nsqlite.daemon.settings import NO_KEY, Chosen, Setting, flag_set
from nsqlite.net.protocol.negotiation import VERSION

SETTINGS = (
    Setting("config", TEXT, "", "command", "a file", key=NO_KEY),
    Setting("version", BOOL, False, "command", "the version", key=NO_KEY),
    Setting("log-level", LOG_LEVEL, 2, "command", "how much is said"),
    Setting("log-prefix", TEXT, "[x] ", "command", "what is said first"),
)
FLAGS: FlagSet = flag_set("prog", SETTINGS)


def program(serve: object) -> Program:
    """A daemon that does this."""
    return Program("prog", SETTINGS, FLAGS, serve)


async def nothing(chosen: Chosen) -> None:
    """Serve nobody."""


async def fail(chosen: Chosen) -> None:
    """Cannot start."""
    raise StartError("failed to instantiate prog - it is late")


def test_version_is_what_tools_parse(capsys: pytest.CaptureFixture[str]) -> None:
    """NSQ's form on standard output, with the version of the NSQ whose place is taken."""
    assert run(program(fail), ["--version"]) == OK

    out, err = capsys.readouterr()
    assert out == f"prog v{VERSION} (built w/nsqlite {__version__})\n"
    assert re.match(r"prog v\d+\.\d+\.\d+ ", out)
    assert err == ""


def test_help_is_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, as Go prints it, and no failure."""
    assert run(program(fail), ["-h"]) == OK

    assert capsys.readouterr() == ("", FLAGS.usage())


def test_wrong_command_line_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line has it, the usage follows."""
    assert run(program(fail), ["--nope"]) == MISUSED

    assert capsys.readouterr() == ("", f"flag provided but not defined: -nope\n{FLAGS.usage()}")


def test_broken_config_file_is_fatal(capsys: pytest.CaptureFixture[str]) -> None:
    """In a line of nsqd's form."""
    assert run(program(fail), ["-config=/nonesuch/file"]) == FAILED

    line = r"\[prog\] [\d/]{10} [\d:]{8}\.\d{6} FATAL: failed to load config file /nonesuch/file - open .*\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_daemon_that_cannot_start_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Last, and whatever the log level and prefix are."""
    assert run(program(fail), ["-log-level=fatal", "-log-prefix=p "]) == FAILED

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"\[prog\] \S+ \S+ FATAL: failed to instantiate prog - it is late", lines[0])


def test_first_line_is_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """With the prefix that was asked for."""
    assert run(program(nothing), ["-log-prefix", "here: "]) == OK

    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"here: \S+ \S+ INFO: prog v\S+ \(built w/nsqlite \S+\)", line)


def test_what_has_no_effect_is_told(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    """Arguments behind the options, and keys that are no option's."""
    (tmp_path / "file").write_text("colour = 1")

    assert run(program(nothing), [f"-config={tmp_path}/file", "false", "-x"]) == OK

    warnings = [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert warnings[0] == "nothing is done with the arguments from 'false' on: a boolean's value needs the form with ="
    assert warnings[1] == "the config file's 'colour' is no option"


def test_leftover_that_is_no_booleans_value_is_only_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is sent to look for a boolean."""
    assert run(program(nothing), ["data", "true"]) == OK

    assert capsys.readouterr().err.endswith(" WARNING: nothing is done with the arguments from 'data' on\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_it_in_order(number: signal.Signals) -> None:
    """The first sets the event, the next change nothing, and afterwards handlers are as before."""
    before = [signal.getsignal(each) for each in SIGNALS]
    seen = []

    async def serve(chosen: Chosen) -> None:
        asked = take_signals()
        os.kill(os.getpid(), number)
        await asked.wait()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
        seen.append("closed")

    assert run(program(serve), []) == OK
    assert seen == ["closed"]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_signals_end_it_while_it_starts() -> None:
    """Before it waits for signals it ends at once, in order; see test_beginning."""
    seen = []

    async def serve(chosen: Chosen) -> None:
        seen.extend(signal.getsignal(number) for number in SIGNALS)

    assert run(program(serve), []) == OK
    assert [type(each) for each in seen] == [Ending, Ending]
