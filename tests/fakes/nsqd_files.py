"""The files that nsqd leaves in its data path, written by hand, byte by byte."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TIMESTAMP_NS = 1_600_000_000_000_000_000


def record(
    body: bytes, attempts: int = 0, timestamp_ns: int = TIMESTAMP_NS, message_id: bytes = b"0e9c1f27d5c4a000"
) -> bytes:
    """One record of a disk queue."""
    return struct.pack(">iqH", 26 + len(body), timestamp_ns, attempts) + message_id + body


def write_queue(
    folder: Path,
    name: str,
    files: Sequence[bytes],
    *,
    first: int = 0,
    read: tuple[int, int] | None = None,
    write: tuple[int, int] | None = None,
    metadata: bool = True,
) -> None:
    """Write a queue's files, numbered from `first` on, with what nsqd's metadata says after a clean stop."""
    last = first + len(files) - 1
    for number, content in enumerate(files, first):
        (folder / f"{name}.diskqueue.{number:06d}.dat").write_bytes(content)
    if metadata:
        read, write = read or (first, 0), write or (last, len(files[-1]) if files else 0)
        text = f"1\n{read[0]},{read[1]}\n{write[0]},{write[1]}\n"
        (folder / f"{name}.diskqueue.meta.dat").write_text(text)


def write_nsqd_dat(folder: Path, topics: dict[str, dict[str, Any]]) -> None:
    """Write nsqd.dat: by topic, whether it is paused, and by channel, whether that is."""
    listed = [
        {
            "name": name,
            "paused": topic.get("paused", False),
            "channels": [{"name": each, "paused": paused} for each, paused in topic.get("channels", {}).items()]
            or None,
        }
        for name, topic in topics.items()
    ]
    (folder / "nsqd.dat").write_text(json.dumps({"topics": listed, "version": "1.3.0"}))
