"""What a test may claim about messages, and what it reads when that does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from nsqlite.bodies import BytesLike, Seconds
from nsqlite.core.broker import Broker
from nsqlite.testing import difference, events
from nsqlite.testing.clock import refuse_in_loop
from nsqlite.testing.events import Event, History, check_name
from nsqlite.testing.subject import Subject
from nsqlite.testing.table import full_body, shown_body, table
from nsqlite.testing.wanted import ANY, Wanted, Where, checked_bodies, checked_body, checked_count

Body = BytesLike | Where


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
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        delay: Seconds | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages were published to a topic."""
        wanted = Wanted(events.PUBLISHED, topic, None, body, json, where, None, delay)
        self._assert(wanted, count, bodies)

    def assert_delivered(
        self,
        topic: str,
        channel: str,
        *,
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages were handed to a consumer of a channel; each time counts."""
        self._assert(Wanted(events.DELIVERED, topic, channel, body, json, where, attempts), count, bodies)

    def assert_finished(
        self,
        topic: str,
        channel: str,
        *,
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages were finished in a channel, at this attempt if it is given."""
        self._assert(Wanted(events.FINISHED, topic, channel, body, json, where, attempts), count, bodies)

    def assert_requeued(
        self,
        topic: str,
        channel: str,
        *,
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        attempts: int | None = None,
        delay: Seconds | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages were requeued in a channel, with this delay if it is given."""
        self._assert(Wanted(events.REQUEUED, topic, channel, body, json, where, attempts, delay), count, bodies)

    def assert_touched(
        self,
        topic: str,
        channel: str,
        *,
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages were touched in a channel; each time counts."""
        self._assert(Wanted(events.TOUCHED, topic, channel, body, json, where, attempts), count, bodies)

    def assert_timed_out(
        self,
        topic: str,
        channel: str,
        *,
        body: BytesLike | None = None,
        json: Any = ANY,
        where: Where | None = None,
        attempts: int | None = None,
        count: int | None = None,
        bodies: Iterable[BytesLike] | None = None,
    ) -> None:
        """Messages timed out in a channel: nobody answered in time."""
        self._assert(Wanted(events.TIMED_OUT, topic, channel, body, json, where, attempts), count, bodies)

    def assert_empty(self, topic: str | None = None, channel: str | None = None) -> None:
        """No channel, of these, owes anything: nothing waits, is in flight or deferred.

        What waits in a topic that has no channel is not owed to anybody. A topic or a channel that was never there
        is a mistake in the test, and fails.
        """
        names = (_name_or_any("topic", topic), _name_or_any("channel", channel))
        self.settle()
        self._check_known(*names)
        owed = {there: counts for there, counts in self._subject.owed().items() if _is_of(there, names)}
        if owed:
            count = sum(map(sum, owed.values()))
            self._fail("1 message is not finished" if count == 1 else f"{count} messages are not finished")

    def _check_known(self, topic: str | None, channel: str | None) -> None:
        """Fail for what is not there and has not been there: it would be empty whatever the service does."""

        def read(broker: Broker) -> set[tuple[str, str]]:
            channels = {(each.topic.name, each.name) for each in broker.channels()}
            return channels | {(name, "") for name in broker.topics}

        known = self._subject.engine.locked(read, even_closed=True) | {
            (each.topic, each.channel) for each in self.history
        }
        if channel is None:
            if topic is not None and topic not in {name for name, _ in known}:
                self._fail(f"there is no topic {topic}; {_there_are({name for name, _ in known})}")
        elif not any(_is_of(there, (topic, channel)) for there in known):
            wanted = channel if topic is None else f"{topic}:{channel}"
            self._fail(f"there is no channel {wanted}; {_there_are({':'.join(each) for each in known if each[1]})}")

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
            InvalidOptionError: There is no such kind, or a value is of a type that nothing could match.
            MisuseError: A loop runs in this thread.
        """
        refuse_in_loop("wait_for()", "await ... .await_for(...)")
        fits = _fitting(body)
        checked_count(count, low=1)
        found: list[Event] = []

        def has_come() -> bool:
            self._subject.owed()  # what is due by now happens
            found[:] = [each for each in self.history.of(topic, channel, kind) if fits(each.body)]
            return len(found) >= count

        self.settle()
        if not self.history.wait_until(has_come, timeout):
            where = f"in {topic or 'any topic'}" + (f":{channel}" if channel else "")
            what = "" if body is None or callable(body) else f" with body {full_body(bytes(body))}"
            self._fail(f"{_messages(len(found))} {kind} {where}{what}, not {count}, within {timeout} s")
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

    def _assert(self, wanted: Wanted, count: int | None, bodies: Iterable[BytesLike] | None) -> None:
        expected = None if bodies is None else checked_bodies(bodies)
        if count is not None:
            checked_count(count)
        self.settle()
        found = [each for each in self.history if wanted.fits(each)]
        if expected is not None:
            self._assert_bodies(wanted, expected, [each.body for each in found])
        elif count is None and not found:
            self._fail(f"no message was {wanted}", wanted.missed(self.history))
        if count is not None and len(found) != count:
            missed = wanted.missed(self.history) if len(found) < count else ""
            self._fail(f"{_messages(len(found))} {wanted}, not {count}", missed)

    def _assert_bodies(self, wanted: Wanted, expected: list[bytes], found: list[bytes]) -> None:
        if found != expected:
            shown = ", ".join(map(shown_body, expected)) or "none"
            where = f"the first difference is {difference.of_bodies(expected, found)}"
            self._fail(f"not these, in this order, {wanted}: {shown}", where)

    def _fail(self, why: str, nearest: str = "") -> None:
        told = f"{why}\n{nearest}" if nearest else why
        raise AssertionError(f"{told}\n\n{table(self.history, self._subject.owed())}")


def _messages(count: int) -> str:
    return f"{count or 'no'} message was" if count < 2 else f"{count} messages were"


def _fitting(body: Body | None) -> Callable[[bytes], object]:
    """What has to be true of a body."""
    if body is None:
        return lambda _: True
    if callable(body):
        return body
    wanted = checked_body(body)
    return lambda found: found == wanted


def _name_or_any(what: str, name: str | None) -> str | None:
    return None if name is None else check_name(what, name)


def _is_of(names: tuple[str, str], wanted: tuple[str | None, str | None]) -> bool:
    return all(one in (None, other) for one, other in zip(wanted, names, strict=True))


def _there_are(names: set[str]) -> str:
    if not names:
        return "there are none"
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(sorted(names))}"
