"""Opens and closes a store, as a child with the shim: `python -m tests.power.opening PATH LEVEL WRITES`."""

from __future__ import annotations

import sys

import nsqlite
from tests.shim import Shim


def main(path: str, level: str, writes: str) -> None:
    """Open and close."""
    shim = Shim()
    shim.delay_syncs(0)
    nsqlite.open(path, durability=level, journal_writes=writes).close()


if __name__ == "__main__":
    main(*sys.argv[1:])
