"""Opening a store as after a failure, and reading out all it holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import nsqlite
from nsqlite.clock import VirtualClock
from tests.power.promises import BrokenPromiseError, Found, Held, number_of

_A_DAY_NS: Final = 86_400 * 1_000_000_000
_LATER: Final = "later"


def open_and_read(path: Path, durability: str, **options: Any) -> Found:
    """Open a store, check it, drain it without finishing anything, close it.

    Opened a day later by its clock, so that what was deferred is due.

    Raises:
        NsqliteError: If it does not open, which it must.
        BrokenPromiseError: If it holds what nobody published, or anything twice.
    """
    clock = VirtualClock(wall_ns=time.time_ns() + _A_DAY_NS)
    with nsqlite.open(path, durability=durability, clock=clock, **options) as node:
        node.check()
        found = read_out(node)
        node.check()
    return found


def read_out(node: Any) -> Found:
    """Everything that is ready in a node, by receiving it."""
    found = Found({}, {})
    for topic_name in node.topics:
        topic = node.topic(topic_name)
        topic.unpause()
        for channel_name in topic.channels:
            found.channels[topic_name, channel_name] = _drain(topic.channel(channel_name))
        if not found.channels.keys() & {(topic_name, each) for each in topic.channels}:
            found.waiting[topic_name] = _drain(topic.channel(_LATER))
    return found


def _drain(channel: Any) -> dict[int, Held]:
    channel.unpause()
    depth = channel.depth + channel.deferred_count
    held: dict[int, Held] = {}
    while messages := channel.receive_many(500, timeout=0):
        for message in messages:
            number = number_of(message.body)
            if number in held:
                raise BrokenPromiseError(f"{channel.name} gave message {number} twice")
            held[number] = Held(message.id, message.attempts)
    if channel.in_flight_count != len(held) or channel.depth + channel.deferred_count:
        raise BrokenPromiseError(
            f"{channel.name} gave {len(held)} messages, with counters of {depth} before and now "
            f"{channel.depth} waiting, {channel.deferred_count} deferred, {channel.in_flight_count} in flight"
        )
    return held
