"""Every option of NSQ's own programs is taken, or refused with its reason in the document."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import attrs
import pytest

from nsqlite.daemon import nsqd_options, nsqlookupd_options
from tests.daemon.daemons import COMMAND
from tests.interop.servers import PEERS, ROOT

NSQD: Final = str(PEERS / "nsqd")
MODULES: Final = {"nsqd": nsqd_options, "nsqlookupd": nsqlookupd_options}
_OPTION: Final = re.compile(r"^  -(\S+)(?: (\S+))?\n    \t(.*)$", re.MULTILINE)
_DEFAULT: Final = re.compile(r" \(default ((?:\"[^\"]*\"|[^\s,()\"]+))\)$")
# Options whose default is another one, and why.
OTHER_DEFAULTS: Final = {
    "broadcast-address": "the host's name, which is found when it is needed",
    "node-id": "that of the store, if it has one",
    "tls-min-version": "tls1.0 is broken",
}


@attrs.frozen
class Option:
    """An option as the help shows it."""

    name: str
    kind: str
    default: str


def options_of(usage: str) -> dict[str, Option]:
    """All options that a usage lists."""
    found = {}
    for name, kind, told in _OPTION.findall(usage):
        default = _DEFAULT.search(told)
        found[name] = Option(name, kind, default[1] if default else "")
    return found


def real_options(program: str) -> dict[str, Option]:
    """What the real program's help lists."""
    done = subprocess.run([str(PEERS / program), "-help"], capture_output=True, text=True, check=True)
    return options_of(done.stderr)


@pytest.mark.parametrize("program", MODULES)
def test_every_option_is_taken(program: str) -> None:
    """With the same kind of value and the same default, but for a few, each with its reason."""
    real, ours = real_options(program), options_of(MODULES[program].FLAGS.usage())

    assert len(real) >= 10
    assert real.keys() - ours.keys() == set()
    for name, option in real.items():
        assert ours[name].kind == option.kind
        assert ours[name].default == option.default or name in OTHER_DEFAULTS


@pytest.mark.parametrize("program", MODULES)
def test_no_other_option_is_taken_for_theirs(program: str) -> None:
    """What the table has as NSQ 1.3.0's is NSQ 1.3.0's."""
    names = {setting.name for setting in MODULES[program].SETTINGS if setting.origin == "nsqd"}

    assert names == set(real_options(program))


@pytest.mark.parametrize("program", MODULES)
def test_options_without_effect_have_a_reason(program: str) -> None:
    """It stands in the table, and so in docs/commands.md."""
    document = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    for setting in MODULES[program].SETTINGS:
        if setting.place == "nowhere":
            assert setting.note
            assert re.search(rf"^\| `--{setting.name}` \|.*{re.escape(setting.note)} \|$", document, re.MULTILINE)


WRONG: Final = [
    ["-nope"],
    ["---x"],
    ["-=3"],
    ["--msg-timeout"],
    ["--msg-timeout=60"],
    ["--mem-queue-size", "99999999999999999999"],
    ["--max-deflate-level=abc"],
    ["--deflate=maybe"],
    ["--tls-required=Foo"],
    ["--tls-min-version=ssl3.0"],
    ["--log-level=loud"],
    ["--data-path"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_command_line_is_told_alike(arguments: list[str]) -> None:
    """The first line and the exit code are the real one's."""
    real, ours = (
        subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
        for command in ([NSQD], [*COMMAND, "nsqd"])
    )

    assert (ours.returncode, ours.stderr.splitlines()[0]) == (real.returncode, real.stderr.splitlines()[0])
    assert real.returncode == 2


FATAL: Final = [
    ["--max-deflate-level=0"],
    ["--max-deflate-level=10"],
    ["--node-id=1024"],
    ["--tls-required"],
    ["--tls-client-auth-policy=require"],
    ["--data-path=/nonesuch"],
    ["--config=/nonesuch"],
]


@pytest.mark.parametrize("arguments", FATAL, ids=" ".join)
def test_failed_start_is_told_alike(arguments: list[str], tmp_path: Path) -> None:
    """The last line behind its time, and the exit code, are the real one's."""
    addresses = ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]
    told = []
    for command in ([NSQD], [*COMMAND, "nsqd"]):
        done = subprocess.run(
            [*command, *addresses, f"--data-path={tmp_path}", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        told.append((done.returncode, done.stderr.splitlines()[-1].partition(" FATAL: ")[2]))

    assert told[1] == told[0]
    assert told[0][0] == 1
