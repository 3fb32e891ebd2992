"""What the system knows of a process: its memory and its time on the CPU."""

import os
from pathlib import Path


def rss_bytes(pid: int) -> int:
    """All memory a process has at hand, pages of mapped files among it."""
    return _status_bytes(pid, "VmRSS:")


def rss_anon_bytes(pid: int) -> int:
    """The part that belongs to no file, which nothing but the process's end gives back."""
    return _status_bytes(pid, "RssAnon:")


def cpu_seconds(pid: int) -> float:
    """Time on the CPU until now, in user code and in the kernel for it."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no {field}")
