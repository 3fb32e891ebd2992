"""POST /mpub, 100 messages of 200 bytes a request, from 32 connections: how many messages a second?"""

import struct
from collections.abc import Iterator
from typing import Final

from benchmarks.harness import BATCH, BODY_BYTES
from benchmarks.http.publishing import publishing
from benchmarks.net.match import Goal, Match, Row

GOALS = {
    ("memory", "B"): Goal(1, 1),
    ("commit", "B"): Goal(None, None),
    ("fsync", "B"): Goal(None, None),
}

BODY: Final = b"x" * BODY_BYTES
TEXT: Final = b"\n".join([BODY] * BATCH)
BINARY: Final = struct.pack(">I", BATCH) + (struct.pack(">I", BODY_BYTES) + BODY) * BATCH


def answer(match: Match) -> Iterator[Row]:
    """As lines, then with the size before each message."""
    for words, target, body in (("text", "/mpub?", TEXT), ("binary", "/mpub?binary=true&", BINARY)):
        work = publishing(match.bench.seconds, target, body, BATCH)
        yield from match.rows(f"/mpub, {words}, {BATCH} messages", work, "rate", "/s", GOALS)
