"""nsqlite: NSQ's topics and channels inside your process, durable, with no daemon.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nsqlite._version import __version__

if TYPE_CHECKING:  # the same names once more, where a type checker finds them; "as" says that they are public
    from nsqlite import aio as aio
    from nsqlite.clock import Clock as Clock
    from nsqlite.clock import SystemClock as SystemClock
    from nsqlite.clock import VirtualClock as VirtualClock
    from nsqlite.errors import *  # noqa: F403 - the whole tree is public
    from nsqlite.message import Message as Message
    from nsqlite.node import Channel as Channel
    from nsqlite.node import Consumer as Consumer
    from nsqlite.node import Node as Node
    from nsqlite.node import Topic as Topic
    from nsqlite.node import open as open  # noqa: A004 - nsqlite.open is the name
    from nsqlite.options import Options as Options
    from nsqlite.stats import ChannelStats as ChannelStats
    from nsqlite.stats import ClientStats as ClientStats
    from nsqlite.stats import HistogramStats as HistogramStats
    from nsqlite.stats import Latency as Latency
    from nsqlite.stats import NodeStats as NodeStats
    from nsqlite.stats import Percentile as Percentile
    from nsqlite.stats import PubCount as PubCount
    from nsqlite.stats import TopicStats as TopicStats

# Which module of the package has which name.
_HOMES = {
    "Clock": "clock",
    "SystemClock": "clock",
    "VirtualClock": "clock",
    "ChannelDeletedError": "errors",
    "ClosedError": "errors",
    "ConsumerClosedError": "errors",
    "DamagedRecordError": "errors",
    "ForkedError": "errors",
    "ImportRefusedError": "errors",
    "InvalidBodyError": "errors",
    "InvalidDelayError": "errors",
    "InvalidInputError": "errors",
    "InvalidNameError": "errors",
    "InvalidOptionError": "errors",
    "ListenError": "errors",
    "MessageTooBigError": "errors",
    "MisuseError": "errors",
    "NetworkFilesystemError": "errors",
    "NodeClosedError": "errors",
    "NodeFailedError": "errors",
    "NotInFlightError": "errors",
    "NsqliteError": "errors",
    "ReentrantError": "errors",
    "StorageFailedError": "errors",
    "StoreDamagedError": "errors",
    "StoreError": "errors",
    "StoreFullError": "errors",
    "StoreLockedError": "errors",
    "StorePathError": "errors",
    "StoreVersionError": "errors",
    "TooManyConsumersError": "errors",
    "TopicDeletedError": "errors",
    "WrongLoopError": "errors",
    "Message": "message",
    "Channel": "node",
    "Consumer": "node",
    "Node": "node",
    "Topic": "node",
    "open": "node",
    "Options": "options",
    "ChannelStats": "stats",
    "ClientStats": "stats",
    "HistogramStats": "stats",
    "Latency": "stats",
    "NodeStats": "stats",
    "Percentile": "stats",
    "PubCount": "stats",
    "TopicStats": "stats",
}
__all__ = ["__version__", "aio", *_HOMES]  # noqa: PLE0604 - a name more and the table's keys: all are strings


def __getattr__(name: str) -> Any:
    if name == "aio":
        return importlib.import_module("nsqlite.aio")
    if name not in _HOMES:
        raise AttributeError(f"module 'nsqlite' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nsqlite.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
