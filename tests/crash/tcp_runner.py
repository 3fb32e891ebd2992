"""Killing a node with a listener at random moments, while publishers and consumers outside talk to it over TCP."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.crash.runner import KILLS_A_STORE, CrashError
from tests.crash.tcp_actors import Consumer, publish
from tests.crash.tcp_witness import CHANNELS, TOPICS, Witness
from tests.power.promises import BrokenPromiseError
from tests.power.store import open_and_read

_REPOSITORY: Final = Path(__file__).parents[2]
_PATIENCE_SECONDS: Final = 30


def run_seed_over_tcp(seed: int, level: str, *, kills: int = KILLS_A_STORE) -> int:
    """Kill a node on one store again and again, then let it live until all is finished, and judge.

    The seed decides what is said to the node and when it is killed, as far as the machine lets it.

    Raises:
        CrashError: With the seed, and where the store was kept.
    """
    rng = random.Random(f"{seed} {level} over tcp")
    folder = Path(tempfile.mkdtemp(prefix="nsqlite-crash-tcp-"))
    witness = Witness()
    try:
        for _ in range(kills):
            _Life(folder / "store", level, rng, witness).end_by_kill()
        _Life(folder / "store", level, rng, witness).end_in_order()
        witness.judge(open_and_read(folder / "store", level))
    except Exception as error:
        raise CrashError(
            f"seed {seed} at {level!r}, over TCP: {error!r} {getattr(error, '__notes__', '')}; kept in {folder}\n"
            f"again: python -m tests.crash --tcp --seed {seed} --level {level} --cycles {kills}"
        ) from error
    shutil.rmtree(folder)
    return kills


class _Life:
    """The node from a start to an end, and all who talk to it."""

    def __init__(self, store: Path, level: str, rng: random.Random, witness: Witness) -> None:
        self._rng, self._witness = rng, witness
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        writes = rng.choice(("pwrite", "mapped"))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.tcp_child", str(store), level, writes, str(rng.random())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_REPOSITORY,
        )
        witness.begin_life()

    def end_by_kill(self) -> None:
        """Let all work, and kill the node after some of it.

        Raises:
            Exception: What any of them met.
        """
        events = self._rng.choice((-1, 0, 1, 2, self._rng.randrange(400), self._rng.randrange(2000)))
        pause = self._rng.choice((0.0, self._rng.random() * 0.004))  # not always right behind an event
        try:
            if events >= 0:  # or in the middle of opening
                self._begin(self._port(), with_publishers=True)
                goal = self._witness.events + events
                if not self._witness.wait_for_events(goal, self._stop, _PATIENCE_SECONDS) and not self._errors:
                    raise TimeoutError(f"not {events} events in {_PATIENCE_SECONDS} s")
            time.sleep(pause if events >= 0 else self._rng.random() * 0.3)
            if self._child.poll() is not None:
                raise RuntimeError("the node ended by itself")
        finally:
            self._child.kill()
            self._finish()

    def end_in_order(self) -> None:
        """Only consume, until all that was answered is finished; then close the node.

        Raises:
            BrokenPromiseError: If it does not come, or what any of them met.
        """
        try:
            self._begin(self._port(), with_publishers=False)
            left = self._witness.wait_for_all_finished(self._stop, _PATIENCE_SECONDS)
            if left and not self._errors:
                raise BrokenPromiseError(f"{len(left)} messages never came: {left[:10]}")
            self._witness.end_life(self._stop)
            for thread in self._threads:
                thread.join(_PATIENCE_SECONDS)
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child.stdin = None  # communicate() would flush it
            if self._child.wait(_PATIENCE_SECONDS) != 0:
                raise RuntimeError("the node could not be closed")
        finally:
            self._child.kill()
            self._finish()

    def _port(self) -> int:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("the node did not come up")
        return int(line)

    def _begin(self, port: int, *, with_publishers: bool) -> None:
        """Start everyone, each with dice of its own."""
        for channel in CHANNELS:
            consumer = Consumer(port, channel, random.Random(self._rng.random()), self._witness)
            self._start(lambda of=consumer: of.work(self._stop, only_finish=not with_publishers))
        for topic in TOPICS if with_publishers else ():
            rng = random.Random(self._rng.random())
            self._start(lambda to=topic, rng=rng: publish(port, to, rng, self._witness, self._stop))

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it is raised again by the runner
                self._errors.append(error)
                self._witness.end_life(self._stop)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def _finish(self) -> None:
        """Wait for everyone; raise what one of them met, with the node's last words."""
        self._witness.end_life(self._stop)
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)
        said = self._child.communicate()[1].decode(errors="replace")
        if self._errors:
            self._errors[0].add_note(f"the node said: {said[-3000:]}")
            raise self._errors[0]
        if said:
            raise RuntimeError(f"the node said: {said[-3000:]}")
