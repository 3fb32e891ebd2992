"""Threads and tasks that take messages by themselves: which are at it, and which wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from nsqlite.clock import Clock
from nsqlite.core.channel import Channel
from nsqlite.testing.clock import Clock as TestClock
from nsqlite.testing.clock import myself
from nsqlite.testing.events import History


@attrs.define
class _Doing:
    """What a caller does.

    Attributes:
        channel: Where it takes or waits.
        waiter: What wakes it; None while it is at work.
    """

    channel: Channel
    waiter: Any = None


class Callers:
    """Who takes messages, and what each does now. Thread-safe."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock
        self._doing: dict[Any, _Doing] = {}
        self._guard = threading.Lock()

    @contextmanager
    def at(self, channel: Channel) -> Iterator[None]:
        """The caller looks for messages, and will tell if it waits or leaves; it leaves with what is raised here."""
        self._note(_Doing(channel))
        try:
            yield
        except BaseException:
            self.leaves()
            raise

    def waits(self, channel: Channel, waiter: Any) -> None:
        """The caller waits until its waiter is woken, or its time has come."""
        if isinstance(self._clock, TestClock):
            self._clock.rests()
        self._note(_Doing(channel, waiter))

    def woken(self, waiters: Iterable[Any]) -> None:
        """Some who wait are about to be woken, though they stay in the channel's queue until they have seen it."""
        of = set(waiters)
        with self._guard:
            for doing in self._doing.values():
                if doing.waiter in of:
                    doing.waiter = None

    def goes_on(self, channel: Channel) -> None:
        """The caller was woken."""
        self._note(_Doing(channel))

    def leaves(self) -> None:
        """The caller has no message, and does not wait for one any more."""
        self._note(None)

    def _note(self, doing: _Doing | None) -> None:
        me = myself()
        with self._guard:
            if doing is None:
                self._doing.pop(me, None)
            else:
                self._doing[me] = doing
        self._history.tell()

    def busy(self) -> list[Any]:
        """The threads and tasks, but who asks, that have a message or were woken for one; not those that sleep.

        And the threads that slept on the clock, and were woken by it.
        """
        woken = self._clock.woken() if isinstance(self._clock, TestClock) else []  # first: who rests notes it later
        busy = [each for each, doing in self._others() if not self._is_waiting(each, doing)]
        me = threading.current_thread()
        return busy + [each for each in woken if each is not me and each not in busy]

    def channels(self) -> list[Channel]:
        """Where each takes messages, but who asks; of a node that has crashed, too."""
        return [doing.channel for _, doing in self._others()]

    def _others(self) -> list[tuple[Any, _Doing]]:
        asking = {myself(), threading.current_thread()}
        with self._guard:
            for each in [each for each in self._doing if not _is_alive(each)]:
                del self._doing[each]
            return [(each, doing) for each, doing in self._doing.items() if each not in asking]

    def _is_waiting(self, caller: Any, doing: _Doing) -> bool:
        """Whether neither anybody nor time has woken it."""
        if isinstance(self._clock, TestClock) and self._clock.is_asleep(caller):
            return True
        with suppress(KeyError):
            until_ns, _ = doing.channel.waits[doing.waiter]
            return self._clock.monotonic_ns() < until_ns
        return False


def _is_alive(caller: Any) -> bool:
    if isinstance(caller, asyncio.Future):
        return not caller.done() and not caller.get_loop().is_closed()
    return bool(caller.is_alive())
