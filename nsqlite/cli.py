"""The command `nsqlite`: what can be done with a store that nobody has open, and the daemons.

    nsqlite stat PATH        a table of its topics and channels; writes nothing
    nsqlite check PATH       is every promise in it kept? writes nothing
    nsqlite compact PATH     settle it, and give disk back
    nsqlite nsqd ...         run in the place of nsqd, with its options
    nsqlite nsqlookupd ...   the same for nsqlookupd

Exit code 0: done, and sound. 1: `check` found faults, one on each line. 2: refused, with
one line on standard error that says why. `--json` puts the answer into one JSON object.
The daemons have NSQ's own exit codes; see nsqlite.daemon.foreground.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from nsqlite._version import __version__
from nsqlite.daemon.beginning import end_at_signals
from nsqlite.errors import NsqliteError

if TYPE_CHECKING:
    from nsqlite.storage.check import Audit
    from nsqlite.storage.reading import StoreSummary

# What takes time to import is imported by who needs it: a daemon has to hear signals before.
OK: Final = 0
FAULTS: Final = 1
REFUSED: Final = 2
DAMAGE_SIGNALS: Final = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)
DAEMONS: Final = {"nsqd": "run in the place of nsqd", "nsqlookupd": "run in the place of nsqlookupd"}
_HEADS: Final = ("TOPIC", "CHANNEL", "DEPTH", "DEFERRED", "OLDEST", "PAUSED")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    fill_descriptors()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in DAEMONS:  # what stands behind is for Go's rules, not for argparse's
        return _run_daemon(*given)
    chosen = _parser().parse_args(given)
    return _run(chosen) if chosen.run is _compact else _run_apart(chosen)


def _run_daemon(name: str, *arguments: str) -> int:
    end_at_signals(name)
    daemon = importlib.import_module(f"nsqlite.daemon.{name}")
    code: int = daemon.main(arguments)
    return code


def fill_descriptors() -> None:
    """Open the null device where standard input, output or error was closed.

    Else the next file or socket gets that number, and is written to as if it were a terminal.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            descriptor = number if os.path.samestat(os.fstat(number), os.stat(os.devnull)) else os.open(os.devnull, 2)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # to the end


def _run(chosen: argparse.Namespace) -> int:
    try:
        code: int = chosen.run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (NsqliteError, OSError) as error:
        print(f"nsqlite: {_one_line(str(error))}", file=sys.stderr)
        return REFUSED
    return code


def _run_apart(chosen: argparse.Namespace) -> int:
    """Read a store in a child: a damaged page of LMDB's can end the process that reads it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = REFUSED
        try:
            sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where LMDB says what it died of
            code = _run(chosen)
        except BaseException:  # noqa: BLE001  # the child ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    if number not in DAMAGE_SIGNALS:
        return 128 + number
    from nsqlite.storage.check import Audit, Fault

    fault = Fault("store", f"a page of LMDB's is damaged: reading it raised {signal.Signals(number).name}")
    if chosen.run is _check:
        return _print_audit(chosen, Audit(faults=[fault]))
    print(f"nsqlite: {fault}", file=sys.stderr)
    return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nsqlite", description="Look after a store that nobody has open, or run a daemon."
    )
    parser.add_argument("--version", action="version", version=f"nsqlite {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, run, told in (
        ("stat", _stat, "show its topics and channels; writes nothing"),
        ("check", _check, "look for broken promises, one line each, exit code 1; writes nothing"),
        ("compact", _compact, "settle it, and give disk back"),
    ):
        verb = verbs.add_parser(name, help=told, description=f"nsqlite {name}: {told}.")
        verb.add_argument("path", metavar="PATH", help="the store's folder")
        verb.add_argument("--json", action="store_true", help="answer with one JSON object")
        verb.set_defaults(run=run)
        if name == "compact":
            verb.add_argument(
                "--allow-network-filesystem",
                action="store_true",
                help="even where locks and syncs cannot be trusted",
            )
    for name, told in DAEMONS.items():
        verbs.add_parser(name, help=f"{told}, with its options; see nsqlite {name} -help")
    return parser


# -- verbs ---------------------------------------------------------------------------------


def _stat(chosen: argparse.Namespace) -> int:
    import attrs

    from nsqlite.clock import SystemClock
    from nsqlite.storage.reading import summarise

    summary = summarise(chosen.path, SystemClock().wall_ns())
    if chosen.json:
        _print_json(attrs.asdict(summary))
    else:
        _print_summary(summary)
    return OK


def _check(chosen: argparse.Namespace) -> int:
    from nsqlite.storage.check import audit

    return _print_audit(chosen, audit(chosen.path))


def _print_audit(chosen: argparse.Namespace, found: Audit) -> int:
    import attrs

    if chosen.json:
        _print_json({"path": os.path.abspath(chosen.path), "is_sound": found.is_sound, **attrs.asdict(found)})
    else:
        for note in found.notes:
            print(f"nsqlite: note: {_one_line(note)}", file=sys.stderr)
        for fault in found.faults:
            print(_one_line(str(fault)))
        if found.is_sound:
            print(
                f"sound: {_count(found.topic_count, 'topic')}, {_count(found.message_count, 'message')} "
                f"in {_count(found.row_count, 'row')}, {_count(found.record_count, 'journal record')}"
            )
    return OK if found.is_sound else FAULTS


def _compact(chosen: argparse.Namespace) -> int:
    import attrs

    from nsqlite.options import Options
    from nsqlite.storage.compacting import compact

    done = compact(chosen.path, Options(allow_network_filesystem=chosen.allow_network_filesystem))
    if chosen.json:
        _print_json(attrs.asdict(done))
    else:
        print(f"{done.path}: {_bytes(done.before_bytes)} before, {_bytes(done.after_bytes)} now")
    return OK


# -- words ---------------------------------------------------------------------------------


def _print_json(answer: dict[str, Any]) -> None:
    print(json.dumps(answer, indent=2))


def _print_summary(summary: StoreSummary) -> None:
    rows = [_HEADS]
    for topic in summary.topics:
        rows.append((topic.topic_name, "", str(topic.depth), "", "", _yes(topic.paused)))
        rows += [
            (
                topic.topic_name,
                channel.channel_name,
                str(channel.depth),
                str(channel.deferred_count),
                f"{channel.oldest_waiting_seconds:.1f}s" if channel.depth else "",
                _yes(channel.paused),
            )
            for channel in topic.channels
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if head in ("DEPTH", "DEFERRED", "OLDEST") else cell.ljust(width)
            for head, cell, width in zip(_HEADS, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print(
        f"\n{summary.path}: LMDB {_bytes(summary.lmdb_bytes)}, {_bytes(summary.lmdb_used_bytes)} in use; "
        f"journal {_bytes(summary.journal_bytes)}, {_count(summary.record_count, 'record')} not settled"
    )


def _yes(is_so: bool) -> str:
    return "yes" if is_so else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _bytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _one_line(text: str) -> str:
    return " ".join(text.split())
