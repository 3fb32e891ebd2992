"""An nsqlookupd inside your process: nsqds register with it, consumers and nsqadmin ask it who has a topic.

Names are loaded when they are first used; aiohttp only when one listens.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsqlite.net.lookupd.lookupd import Lookupd as Lookupd
    from nsqlite.net.lookupd.lookupd import LoopLookupd as LoopLookupd
    from nsqlite.net.lookupd.lookupd import listen as listen
    from nsqlite.net.lookupd.lookupd import serve as serve
    from nsqlite.net.lookupd.options import LookupdOptions as LookupdOptions

# Which module of the package has which name.
_HOMES = {
    "Lookupd": "lookupd",
    "LoopLookupd": "lookupd",
    "listen": "lookupd",
    "serve": "lookupd",
    "LookupdOptions": "options",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - a table's keys: all are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nsqlite.net.lookupd' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nsqlite.net.lookupd.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
