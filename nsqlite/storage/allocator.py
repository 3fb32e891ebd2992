"""Giving memory back that a settlement used and the C library would keep for the next one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


def find_trim(library: Any = None) -> Callable[[], None]:
    """The C library's `malloc_trim`, where it has one (glibc); else nothing happens.

    LMDB takes each page that a transaction changes from malloc, in the settling thread,
    whose heap would otherwise stay as large as the largest settlement.
    """
    try:
        trim = (ctypes.CDLL(None) if library is None else library).malloc_trim
    except (AttributeError, OSError):
        return lambda: None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int

    def give_back() -> None:
        trim(0)

    return give_back
