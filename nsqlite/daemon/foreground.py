"""A daemon in the foreground: command line, log, loop, signals and exit codes, the same for both.

Exit code 0: ended by SIGINT or SIGTERM, at whatever moment, or it was asked for its version or help. 1: it could
not start, or not end well; the last line says why. 2: the command line was wrong.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from nsqlite.daemon.beginning import SIGNALS, own_signals, stamp
from nsqlite.daemon.config_file import read_config_file
from nsqlite.daemon.flags import FlagError, FlagSet, HelpAskedError
from nsqlite.daemon.kinds import TLS_REQUIRED
from nsqlite.daemon.log_lines import LOGGER, logging_to
from nsqlite.daemon.settings import Chosen, Setting, choose
from nsqlite.errors import NsqliteError
from nsqlite.net.http_api.identity import version_line
from nsqlite.net.listener import Complaints, new_loop
from nsqlite.net.options import ListenerOptions

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2


class StartError(NsqliteError):
    """Why a daemon cannot start, in the words of NSQ's own, which scripts look for."""


@attrs.frozen
class Program:
    """One daemon.

    Attributes:
        name: Of NSQ's own, which log lines and the version begin with.
        settings: Its options.
        flags: The same as flags.
        serve: Serves until what `take_signals` gave is set.
    """

    name: str
    settings: Sequence[Setting]
    flags: FlagSet
    serve: Callable[[Chosen], Awaitable[None]]

    @property
    def version(self) -> str:
        """As `--version` prints it."""
        return version_line(self.name)


def run(program: Program, arguments: Sequence[str]) -> int:
    """Run a daemon until it is told to end; return its exit code."""
    try:
        chosen = choose(program.settings, program.flags, arguments, read_config_file)
    except HelpAskedError:
        sys.stderr.write(program.flags.usage())
        return OK
    except FlagError as error:
        sys.stderr.write(f"{error}\n{program.flags.usage()}")
        return MISUSED
    except NsqliteError as error:
        return _fail(program, error)
    if chosen["version"]:
        sys.stdout.write(f"{program.version}\n")
        return OK
    with logging_to(sys.stderr, chosen["log-prefix"], chosen["log-level"]), own_signals(program.name):
        LOGGER.info(program.version)
        _tell_ignored(chosen)
        try:
            _run_loop(program.serve(chosen))
        except (NsqliteError, OSError) as error:
            return _fail(program, error)
    return OK


def _tell_ignored(chosen: Chosen) -> None:
    """Say what has no effect, since whoever wrote it expects one."""
    if chosen.rest:
        told = "nothing is done with the arguments from %r on"
        if _is_boolean(chosen.rest[0]):
            told += ": a boolean's value needs the form with ="
        LOGGER.warning(told, chosen.rest[0], extra={"event": "arguments_ignored"})
    for name in chosen.empty:
        LOGGER.warning("--%s is empty, which is taken as not given", name, extra={"event": "value_ignored"})
    for key in chosen.unknown_keys:
        LOGGER.warning("the config file's %r is no option", key, extra={"event": "key_ignored"})


def _is_boolean(text: str) -> bool:
    try:
        TLS_REQUIRED.parse(text)  # takes what the others do, too
    except ValueError:
        return False
    return True


def _fail(program: Program, error: BaseException) -> int:
    """Tell the last line, whatever the log level is, with the prefix that NSQ has for it."""
    sys.stderr.write(f"[{program.name}] {stamp(time.time())} FATAL: {error}\n")
    sys.stderr.flush()
    return FAILED


def _run_loop(main: Awaitable[None]) -> None:
    """Run it in this thread, on uvloop where that is installed."""

    async def in_loop() -> None:
        asyncio.get_running_loop().set_exception_handler(Complaints().hear)
        await main

    with asyncio.Runner(loop_factory=lambda: new_loop(ListenerOptions())) as runner:
        runner.run(in_loop())


def take_signals() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets; the next ones change nothing, to the loop's end."""
    asked = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked
