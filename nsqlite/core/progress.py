"""What happens to messages, as small tuples for the journal; results, not requests.

    (HANDED,   channel number, first seq, count)                   for the first time
    (AGAIN,    channel number, first seq, count, attempts, rest)   a redelivery, or a delayed
                                                                   message's first; `rest` of
                                                                   its stretch stay ready
    (FINISHED, channel number, first seq, count)
    (DEFERRED, channel number, seq, attempts, due wall time in ns)
    (OWED,     channel number, first seq, count, attempts)         brought from elsewhere, for this
                                                                   channel alone

They may reach the disk late, or not at all: a forgotten one is a message delivered twice. Not so
the last, which is part of a promise: it is in the record of the publish that it belongs to.
"""

from __future__ import annotations

from typing import Final

HANDED: Final = 16
AGAIN: Final = 17
FINISHED: Final = 18
DEFERRED: Final = 19
OWED: Final = 20

Progress = tuple[int, ...]
