"""What an assertion looks for: checked when it is said, compared with what happened, and told."""

from __future__ import annotations

import json as json_library
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from nsqlite.errors import InvalidOptionError
from nsqlite.options import SECOND_NS, seconds_to_ns
from nsqlite.testing import difference
from nsqlite.testing.events import Event, check_name
from nsqlite.testing.table import full_body, shown_seconds

ANY: Final = object()
Where = Callable[[bytes], object]


def checked_body(body: object, name: str = "body") -> bytes:
    """A body as bytes.

    Raises:
        InvalidOptionError: It is not bytes-like; says what to give.
    """
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, str):
        raise InvalidOptionError(name, body, "it is a str: encode it first, or use json=")
    if callable(body):
        raise InvalidOptionError(name, body, "it is a function: use where=")
    raise InvalidOptionError(name, body, f"it is of type {type(body).__name__}: give bytes, or use json=")


def checked_bodies(bodies: object) -> list[bytes]:
    """Several bodies as bytes.

    Raises:
        InvalidOptionError: It is one body, or no bodies at all.
    """
    one = (str, bytes, bytearray, memoryview, Mapping)
    if isinstance(bodies, one) or not isinstance(bodies, Iterable):
        kind = type(bodies).__name__
        raise InvalidOptionError("bodies", bodies, f"it is one {kind}, not several bodies: give a list of bytes")
    return [checked_body(each, f"bodies[{index}]") for index, each in enumerate(bodies)]


def checked_count(count: object, name: str = "count", low: int = 0) -> int:
    """How many.

    Raises:
        InvalidOptionError: It is no int from `low` up.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < low:
        raise InvalidOptionError(name, count, f"give an int from {low} up")
    return count


def _topic(name: object) -> str:
    return check_name("topic", name)


def _channel(name: object) -> str | None:
    return None if name is None else check_name("channel", name)


def _body(body: object) -> bytes | None:
    return None if body is None else checked_body(body)


def _json(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidOptionError("json", value, "it is bytes: give the value that they say, or use body=")
    return value


def _where(where: Any) -> Where | None:
    if where is not None and not callable(where):
        raise InvalidOptionError("where", where, "give a function of the body, as in where=lambda body: b'7' in body")
    check: Where | None = where
    return check


def _attempts(attempts: object) -> int | None:
    return None if attempts is None else checked_count(attempts, "attempts", 1)


def _delay(delay: object) -> float | None:
    return None if delay is None else seconds_to_ns(delay) / SECOND_NS


@attrs.frozen
class Wanted:
    """What an assertion looks for; what is not given matches all.

    Raises:
        InvalidOptionError: A value is of a type that nothing could match.
        InvalidDelayError: The delay is no time.

    Attributes:
        kind: Of the event.
        topic: Of the message.
        channel: Where it happened.
        body: Of the message, whole.
        json: What its body says as JSON.
        where: What has to be true of its body.
        attempts: Of the event.
        delay: Of the event, in seconds, or a timedelta when it is given.
    """

    kind: str
    topic: str = attrs.field(converter=_topic)
    channel: str | None = attrs.field(default=None, converter=_channel)
    body: bytes | None = attrs.field(default=None, converter=_body)
    json: Any = attrs.field(default=ANY, converter=_json)
    where: Where | None = attrs.field(default=None, converter=_where)
    attempts: int | None = attrs.field(default=None, converter=_attempts)
    delay: float | None = attrs.field(default=None, converter=_delay)

    def fits(self, event: Event) -> bool:
        """Whether an event is one of these."""
        return (
            self._happened(event)
            and self.attempts in (None, event.attempts)
            and (self.delay is None or math.isclose(self.delay, event.delay, abs_tol=1e-6))
            and self._fits_body(event.body)
        )

    def _happened(self, event: Event) -> bool:
        return event.kind == self.kind and event.topic == self.topic and self.channel in (None, event.channel)

    def _fits_body(self, body: bytes) -> bool:
        return (
            self.body in (None, body)
            and (self.json is ANY or _says(body, self.json))
            and (self.where is None or bool(self.where(body)))
        )

    def missed(self, history: Iterable[Event]) -> str:
        """How the nearest that does not fit differs, in a sentence; "" if there is none, or its row tells."""
        if self.body is None and self.json is ANY:
            return ""
        near = [each for each in history if self._happened(each) and not self.fits(each)]
        same = [each for each in near if self._fits_body(each.body)]
        if same:
            return f"the nearest has this body{_circumstances(same[-1].attempts, same[-1].delay)}"
        bodies = [each.body for each in near]
        told = self._missed_body(bodies) if self.body is not None else self._missed_json(bodies)
        return f"the nearest differs {told}" if told else ""

    def _missed_body(self, bodies: list[bytes]) -> str:
        wanted = self.body or b""
        others = [each for each in bodies if each != wanted]
        if not others:
            return ""
        return difference.of_bytes(wanted, max(others, key=lambda each: difference.likeness(wanted, each)))

    def _missed_json(self, bodies: list[bytes]) -> str:
        values = [value for value in map(_parsed, bodies) if value is not ANY]
        told = [each for each in (difference.of_json(self.json, value) for value in values) if each]
        if told:
            return min(told, key=len)[0]
        return "in that it is no JSON" if bodies and not values else ""

    def __str__(self) -> str:
        parts = [self.kind, "in", self.topic if self.channel is None else f"{self.topic}:{self.channel}"]
        if self.body is not None:
            parts.append(f"with body {full_body(self.body)}")
        if self.json is not ANY:
            parts.append(f"that says {self.json!r}")
        if self.where is not None:
            parts.append(f"where {getattr(self.where, '__name__', self.where)} holds")
        if self.attempts is not None:
            parts.append(f"at attempt {self.attempts}")
        if self.delay is not None:
            parts.append(f"with a delay of {shown_seconds(self.delay)}")
        return " ".join(parts)


def _circumstances(attempts: int, delay: float) -> str:
    return (f", at attempt {attempts}" if attempts else "") + f", with a delay of {shown_seconds(delay)}"


def _parsed(body: bytes) -> Any:
    try:
        return json_library.loads(body)
    except ValueError:
        return ANY


def _says(body: bytes, value: Any) -> bool:
    found = _parsed(body)
    return found is not ANY and bool(found == value)
