"""What is recorded: run as a child with the shim, `python -m tests.power.workload ROOT SEED LEVEL WRITES`.

One thread does everything that can be done to a node, by dice; a second publishes
beside it. Segments are small, so that many are used again, and settlements frequent.
"""

from __future__ import annotations

import faulthandler
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nsqlite
from nsqlite.storage import journal
from tests.power.promises import body_of
from tests.shim import Shim

SMALL_SEGMENT_BYTES: Final = 96 << 10
STEPS: Final = 140
_BESIDE: Final = 5_000_000  # numbers of the second thread's messages


class Workload:
    """Does things to a node and marks what it does."""

    def __init__(self, node: Any, rng: random.Random, mark: Callable[[str], None], first: int = 1) -> None:
        self._node, self._rng, self._mark = node, rng, mark
        self.next_number = first
        self._held: list[tuple[str, str, Any]] = []
        self.channels: list[tuple[str, str]] = []

    def mark(self, do: str, **fields: Any) -> None:
        """Say what is about to be done, or was answered."""
        self._mark(json.dumps({"do": do, **fields}))

    def make(self, topic: str, channel: str) -> None:
        """Make a channel."""
        self.mark("make", topic=topic, channel=channel)
        self._node.topic(topic).channel(channel)
        self.mark("made", topic=topic, channel=channel)
        self.channels.append((topic, channel))

    def publish(self, topic: str, count: int, delay: float | None = None) -> None:
        """Publish, one or a batch."""
        first, self.next_number = self.next_number, self.next_number + count
        self.mark("publish", topic=topic, first=first, count=count)
        try:
            if count == 1:
                ids = [self._node.publish(topic, body_of(first), delay=delay)]
            else:
                bodies = [body_of(number) for number in range(first, first + count)]
                ids = self._node.publish_many(topic, bodies, delay=delay)
        except nsqlite.NsqliteError as error:
            self.mark("refused", first=first, unknown=getattr(error, "outcome_unknown", False))
            raise
        self.mark("published", first=first, ids=[each.decode() for each in ids])

    def receive(self, topic: str, channel: str, count: int) -> None:
        """Receive what is there and hold it."""
        self.mark("receive")
        messages = self._node.topic(topic).channel(channel).receive_many(count, timeout=0)
        self.mark("got", topic=topic, channel=channel, numbers=[int(each.body[1:8]) for each in messages])
        self._held += [(topic, channel, each) for each in messages]

    def finish(self, share: float) -> None:
        """Finish some of what is held, one by one or together."""
        self._rng.shuffle(self._held)
        count = int(len(self._held) * share)
        done, self._held = self._held[:count], self._held[count:]
        for topic, channel in self.channels:
            mine = [message for at, on, message in done if (at, on) == (topic, channel)]
            fields = {"topic": topic, "channel": channel, "numbers": [int(each.body[1:8]) for each in mine]}
            self.mark("finish", **fields)
            if len(mine) > 3:
                self._node.topic(topic).channel(channel).finish_many(mine)
            else:
                for message in mine:
                    message.finish()
            self.mark("finished", **fields)

    def requeue(self, count: int, delays: tuple[float, ...] = (0, 0.001, 30)) -> None:
        """Give some of what is held back, at once or for later."""
        self._rng.shuffle(self._held)
        for _ in range(min(count, len(self._held))):
            self._held.pop()[2].requeue(self._rng.choice(delays))

    def empty(self, topic: str, channel: str) -> None:
        """Empty a channel."""
        self.mark("empty", topic=topic, channel=channel)
        self._node.topic(topic).channel(channel).empty()
        self.mark("emptied", topic=topic, channel=channel)
        self._let_go(topic, channel)

    def remake(self, topic: str, channel: str) -> None:
        """Delete a channel and make it again."""
        self.mark("delete", topic=topic, channel=channel)
        self._node.topic(topic).delete_channel(channel)
        self.mark("deleted", topic=topic, channel=channel)
        self._let_go(topic, channel)
        self.channels.remove((topic, channel))
        self.make(topic, channel)

    def _let_go(self, topic: str, channel: str) -> None:
        self._held = [each for each in self._held if each[:2] != (topic, channel)]

    def sync(self) -> None:
        """Make everything so far last."""
        self.mark("sync")
        self._node.sync()
        self.mark("synced")

    def close(self) -> None:
        """Close the node, which makes everything last too."""
        self.mark("sync")
        self._node.close()
        self.mark("synced")

    def step(self, topics: list[str]) -> None:
        """Do one thing."""
        rng, topic = self._rng, self._rng.choice(topics)
        dice = rng.random()
        if dice < 0.40:
            self.publish(topic, 1, delay=rng.choice((None, None, None, 20)))
        elif dice < 0.55:
            self.publish(topic, rng.randrange(2, 60), delay=rng.choice((None, None, None, 20)))
        elif dice < 0.75:
            self.receive(*rng.choice(self.channels), rng.randrange(1, 80))
        elif dice < 0.88:
            self.finish(rng.random())
        elif dice < 0.93:
            self.requeue(rng.randrange(1, 6))
        elif dice < 0.95:
            self.sync()
        elif dice < 0.96:
            self.empty("beta", "y")
        elif dice < 0.97:
            self.remake("alpha", "b")
        else:
            time.sleep(rng.random() * 0.03)  # settlements and syncs come by themselves


def options_of(rng: random.Random, writes: str) -> dict[str, Any]:
    """Options under which everything happens soon."""
    return {
        "journal_writes": writes,
        "sync_interval": rng.choice((0.005, 0.03)),
        "settle_interval": rng.choice((0.01, 0.05, 10.0)),
        "settle_bytes": rng.choice((20_000, 200_000)),
        "max_journal_bytes": 8 << 20,
        "cache_bytes": rng.choice((0, 1 << 20)),
    }


def main(root: str, seed: str, level: str, writes: str) -> None:
    """Record one story, with the node opened and closed several times."""
    assert hasattr(journal, "FIRST_SEGMENT_BYTES")
    journal.FIRST_SEGMENT_BYTES = SMALL_SEGMENT_BYTES  # type: ignore[misc]  # or no segment is used again
    faulthandler.dump_traceback_later(60, exit=True)  # nothing may hang
    rng, shim = random.Random(f"{seed} {level} {writes}"), Shim()
    shim.delay_syncs(rng.choice((0, 100, 1000)))
    first = beside_first = 1
    path = Path(root) / "store"
    channels: list[tuple[str, str]] = []
    for _ in range(3):
        node = nsqlite.open(path, durability=level, **options_of(rng, writes))
        work = Workload(node, rng, shim.mark, first)
        work.channels = channels
        if not channels:
            for name in ("alpha/a", "alpha/b", "beta/x", "beta/y"):
                work.make(*name.split("/"))
                work.publish(name.split("/")[0], 3)
        beside = Workload(node, random.Random(seed), shim.mark, _BESIDE + beside_first)
        thread = threading.Thread(target=_publish_beside, args=(beside,))
        thread.start()
        for _ in range(STEPS // 3):
            work.step(["alpha", "beta", "nobody"])
        thread.join()
        work.close()
        first, beside_first, channels = work.next_number, beside.next_number - _BESIDE, work.channels


def _publish_beside(work: Workload) -> None:
    rng = random.Random(work.next_number)
    for _ in range(12):
        work.publish("alpha", rng.choice((1, 1, 5)))


if __name__ == "__main__":
    main(*sys.argv[1:])
