"""The node that is killed, with a listener: `python -m tests.crash.tcp_child PATH LEVEL WRITES SEED`.

It says where it listens, and serves until it is killed or its standard input is closed.
"""

from __future__ import annotations

import os
import random
import sys

import nsqlite
import nsqlite.net
from nsqlite.storage import journal
from tests.power.workload import SMALL_SEGMENT_BYTES, options_of


def main(path: str, level: str, writes: str, seed: str) -> None:
    """Serve."""
    journal.FIRST_SEGMENT_BYTES = SMALL_SEGMENT_BYTES  # type: ignore[misc]  # or no segment is used again
    options = options_of(random.Random(seed), writes)
    with nsqlite.open(path, durability=level, **options) as node:
        node.check()
        with nsqlite.net.listen(node, tcp_address="127.0.0.1:0") as listener:
            os.write(1, b"%d\n" % listener.tcp_address[1])
            sys.stdin.buffer.read()
        node.check()


if __name__ == "__main__":
    main(*sys.argv[1:])
