"""What a test may claim about messages, and what it reads when that does not hold."""

from __future__ import annotations

import asyncio
import json as json_library
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from nsqlite.errors import InvalidOptionError
from nsqlite.testing import events
from nsqlite.testing.events import Event, History
from nsqlite.testing.subject import Subject
from nsqlite.testing.table import shown_body, shown_seconds, table

_ANY: Final = object()
Where = Callable[[bytes], object]
Body = bytes | Where


@attrs.frozen
class Wanted:
    """What an assertion looks for; what is not given matches all.

    Attributes:
        kind: Of the event.
        topic: Of the message.
        channel: Where it happened.
        body: Of the message, whole.
        json: What its body says as JSON.
        where: What has to be true of its body.
        attempts: Of the event.
        delay: Of the event, in seconds.
    """

    kind: str
    topic: str
    channel: str | None = None
    body: bytes | None = None
    json: Any = _ANY
    where: Where | None = None
    attempts: int | None = None
    delay: float | None = None

    def fits(self, event: Event) -> bool:
        """Whether an event is one of these."""
        return (
            event.kind == self.kind
            and event.topic == self.topic
            and self.channel in (None, event.channel)
            and self.body in (None, event.body)
            and self.attempts in (None, event.attempts)
            and (self.delay is None or math.isclose(self.delay, event.delay, abs_tol=1e-6))
            and (self.json is _ANY or _says(event.body, self.json))
            and (self.where is None or bool(self.where(event.body)))
        )

    def __str__(self) -> str:
        parts = [self.kind, "in", self.topic if self.channel is None else f"{self.topic}:{self.channel}"]
        if self.body is not None:
            parts.append(f"with body {shown_body(self.body)}")
        if self.json is not _ANY:
            parts.append(f"that says {self.json!r}")
        if self.where is not None:
            parts.append(f"where {getattr(self.where, '__name__', self.where)} holds")
        if self.attempts is not None:
            parts.append(f"at attempt {self.attempts}")
        if self.delay is not None:
            parts.append(f"with a delay of {shown_seconds(self.delay)}")
        return " ".join(parts)


def _messages(count: int) -> str:
    return "1 message is" if count == 1 else f"{count} messages are"


def _says(body: bytes, value: Any) -> bool:
    try:
        return bool(json_library.loads(body) == value)
    except ValueError:
        return False


class Assertions:
    """Claims about the history of one node. Each raises AssertionError with a table of what did happen.

    With `count` exactly so many messages have to fit, 0 for none; without it, at least one. `bodies` are all bodies of
    what fits, in order.

    Attributes:
        history: What happened, in order.
    """

    history: History
    _subject: Subject

    def assert_published(
        self,
        topic: str,
        *,
        body: bytes | None = None,
        json: Any = _ANY,
        where: Where | None = None,
        delay: float | None = None,
        count: int | None = None,
        bodies: Iterable[bytes] | None = None,
    ) -> None:
        """Messages were published to a topic."""
        wanted = Wanted(events.PUBLISHED, topic, None, body, json, where, None, delay)
        self._assert(wanted, count, bodies)

    def assert_delivered(
        self,
        topic: str,
        channel: str,
        *,
        body: bytes | None = None,
        json: Any = _ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[bytes] | None = None,
    ) -> None:
        """Messages were handed to a consumer of a channel; each time counts."""
        self._assert(Wanted(events.DELIVERED, topic, channel, body, json, where, attempts), count, bodies)

    def assert_finished(
        self,
        topic: str,
        channel: str,
        *,
        body: bytes | None = None,
        json: Any = _ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[bytes] | None = None,
    ) -> None:
        """Messages were finished in a channel, at this attempt if it is given."""
        self._assert(Wanted(events.FINISHED, topic, channel, body, json, where, attempts), count, bodies)

    def assert_requeued(
        self,
        topic: str,
        channel: str,
        *,
        body: bytes | None = None,
        json: Any = _ANY,
        where: Where | None = None,
        attempts: int | None = None,
        delay: float | None = None,
        count: int | None = None,
        bodies: Iterable[bytes] | None = None,
    ) -> None:
        """Messages were requeued in a channel, with this delay if it is given."""
        self._assert(Wanted(events.REQUEUED, topic, channel, body, json, where, attempts, delay), count, bodies)

    def assert_touched(self, topic: str, channel: str, *, body: bytes | None = None, count: int | None = None) -> None:
        """Messages were touched in a channel; each time counts."""
        self._assert(Wanted(events.TOUCHED, topic, channel, body), count, None)

    def assert_timed_out(
        self,
        topic: str,
        channel: str,
        *,
        body: bytes | None = None,
        attempts: int | None = None,
        count: int | None = None,
    ) -> None:
        """Messages timed out in a channel: nobody answered in time."""
        self._assert(Wanted(events.TIMED_OUT, topic, channel, body, attempts=attempts), count, None)

    def assert_empty(self, topic: str | None = None, channel: str | None = None) -> None:
        """No channel, of these, owes anything: nothing waits, is in flight or deferred.

        What waits in a topic that has no channel is not owed to anybody.
        """
        self.settle()
        owed = {
            names: counts
            for names, counts in self._subject.owed().items()
            if topic in (None, names[0]) and channel in (None, names[1])
        }
        if owed:
            self._fail(f"{_messages(sum(map(sum, owed.values())))} not finished")

    # -- waiting --------------------------------------------------------------------------

    def wait_for(
        self,
        topic: str | None = None,
        channel: str | None = None,
        kind: str = events.PUBLISHED,
        *,
        body: Body | None = None,
        count: int = 1,
        timeout: float = 5.0,
    ) -> Event:
        """Return the `count`th thing that happened, of this kind, as soon as it has, also if that was before.

        Args:
            topic: Where; anywhere unless given.
            channel: The same.
            kind: "published", "delivered", "finished", "requeued", "touched" or "timed out".
            body: Of the message, whole, or what has to be true of it.
            count: How many of them.
            timeout: Seconds of real time.

        Raises:
            AssertionError: It has not; with a table of what did.
            InvalidOptionError: There is no such kind.
        """
        if kind not in events.KINDS:
            raise InvalidOptionError("kind", kind, f"give one of {', '.join(events.KINDS)}")
        found: list[Event] = []

        def has_come() -> bool:
            self._subject.owed()  # what is due by now happens
            found[:] = [each for each in self.history.of(topic, channel, kind) if _fits(each, body)]
            return len(found) >= count

        self.settle()
        if not self.history.wait_until(has_come, timeout):
            where = f"in {topic or 'any topic'}" + (f":{channel}" if channel else "")
            what = f" with body {shown_body(body)}" if isinstance(body, bytes) else ""
            why = f"{len(found)} messages, not {count}, were {kind} {where}{what} within {timeout} s"
            raise AssertionError(f"{why}\n\n{table(self.history, self._subject.owed())}")
        return found[count - 1]

    async def await_for(
        self,
        topic: str | None = None,
        channel: str | None = None,
        kind: str = events.PUBLISHED,
        *,
        body: Body | None = None,
        count: int = 1,
        timeout: float = 5.0,
    ) -> Event:
        """As `wait_for`, in a running loop, in which clients go on meanwhile."""
        return await asyncio.to_thread(self.wait_for, topic, channel, kind, body=body, count=count, timeout=timeout)

    def settle(self) -> None:
        """Let what is due by now move to where it is, so that it is in the history."""
        self._subject.owed()

    def _assert(self, wanted: Wanted, count: int | None, bodies: Iterable[bytes] | None) -> None:
        self.settle()
        found = [each for each in self.history if wanted.fits(each)]
        if bodies is not None:
            expected = list(bodies)
            if [each.body for each in found] != expected:
                shown = ", ".join(map(shown_body, expected)) or "none"
                self._fail(f"not these, in this order, {wanted}: {shown}")
        elif count is None and not found:
            self._fail(f"no message was {wanted}")
        if count is not None and len(found) != count:
            self._fail(f"{_messages(len(found))} {wanted}, not {count}")

    def _fail(self, why: str) -> None:
        raise AssertionError(f"{why}\n\n{table(self.history, self._subject.owed())}")


def _fits(event: Event, body: Body | None) -> bool:
    if body is None:
        return True
    return event.body == body if isinstance(body, bytes) else bool(body(event.body))
