"""What happened to messages, in order, and who waits for more of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from nsqlite.errors import InvalidOptionError

PUBLISHED: Final = "published"
DELIVERED: Final = "delivered"
FINISHED: Final = "finished"
REQUEUED: Final = "requeued"
TOUCHED: Final = "touched"
TIMED_OUT: Final = "timed out"
LOOK_SECONDS: Final = 0.05  # a thread that ends, or a deadline on the machine's clock, tells nobody
KINDS: Final = (PUBLISHED, DELIVERED, FINISHED, REQUEUED, TOUCHED, TIMED_OUT)


@attrs.frozen
class Event:
    """One thing that happened to one message.

    Attributes:
        kind: "published", "delivered", "finished", "requeued", "touched" or "timed out".
        at: When, in seconds since the test began.
        topic: Of the message.
        channel: Where it happened; "" for a publish.
        id: Of the message.
        body: Of the message.
        attempts: How often it had been delivered there, this time included; 0 for a publish.
        delay: Seconds that it was published, or requeued, with.
    """

    kind: str
    at: float
    topic: str
    channel: str
    id: bytes
    body: bytes
    attempts: int = 0
    delay: float = 0.0


def check_name(what: str, name: object) -> str:
    """Return the name of a topic or a channel.

    Raises:
        InvalidOptionError: It is no str, and so nothing could ever match it.
    """
    if not isinstance(name, str):
        raise InvalidOptionError(what, name, f"it is of type {type(name).__name__}: give its name as a str")
    return name


class History:
    """All events of one test. Thread-safe."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._tellings = 0
        self._listeners: list[Callable[[], object]] = []

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def of(self, topic: str | None = None, channel: str | None = None, kind: str | None = None) -> list[Event]:
        """The events of a topic, of a channel, of a kind, or of all that are given, in order.

        Raises:
            InvalidOptionError: There is no such kind, or a name is no str.
        """
        for what, name in (("topic", topic), ("channel", channel)):
            if name is not None:
                check_name(what, name)
        if kind not in (None, *KINDS):
            raise InvalidOptionError("kind", kind, f"give one of {', '.join(KINDS)}")
        return [
            each
            for each in self
            if topic in (None, each.topic) and channel in (None, each.channel) and kind in (None, each.kind)
        ]

    def add(self, event: Event) -> None:
        """Note an event."""
        self._events.append(event)
        self.tell()

    def clear(self) -> None:
        """Forget what happened so far; later assertions see what comes."""
        self._events.clear()

    def tell(self) -> None:
        """Wake who waits for anything to happen."""
        with self._changed:
            self._tellings += 1
            self._changed.notify_all()
        for each in list(self._listeners):
            each()

    def wait_until(self, has_come: Callable[[], bool], timeout: float) -> bool:
        """Return once something has come about, and whether it has; looked at after every event.

        The timeout is in seconds of real time: threads and processes under test run on it.
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self._tellings
            if has_come():  # outside the lock: it may take the node's, under which events are noted
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                if self._tellings == seen:
                    self._changed.wait(min(left, LOOK_SECONDS))

    def listen(self, tell: Callable[[], object]) -> Callable[[], None]:
        """Call `tell`, from any thread, after every event; return what ends that. It may raise nothing."""
        self._listeners.append(tell)
        return lambda: self._listeners.remove(tell)
