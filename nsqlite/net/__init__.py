"""A node on the network: any NSQ client connects to it as to an nsqd.

Names are loaded when they are first used: whoever only embeds a node pays for no loop.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsqlite.net.listener import Listener as Listener
    from nsqlite.net.listener import LoopListener as LoopListener
    from nsqlite.net.listener import listen as listen
    from nsqlite.net.listener import serve as serve
    from nsqlite.net.options import ListenerOptions as ListenerOptions

# Which module of the package has which name.
_HOMES = {
    "Listener": "listener",
    "LoopListener": "listener",
    "listen": "listener",
    "serve": "listener",
    "ListenerOptions": "options",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - a table's keys: all are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nsqlite.net' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nsqlite.net.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
