"""One story per fault, run as a child with the shim: `python -m tests.faults.scenario FOLDER LEVEL WRITES`.

Cases come in on standard input, one JSON object a line; for each a line comes back:
what broke, or how many calls of each class the story made. A case that hangs ends the
child with every thread's stack.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import nsqlite
from nsqlite.errors import NsqliteError, StoreError
from nsqlite.storage import journal
from tests.power.promises import BrokenPromiseError, Found, Held, Ledger, Moment, number_of, verify
from tests.power.store import open_and_read
from tests.power.workload import Workload
from tests.shim import FOR_GOOD, NAMES, ONCE, SHORT, TORN, Shim

MODES: Final = {"once": ONCE, "for good": FOR_GOOD, "short": SHORT, "torn": TORN}
SMALL_SEGMENT_BYTES: Final = 16 << 10
HANG_SECONDS: Final = 25
_PATIENCE: Final = 10_000  # milliseconds
FULL_TIMEOUT_SECONDS: Final = 0.1


class Case:
    """A store, a fault, and a story that must come to a good end all the same."""

    def __init__(self, path: Path, level: str, writes: str, shim: Shim) -> None:
        self._path, self._level, self._writes, self._shim = path, level, writes, shim
        self._copied = path.parents[1] / "copy"  # outside of what the shim sees
        self._marks: list[str] = []
        self._next = 1
        self._errors: list[str] = []
        self.is_unknown = False

    def run(self, fault: dict[str, Any] | None) -> None:
        """Tell the story with a fault in it, and hold the node to its promises.

        Raises:
            BrokenPromiseError: If it broke one.
        """
        shim = self._shim
        if fault is not None:
            shim.arm(NAMES[fault["class"]], fault["n"], getattr(errno, fault["error"]), MODES[fault["mode"]])
        closed = False
        with self._expected("open"):
            closed = self._live(self._first_day, is_last=False)
        with self._expected("open again"):
            closed = self._live(self._second_day, is_last=True)
        is_once = fault is None or fault["mode"] != "for good"
        shim.disarm()
        for path in (self._copied, self._path):
            if path.exists():
                self._verify(open_and_read(path, self._level), is_settled=closed and path is self._path)
        if is_once and self.is_unknown:
            raise BrokenPromiseError(f"one fault, and the node knew no outcome: {self._errors}")
        if fault is None and self._errors:
            raise BrokenPromiseError(f"no fault, and errors: {self._errors}")

    def _live(self, day: Callable[[Workload, Any], None], *, is_last: bool) -> bool:
        """Open the store, live through a day, and close it; whether closing settled everything."""
        node = nsqlite.open(
            self._path,
            durability=self._level,
            journal_writes=self._writes,
            settle_bytes=12_000,
            settle_interval=0.02,
            sync_interval=0.01,
            full_timeout=FULL_TIMEOUT_SECONDS,
            cache_bytes=1 << 20,
        )
        work = Workload(node, random.Random(1), self._marks.append, self._next)
        try:
            day(work, node)
        finally:
            self._next = work.next_number
            if is_last:
                self._copy(node)
            is_closed = False
            with self._expected("close"):
                node.close()
                is_closed = True
        return is_closed

    def _copy(self, node: Any) -> None:
        """Copy the store as a kill would leave it: at a moment when no thread is in the midst of writing."""
        for _ in range(_PATIENCE):
            with node.engine.lock:
                if not (node.engine.is_settling or node.engine.background.is_rescuing):
                    coming_and_going = shutil.ignore_patterns("reserve")
                    shutil.copytree(self._path, self._copied, ignore=coming_and_going)
                    return
            time.sleep(0.001)
        raise BrokenPromiseError("a settlement does not end")

    def _first_day(self, work: Workload, node: Any) -> None:
        for name in ("t/a", "t/b"):
            with self._expected("make"):
                work.make(*name.split("/"))
        for count, delay in ((1, None), (5, None), (1, 0.001), (60, None), (1, None)):
            with self._expected("publish"):
                work.publish("t", count, delay)
        for topic, channel in list(work.channels):
            work.receive(topic, channel, 20)
        work.finish(0.5)
        work.requeue(3, (0,))
        with self._expected("publish"):
            work.publish("t", 40)
        with self._expected("sync"):
            work.sync()
        with self._expected("empty"):
            if ("t", "b") in work.channels:
                work.empty("t", "b")
        with self._expected("publish"):
            work.publish("t", 1)

    def _second_day(self, work: Workload, node: Any) -> None:
        topic = node.topic("t")
        work.channels = [("t", name) for name in topic.channels]
        self._mark("restarted", channels=[f"t/{name}" for name in topic.channels])
        for count in (50, 1, 60, 1):
            with self._expected("publish"):
                work.publish("t", count)
            for _, channel in work.channels:
                work.receive("t", channel, 30)
            work.finish(0.8)
        work.requeue(1000, (0,))
        self._mark("receive")
        found = Found({("t", name): self._drain(topic.channel(name)) for _, name in work.channels}, {})
        self._verify(found, is_settled=True)
        for (_, name), held in found.channels.items():
            self._mark("got", topic="t", channel=name, numbers=list(held))
        work.finish(1.0)

    def _drain(self, channel: Any) -> dict[int, Held]:
        """Receive all that is there, and keep it in flight."""
        got = channel.receive_many(100_000, timeout=0)
        held: dict[int, Held] = {}
        while got:
            held |= {number_of(message.body): Held(message.id, message.attempts) for message in got}
            got = channel.receive_many(100_000, timeout=0)
        return held

    def _mark(self, do: str, **fields: Any) -> None:
        self._marks.append(json.dumps({"do": do, **fields}))

    @contextlib.contextmanager
    def _expected(self, what: str) -> Iterator[None]:
        """Errors of ours are what a fault may end in; of receiving and finishing there may be none."""
        try:
            yield
        except StoreError as error:
            self.is_unknown |= getattr(error, "outcome_unknown", False)
            self._errors.append(f"{what}: {error}")
        except NsqliteError as error:
            raise BrokenPromiseError(f"{what} raised {error!r}") from error

    def _verify(self, found: Found, *, is_settled: bool) -> None:
        cut = len(self._marks)
        progress = cut if is_settled else -1
        moment = Moment(cut, cut, progress, -1)
        verify(Ledger.of(enumerate(self._marks)), moment, found)


def main(folder: str, level: str, writes: str) -> None:
    """Run the cases that come in."""
    journal.FIRST_SEGMENT_BYTES = SMALL_SEGMENT_BYTES  # type: ignore[misc]  # or no segment is used again
    shim = Shim()
    for line in sys.stdin:
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        where = Path(folder) / "disk"
        where.mkdir()
        shim.record(where)
        shim.reset()
        told: dict[str, Any] = {"case": json.loads(line)}
        try:
            Case(where / "store", level, writes, shim).run(told["case"])
        except Exception as error:  # noqa: BLE001  # whatever it is, the parent shall hear of it
            told["broken"] = f"{type(error).__name__}: {error}"
            told["where"] = traceback.format_exc()
        finally:
            shim.disarm()
        told["fired"] = shim.fired
        told["counts"] = {name: shim.count(name) for name in NAMES}
        for path in (where, Path(folder) / "copy"):
            shutil.rmtree(path, ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
