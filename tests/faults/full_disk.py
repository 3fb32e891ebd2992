"""A disk that fills, run as a child with the shim: `python -m tests.faults.full_disk FOLDER`.

A small tmpfs is mounted where that is allowed; elsewhere the shim limits the folder.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import nsqlite
from nsqlite.errors import StoreFullError
from tests.shim import Shim

DISK_BYTES: Final = 12 << 20
BODY: Final = b"x" * 20_000
HANG_SECONDS: Final = 60
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000


def make_small(folder: Path) -> bool:
    """Put a small disk of its own at `folder`, visible to this process only; False if that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid = os.getuid()
    if libc.unshare(_CLONE_NEWNS if uid == 0 else _CLONE_NEWUSER | _CLONE_NEWNS):
        return False
    if uid:
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
    options = f"size={DISK_BYTES}".encode()
    return libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), options) == 0


def fill(node: Any) -> int:
    """Publish until the store says that it is full; how many it took."""
    count = 0
    while True:
        try:
            node.publish("t", BODY)
        except StoreFullError:
            return count
        count += 1


def main(folder: str) -> None:
    """Fill, receive and finish, publish again; then open it once more."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    shim, where = Shim(), Path(folder)
    is_own = make_small(where)
    shim.record(where)
    if not is_own:
        shim.limit(DISK_BYTES)
    options: dict[str, Any] = {"durability": "commit", "journal_writes": "pwrite", "full_timeout": 1.0}
    node = nsqlite.open(where / "store", **options)
    channel = node.topic("t").channel("c")
    count = fill(node)
    assert 100 < count < DISK_BYTES // len(BODY), count
    told = {"tmpfs": is_own, "published": count, "refused": 1}
    half = count // 2
    for _ in range(half):
        message = channel.receive(timeout=0)
        assert message is not None, "receiving does not go on"
        message.finish()
    assert channel.depth == count - half
    told["after"] = fill(node)
    while channel.depth > count // 16:  # closing settles, which takes room for what is still owed
        channel.receive(timeout=0).finish()
    node.check()
    owed = channel.depth
    node.close()
    assert shutil.disk_usage(where).total
    with nsqlite.open(where / "store", **options) as node:
        node.check()
        assert node.topic("t").channel("c").depth == owed
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
