"""NSQ in unit tests: the real node on a store in memory, with time that stands still, and a history to ask.

Names are loaded when they are first used: pytest imports this package in every run.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsqlite.testing.clock import Clock as Clock
    from nsqlite.testing.cluster import Cluster as Cluster
    from nsqlite.testing.cluster import nsq_cluster as nsq_cluster
    from nsqlite.testing.events import Event as Event
    from nsqlite.testing.events import History as History
    from nsqlite.testing.nsq import Nsq as Nsq
    from nsqlite.testing.nsq import nsq as nsq
    from nsqlite.testing.nsqd import Nsqd as Nsqd
    from nsqlite.testing.nsqd import nsqd as nsqd

_HOMES = {
    "Clock": "clock",
    "Cluster": "cluster",
    "nsq_cluster": "cluster",
    "Event": "events",
    "History": "events",
    "Nsq": "nsq",
    "nsq": "nsq",
    "Nsqd": "nsqd",
    "nsqd": "nsqd",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - the table's keys: all are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nsqlite.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nsqlite.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which `nsq` and `nsqd` stay functions when the modules of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _HOMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
