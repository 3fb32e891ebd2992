"""A real nsqd and a node answer the same seeded stream alike, to the last counter.

`NSQLITE_DIFFERENTIAL_STEPS` steps are done for each seed, `NSQLITE_DIFFERENTIAL_SEEDS` seeds from
`NSQLITE_DIFFERENTIAL_FIRST`. What is known to differ is a list in `differential/comparing.py`.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.interop.differential.comparing import comparable, comparable_heard, comparable_stats, differences, is_known
from tests.interop.differential.side import Side
from tests.interop.differential.stream import MAX_BODY_BYTES, MAX_MSG_BYTES, HangUp, Http, Step, Stream, Tcp
from tests.interop.servers import SERVERS
from tests.interop.transcripts.http_steps import Request

STEPS: Final = int(os.environ.get("NSQLITE_DIFFERENTIAL_STEPS", "500"))
SEEDS: Final = int(os.environ.get("NSQLITE_DIFFERENTIAL_SEEDS", "4"))
FIRST: Final = int(os.environ.get("NSQLITE_DIFFERENTIAL_FIRST", "1"))
OPTIONS: Final = {
    "max_msg_size": MAX_MSG_BYTES,
    "max_body_size": MAX_BODY_BYTES,
    "msg_timeout": 3600.0,
    "max_msg_timeout": 7200.0,
    "max_heartbeat_interval": 3600.0,
    "mem_queue_size": 1_000_000,
}
# A node logs as its application says; nsqd at info.
LOG_LEVEL: Final = Http(Request("PUT", "/config/log_level", b"info"))
SETTLE_SECONDS: Final = 5.0


@contextmanager
def sides() -> Iterator[tuple[Side, Side]]:
    """The two, newly started."""
    with SERVERS["nsqd"](**OPTIONS) as nsqd, SERVERS["node"](**OPTIONS) as node:
        both = Side(nsqd), Side(node)
        for side in both:
            side.ask(LOG_LEVEL)
        try:
            yield both
        finally:
            for side in both:
                side.close()


class Match:
    """A stream on its way through both."""

    def __init__(self, seed: int, nsqd: Side, node: Side) -> None:
        self._stream = Stream(seed)
        self._sides = nsqd, node
        self._before: deque[Step] = deque(maxlen=8)
        self.topics = 0
        self.messages = 0

    def play(self, seed: int, steps: int) -> None:
        """Compare after each step."""
        for number in range(steps):
            held = {name: sorted(client.held) for name, client in sorted(self._sides[0].clients.items())}
            step = self._stream.next(held)
            try:
                self._do(step)
                self._settle()
            except AssertionError as error:
                error.add_note(f"seed {seed}, step {number}: {step}")
                error.add_note(
                    "before, the last line last:" + "".join(f"\n  {str(each)[:300]}" for each in self._before)
                )
                raise
            self._before.append(step)

    def _do(self, step: Step) -> None:
        if isinstance(step, Http):
            nsqd, node = (side.ask(step) for side in self._sides)
            theirs, ours = (comparable(*each) for each in zip(self._sides, (step, step), (nsqd, node), strict=True))
            assert ours == theirs or is_known(step, nsqd, node), "\n".join(differences(theirs, ours))
            return
        for side in self._sides:
            if isinstance(step, Tcp):
                side.say(step)
            elif isinstance(step, HangUp):
                side.hang_up(step.by)

    def _settle(self) -> None:
        """Compare what came and all statistics, as soon as neither moves any more."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            stats = [side.stats() for side in self._sides]
            heard = [side.take() for side in self._sides]
            found = [self._found(*each) for each in zip(self._sides, stats, heard, strict=True)]
            is_settled = all(side.is_settled(each) for side, each in zip(self._sides, stats, strict=True))
            if is_settled and found[0] == found[1]:
                self.topics = max(self.topics, len(stats[0]["topics"]))
                self.messages += len(heard[0].messages)
                return
            assert time.monotonic() < deadline, "\n".join(differences(*found))
            for side, each in zip(self._sides, heard, strict=True):
                side.give_back(each)

    @staticmethod
    def _found(side: Side, stats: dict[str, Any], heard: Any) -> Any:
        return comparable_heard(heard), comparable_stats(side, stats)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_node_answers_as_nsqd(seed: int) -> None:
    """Every answer, frame and counter is nsqd's, whatever is sent."""
    with sides() as (nsqd, node):
        match = Match(seed, nsqd, node)
        match.play(seed, STEPS)

    assert match.topics > 1, "nothing happened"
    assert match.messages, "no message came"
