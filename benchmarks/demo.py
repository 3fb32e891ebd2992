"""A real job on real input: killed half-way, started again, and nothing is lost. `make demo` runs it.

Every .py file of this Python's standard library is published to a topic with two channels. Four
threads count functions and classes from the one, an asyncio task archives from the other. When half
of the files are counted, the process that does all this is killed with SIGKILL and started again on
the same store. The job is in `benchmarks.demo_job`; read that first.

A file whose publish was acknowledged is never published again, so it can only come out of the store.
Exits with 1 if anything is lost.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nsqlite
from benchmarks.demo_archive import read_archive
from benchmarks.demo_job import ARCHIVING, COUNTING, TOPIC, pack

STALLED_SECONDS = 120
BAR_WIDTH = 24


class Observed:
    """What the job's processes have told, kept by path: hearing it twice changes nothing."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.published: set[str] = set()
        self.archived: set[str] = set()
        self.counted: dict[str, tuple[int, int]] = {}
        self.redelivered = 0
        self.opened_seconds: list[float] = []

    def hear(self, told: dict[str, Any]) -> None:
        """Take up one event."""
        self.redelivered += told.get("attempts", 1) > 1
        match told["event"]:
            case "opened":
                self.opened_seconds.append(told["seconds"])
            case "published":
                self.published.add(told["path"])
            case "archived":
                self.archived.add(told["path"])
            case "counted":
                self.counted[told["path"]] = (told["functions"], told["classes"])


class Bar:
    """A progress bar on standard error; where that is no terminal, a line for each tenth."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._next = 0.0

    def show(self, observed: Observed, note: str) -> None:
        """Draw how far the job is, ten times a second at most."""
        done = len(observed.counted) + len(observed.archived)
        share = done / (2 * observed.total)
        step = time.monotonic() if self._is_live else share
        if step < self._next:
            return
        self._next = step + 0.1
        bar = ("#" * round(BAR_WIDTH * share)).ljust(BAR_WIDTH, ".")
        counts = f"published {len(observed.published):,}, counted {len(observed.counted):,}, "
        self._write(f"[{bar}] {share:4.0%}  {counts}archived {len(observed.archived):,}  {note}")

    def say(self, line: str) -> None:
        """Print a line above the bar, and draw the bar anew with the next event."""
        self._next = 0.0
        self._write(line)
        if self._is_live:
            sys.stderr.write("\n")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}" if self._is_live else f"{line}\n")
        sys.stderr.flush()


class Job:
    """One process that does the job."""

    def __init__(self, folder: Path, root: Path, paths: Sequence[str], max_msg_size: int) -> None:
        arguments = [folder / "store", root, folder / "archive", max_msg_size]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.demo_job", *map(str, arguments)],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(json.dumps(paths).encode())

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what it tells until it has ended. The kill may cut its last line short."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        rest = b""
        while True:
            if not select.select([descriptor], [], [], STALLED_SECONDS)[0]:
                raise TimeoutError(f"the job has told nothing for {STALLED_SECONDS} seconds")
            read = os.read(descriptor, 1 << 16)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            yield from map(json.loads, lines)
        self.process.wait()

    def kill(self) -> None:
        """End it with SIGKILL, as the machine's out-of-memory killer would: it cannot know or tidy up."""
        self.process.kill()


def read_input(root: Path) -> dict[str, bytes]:
    """Return every .py file below `root`, by path from there; installed packages are not the library's."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*.py"))
        if not {"site-packages", "dist-packages"} & set(path.parts) and path.is_file()
    }


def run_killed(folder: Path, root: Path, files: dict[str, bytes], observed: Observed, bar: Bar) -> int:
    """Do the job in two processes, the first killed half-way; return the bytes of the store at the kill."""
    # Most files are far under nsqlite's limit of 1 MiB; where one is larger, the limit is raised for it.
    largest = max(len(pack(path, content)) for path, content in files.items())
    max_msg_size = max(largest, nsqlite.Options().max_msg_size)
    store_bytes = 0

    job = Job(folder, root, list(files), max_msg_size)
    try:
        for event in job.events():
            observed.hear(event)
            bar.show(observed, "")
            if len(observed.counted) >= len(files) // 2:
                job.kill()
        if job.process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the job ended by itself, with exit code {job.process.returncode}")
        store_bytes = disk_bytes(folder / "store")
        bar.say(f"killed with SIGKILL: {how_far(observed)} of {len(files):,}; starting again on the same store")

        job = Job(folder, root, [path for path in files if path not in observed.published], max_msg_size)
        for event in job.events():
            observed.hear(event)
            bar.show(observed, "after the kill")
        if job.process.returncode != 0:
            raise RuntimeError(f"the job failed after the kill, with exit code {job.process.returncode}")
        bar.say(f"done: {how_far(observed)}")
    finally:
        job.kill()
    return store_bytes


def how_far(observed: Observed) -> str:
    """Say how far the job is."""
    return (
        f"{len(observed.published):,} published, {len(observed.counted):,} counted, {len(observed.archived):,} archived"
    )


def left_in_store(folder: Path) -> int:
    """Return how many messages the store still holds for its channels, having checked every invariant."""
    with nsqlite.open(folder / "store") as node:
        node.check()
        channels = [node.topic(TOPIC).channel(name) for name in (COUNTING, ARCHIVING)]
        return sum(channel.depth + channel.in_flight_count + channel.deferred_count for channel in channels)


def disk_bytes(folder: Path) -> int:
    """Return what a folder takes on disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


def main() -> int:
    """Run the demo, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="folder to read")
    parser.add_argument("--folder", type=Path, help="where to put store and archive, and leave them")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="nsqlite-demo-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty")
        return demonstrate(folder, options.root)


def demonstrate(folder: Path, root: Path) -> int:
    """Run the job in an empty folder, look at everything it left, and say what is there."""
    files = read_input(root)
    input_bytes = sum(map(len, files.values()))
    sys.stderr.write(f"{len(files):,} files, {input_bytes / 1e6:.1f} MB, from {root}\n")
    observed = Observed(len(files))

    began = time.monotonic()
    bytes_at_kill = run_killed(folder, root, files, observed, Bar())
    seconds = time.monotonic() - began

    bytes_at_end = disk_bytes(folder / "store")
    left = left_in_store(folder)
    archived = read_archive(folder / "archive")[0]
    lost = len(files.keys() - observed.counted.keys()) + len(files.keys() - archived.keys())
    is_equal = archived == files
    finished = len(observed.counted) + len(observed.archived) - left
    functions, classes = (sum(column) for column in zip(*observed.counted.values(), strict=True))

    rows = [
        ("published", f"{len(observed.published):,} files, {input_bytes / 1e6:.1f} MB"),
        ("finished", f"{finished:,} on two channels, {left} left in the store"),
        ("counted", f"{functions:,} functions, {classes:,} classes"),
        ("redelivered", f"{observed.redelivered:,}"),
        ("lost", f"{lost:,}"),
        ("archive equal to the input", "yes" if is_equal else "NO"),
        ("messages per second", f"{finished / seconds:,.0f} finished, in {seconds:.1f} s with both starts"),
        ("opened after the kill", f"{observed.opened_seconds[-1] * 1000:.0f} ms"),
        ("bytes on disk", f"{bytes_at_kill:,} at the kill, {bytes_at_end:,} at the end"),
    ]
    width = max(len(name) for name, _ in rows)
    sys.stdout.write("\n" + "".join(f"{name.ljust(width)}  {value}\n" for name, value in rows))
    return 0 if lost == 0 and left == 0 and is_equal and observed.published == files.keys() else 1


if __name__ == "__main__":
    sys.exit(main())
