"""Building and running the programs of this folder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from tests.interop.servers import PATIENCE_SECONDS, ROOT, LineReader, started

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = ROOT / "build" / "clients"
_BUILD_SECONDS: Final = 300


def _run(*command: str, cwd: Path) -> None:
    """Run a step of a build.

    Raises:
        AssertionError: With what it said, if it fails or its program is not there.
    """
    assert shutil.which(command[0]), f"there is no {command[0]} on this machine, and the interop tests need it"
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS)
    assert done.returncode == 0, f"{command} failed\n{done.stdout}{done.stderr}"


@contextlib.contextmanager
def _built_once(name: str) -> Iterator[Path | None]:
    """Yield a folder to build in, or None if it is built already; other test processes wait meanwhile."""
    sources = sorted(path for path in (HERE / name).iterdir() if path.is_file())
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".built-from"
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            yield None
            return
        yield folder
        stamp.write_text(digest)


@functools.cache
def _build_gonsq() -> list[str]:
    with _built_once("gonsq") as folder:
        if folder is not None:
            _run(
                "go", "build", "-buildvcs=false", "-mod=readonly", "-o", str(folder / "client"), ".", cwd=HERE / "gonsq"
            )
    return [str(BUILD / "gonsq" / "client")]


@functools.cache
def _build_nsqjs() -> list[str]:
    with _built_once("nsqjs") as folder:
        if folder is not None:
            for source in ("package.json", "package-lock.json", "client.js"):
                shutil.copy(HERE / "nsqjs" / source, folder)
            _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    assert shutil.which("node"), "there is no node on this machine, and the interop tests need it"
    return ["node", str(BUILD / "nsqjs" / "client.js")]


def command_of(client: str) -> list[str]:
    """The command that runs a client's program, built if need be."""
    if client == "gonsq":
        return _build_gonsq()
    if client == "nsqjs":
        return _build_nsqjs()
    return [sys.executable, "-m", f"tests.interop.clients.{client}_client"]


@attrs.frozen
class Consumer:
    """A consumer that runs."""

    _reader: LineReader

    def next(self, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The next thing it tells; nothing if it has ended."""
        return dict(json.loads(self._reader.line(patience) or "{}"))

    def messages(self, count: int) -> list[dict[str, Any]]:
        """The next messages it is handed.

        Raises:
            AssertionError: If it tells an error, or ends.
        """
        got = [self.next() for _ in range(count)]
        assert all("body" in each for each in got), got
        return got


def _say(process: subprocess.Popen[bytes], options: dict[str, Any]) -> None:
    """Give a program its options."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(options).encode() + b"\n")
    process.stdin.flush()


@contextlib.contextmanager
def consuming(client: str, host: str, port: int, **options: Any) -> Iterator[Consumer]:
    """Run a consumer; at the end it must stop by itself when it is told to."""
    with started([*command_of(client), host, str(port), "consume"]) as process:
        _say(process, options)
        yield Consumer(LineReader(process, process.stdout))


def produce(client: str, host: str, port: int, steps: list[dict[str, Any]], **options: Any) -> list[str]:
    """Run a producer to its end, and return what was answered to each step; an error is the last."""
    options["steps"] = steps
    with started([*command_of(client), host, str(port), "produce"]) as process:
        _say(process, options)
        reader, answers = LineReader(process, process.stdout), list[str]()
        while line := reader.line():
            said = json.loads(line)
            answers.append(said.get("answer") or said["error"])
            if "error" in said:
                break
    return answers
