"""The demo's archive: a file that is only ever appended to.

    record  =  crc32 of the rest of the record  u32   little endian
               length of the path               u32
               length of the content            u32
               path, content

A process killed while it appends leaves half a record at the end, which the next one cuts off: the
message was not finished, so it comes again. A path may stand in the file twice, since a queue
delivers at least once; read into a dict, it is there once.
"""

import os
import struct
import zlib
from pathlib import Path
from types import TracebackType

HEAD = struct.Struct("<III")


class Archive:
    """The file, open for appending."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._file.truncate(read_archive(path)[1])

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, path: str, content: bytes) -> None:
        """Append one file. Once this returns, killing the process does not lose it."""
        name = os.fsencode(path)
        rest = HEAD.pack(0, len(name), len(content))[4:] + name + content
        self._file.write(zlib.crc32(rest).to_bytes(4, "little") + rest)


def read_archive(path: Path) -> tuple[dict[str, bytes], int]:
    """Return the archived files by path, and where the last whole record ends."""
    data = path.read_bytes() if path.exists() else b""
    files: dict[str, bytes] = {}
    at = 0
    while at + HEAD.size <= len(data):
        crc, name_length, content_length = HEAD.unpack_from(data, at)
        content_at = at + HEAD.size + name_length
        end = content_at + content_length
        if end > len(data) or crc != zlib.crc32(data[at + 4 : end]):
            break
        files[os.fsdecode(data[at + HEAD.size : content_at])] = data[content_at:end]
        at = end
    return files, at
