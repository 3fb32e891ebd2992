"""The shim's log as events, in the order in which they took effect."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

(
    FILE,
    WRITE,
    TRUNCATE,
    EXTEND,
    ZERO,
    SYNC_BEGIN,
    SYNC_END,
    LINK,
    UNLINK,
    RENAME,
    MARK,
    INJECTED,
) = range(1, 13)

_HEAD: Final = struct.Struct("<IIQQII")
_SPAN: Final = struct.Struct("<QQ")


class Event(NamedTuple):
    """One line of the log; see `struct record` in shim.c.

    Attributes:
        kind: One of the constants above.
        file: The file, or for names the folder. Numbers are never used twice, unlike inodes.
        a: offset, size, sync number, or the file that a name stands for.
        b: Depends on the kind: 1 for a folder, a mapped store or a sync of a span.
        data: What was written, a name, or a tag.
        thread: Who did it.
    """

    kind: int
    file: int
    a: int
    b: int
    data: bytes
    thread: int

    @property
    def span(self) -> tuple[int, int] | None:
        """First byte and length of a sync that covers a part of the file only."""
        return _SPAN.unpack(self.data) if self.b else None

    @property
    def names(self) -> tuple[str, str]:
        """The old and the new name of a rename."""
        old, new = self.data.decode().split("\0")
        return old, new


def read_log(path: Path) -> list[Event]:
    """Return every event of a log. A last one that is cut off, by a killed child, is left out."""
    return list(_events(path.read_bytes()))


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at + _HEAD.size <= len(data):
        kind, file, a, b, length, thread = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + length > len(data):
            return
        yield Event(kind, file, a, b, data[at : at + length], thread)
        at += length
