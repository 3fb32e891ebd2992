"""The shim of tests/shim/shim.c: built here, loaded into a child, worked from inside it.

A test starts a child with `environment(...)` as its environment; the child calls
`Shim()` to mark the log and to arm faults. A missing C compiler is an error, not a
reason to skip: without the shim nobody knows what a power failure does.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("shim.c")

#: The classes of calls that can be made to fail, as shim.c numbers them.
WRITE, SYNC, RENAME, TRUNCATE, CREATE, FALLOCATE, UNLINK, MAP = (1 << bit for bit in range(8))
NAMES: Final = {
    "write": WRITE,
    "sync": SYNC,
    "rename": RENAME,
    "truncate": TRUNCATE,
    "create": CREATE,
    "fallocate": FALLOCATE,
    "unlink": UNLINK,
    "map": MAP,
}

#: How an armed fault behaves: the n-th call only, the n-th and all after it, a short
#: write, or a write that does half its work and then fails.
ONCE, FOR_GOOD, SHORT, TORN = range(4)


def build() -> Path:
    """Compile the shim, once for each version of its source, and return where it is.

    Raises:
        RuntimeError: If there is no working C compiler.
    """
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"nsqlite-shim-{os.getuid()}-{digest}.so"
    if target.exists():
        return target
    unfinished = target.with_suffix(f".{os.getpid()}")
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(unfinished), str(SOURCE), "-ldl", "-lpthread"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError("the shim needs a C compiler named cc") from error
    if done.returncode:
        raise RuntimeError(f"the shim does not compile: {done.stderr}")
    unfinished.replace(target)
    return target


def environment(root: Path | None = None, log: Path | None = None) -> dict[str, str]:
    """Return the environment of a child that has the shim, recording below `root` into `log`."""
    made = dict(os.environ)
    made["LD_PRELOAD"] = str(build())
    made["PYTHONPATH"] = str(SOURCE.parents[2])
    if root is not None:
        made["NSQLITE_SHIM_ROOT"] = str(root)
    if log is not None:
        made["NSQLITE_SHIM_LOG"] = str(log)
    return made


class Shim:
    """The shim that is loaded into this process."""

    def __init__(self) -> None:
        library = os.environ.get("LD_PRELOAD", "")
        if "nsqlite-shim" not in library:
            raise RuntimeError("this process was started without the shim")
        self._library = ctypes.PyDLL(library)  # PyDLL keeps the GIL: a mark shall not let others run
        self._library.shim_count.restype = ctypes.c_long
        self._library.shim_fired.restype = ctypes.c_long
        self._library.shim_used.restype = ctypes.c_longlong

    def record(self, root: Path | None, log: Path | None = None) -> None:
        """Work on files below `root` from now on, recording into `log` if there is one."""
        self._library.shim_record(
            None if root is None else os.fsencode(root), None if log is None else os.fsencode(log)
        )

    def mark(self, tag: str) -> None:
        """Write `tag` into the log, behind every store and every call so far."""
        self._library.shim_mark(tag.encode())

    def delay_syncs(self, microseconds: int) -> None:
        """Wait this long instead of syncing. Recordings need no real sync; -1 syncs again."""
        self._library.shim_sync_delay(ctypes.c_long(microseconds))

    def arm(self, classes: int, n: int, error: int = errno.EIO, mode: int = ONCE, only: str = "") -> None:
        """Let the n-th call from now (from 1) of these classes fail, on paths with `only` in them."""
        self._library.shim_arm(classes, ctypes.c_long(n), error, mode, only.encode())

    def disarm(self) -> None:
        """Let nothing fail any more."""
        self._library.shim_disarm()

    @property
    def fired(self) -> int:
        """How many calls failed since the last `arm`."""
        return int(self._library.shim_fired())

    def count(self, name: str) -> int:
        """Return how many calls of a class there were since the last `reset`."""
        return int(self._library.shim_count(NAMES[name]))

    def reset(self) -> None:
        """Count from nought again."""
        self._library.shim_reset()

    def limit(self, capacity_bytes: int, used_bytes: int = 0) -> None:
        """Make the root a disk of this size; -1 lifts the limit."""
        self._library.shim_capacity(ctypes.c_longlong(capacity_bytes), ctypes.c_longlong(used_bytes))
