"""nsqlite: NSQ's topics and channels inside your process, durable, with no daemon.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nsqlite._version import __version__

if TYPE_CHECKING:
    from nsqlite.clock import SystemClock, VirtualClock
    from nsqlite.errors import *  # noqa: F403  # the whole tree is public
    from nsqlite.message import Message
    from nsqlite.node import Channel, Consumer, Node, Topic, open  # noqa: A004  # nsqlite.open is the name
    from nsqlite.options import Options
    from nsqlite.stats import ChannelStats, ClientStats, NodeStats, TopicStats

_HOMES = {
    "open": "node",
    "Node": "node",
    "Topic": "node",
    "Channel": "node",
    "Consumer": "node",
    "Message": "message",
    "Options": "options",
    "SystemClock": "clock",
    "VirtualClock": "clock",
    "NodeStats": "stats",
    "TopicStats": "stats",
    "ChannelStats": "stats",
    "ClientStats": "stats",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the names are literals


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name, "errors" if name.endswith("Error") else None)
    if home is None:
        if name == "aio":
            return importlib.import_module("nsqlite.aio")
        raise AttributeError(f"module 'nsqlite' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nsqlite.{home}"), name)
    globals()[name] = value
    return value
