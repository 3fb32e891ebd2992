"""Frames: what a server writes.

    offset  size  field
         0     4  size of all that follows
         4     4  frame type: 0 response, 1 error, 2 message
         8        data

all big endian. A message's frame is made once, when it is published: see nsqlite.run.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"  V2"
RESPONSE: Final = 0
ERROR: Final = 1
_HEAD: Final = struct.Struct(">II")


def frame(kind: int, data: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(len(data) + 4, kind) + data


OK: Final = frame(RESPONSE, b"OK")
HEARTBEAT: Final = frame(RESPONSE, b"_heartbeat_")
CLOSE_WAIT: Final = frame(RESPONSE, b"CLOSE_WAIT")
