"""Message ids: 64 bits, written as 16 lower-case hex digits, rising and unique in the node.

    63        54 53                                   0
    +-----------+--------------------------------------+
    |  node id  |  counter, from the wall clock in µs  |
    +-----------+--------------------------------------+

The counter starts at the wall clock and then only counts, so it never needs to
wait for the clock and never repeats, whatever the clock does.
"""

from __future__ import annotations

import struct
from typing import Final

COUNTER_BITS: Final = 54
MAX_NODE_ID: Final = 1023
_COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1


def first_id(node_id: int, last_id: int, wall_ns: int) -> int:
    """The next id to give out, above `last_id`'s counter and not behind the wall clock."""
    counter = max((last_id & _COUNTER_MASK) + 1, wall_ns // 1000)
    return node_id << COUNTER_BITS | (counter & _COUNTER_MASK)


def format_id(number: int) -> bytes:
    """One id as NSQ writes it."""
    return b"%016x" % number


def format_ids(first: int, count: int) -> list[bytes]:
    """`count` ids from `first` on. A third of the cost of formatting each (benchmarks/batches.py)."""
    digits = struct.pack(f">{count}Q", *range(first, first + count)).hex().encode()
    return [digits[at : at + 16] for at in range(0, 16 * count, 16)]
