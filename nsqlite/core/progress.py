"""What happens to messages, as small tuples for the journal; results, not requests.

    (HANDED,   channel number, first seq, count)                   for the first time
    (AGAIN,    channel number, first seq, count, attempts, rest)   a redelivery, or a delayed
                                                                   message's first; `rest` of
                                                                   its stretch stay ready
    (FINISHED, channel number, first seq, count)
    (DEFERRED, channel number, seq, attempts, due wall time in ns)

They may reach the disk late, or not at all: a forgotten one is a message delivered twice.
"""

from __future__ import annotations

from typing import Final

HANDED: Final = 16
AGAIN: Final = 17
FINISHED: Final = 18
DEFERRED: Final = 19

Progress = tuple[int, ...]
