"""What a node promised a workload, and whether a store still keeps it.

A workload marks what it is about to do and what was answered, in order. From the marks
up to some moment the ledger derives, for every channel, what must be in it, what may
be, and nothing else. Messages have numbers; a body is a function of its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import attrs

_FILLER: Final = b"abcdefghijklmnopqrstuvwxyz" * 8000
BODY_MARK: Final = re.compile(rb"<(\d{7})\|[a-z]*\|(\d{7})>")
NEVER: Final = 1 << 60


def body_of(number: int) -> bytes:
    """The body of a message: mostly small, sometimes of many pages."""
    scattered = number * 2_654_435_761 % (1 << 32)
    size = 20_000 + scattered % 30_000 if scattered % 41 == 0 else 20 + scattered % 600
    return b"<%07d|" % number + _FILLER[number % 26 : number % 26 + size] + b"|%07d>" % number


def number_of(body: bytes) -> int:
    """The number of a message from its body.

    Raises:
        BrokenPromiseError: If no workload can have published this body.
    """
    found = BODY_MARK.fullmatch(body)
    if found is None or body != body_of(int(found[1])):
        raise BrokenPromiseError(f"a body that nobody published: {body[:60]!r}")
    return int(found[1])


class BrokenPromiseError(AssertionError):
    """A store does not hold what was promised, or holds what was not."""


class Held(NamedTuple):
    """One message as a channel of the reopened store gave it."""

    message_id: bytes
    attempts: int


@attrs.frozen
class Found:
    """What a reopened store holds.

    Attributes:
        channels: (topic, channel) -> number -> message.
        waiting: topic without a channel -> the same.
    """

    channels: dict[tuple[str, str], dict[int, Held]]
    waiting: dict[str, dict[int, Held]]

    def everything(self) -> Iterator[tuple[int, Held]]:
        """Every message of every channel."""
        for held in (*self.channels.values(), *self.waiting.values()):
            yield from held.items()


@attrs.define
class Span:
    """A call: where it began, and where it was answered if it was.

    Attributes:
        is_doubtful: Whether it was broken off, so that it may or may not have happened.
    """

    begin: int
    end: int = NEVER
    is_doubtful: bool = False


@attrs.define
class Publish:
    """One publish or publish_many."""

    topic: str
    first: int
    count: int
    call: Span
    ids: list[bytes] = attrs.Factory(list)
    refused: bool = False  # answered with an error that means: not published
    durable: int = NEVER  # where its record was surely synced, if the disk's log says so

    @property
    def numbers(self) -> range:
        """Its messages."""
        return range(self.first, self.first + self.count)


@attrs.define
class Life:
    """A channel from its creation to its deletion."""

    topic: str
    channel: str
    made: Span
    deleted: Span = attrs.Factory(lambda: Span(NEVER))
    emptied: list[Span] = attrs.Factory(list)


@attrs.define
class Ledger:
    """All that a workload did, by position in its log of marks."""

    publishes: list[Publish] = attrs.Factory(list)
    lives: list[Life] = attrs.Factory(list)
    finishes: dict[tuple[str, str, int], Span] = attrs.Factory(dict)
    receives: list[Span] = attrs.Factory(list)
    got: dict[tuple[str, str, int], list[int]] = attrs.Factory(dict)
    syncs: list[Span] = attrs.Factory(list)
    _open: dict[Any, Any] = attrs.Factory(dict)

    # ------------------------------------------------------------------ taking marks

    @classmethod
    def of(cls, marks: Iterable[tuple[int, str]]) -> Ledger:
        """Build from marks, each with its position."""
        made = cls()
        for index, text in marks:
            mark = json.loads(text)
            what = mark.pop("do")
            getattr(made, "_" + what)(index, **mark)
        return made

    def _publish(self, at: int, topic: str, first: int, count: int) -> None:
        publish = Publish(topic, first, count, Span(at))
        self.publishes.append(publish)
        self._open["publish", first] = publish

    def _published(self, at: int, first: int, ids: list[str]) -> None:
        publish = self._open.pop(("publish", first))
        publish.call.end, publish.ids = at, [each.encode() for each in ids]
        if len(ids) != publish.count or ids != sorted(set(ids)):
            raise BrokenPromiseError(f"publish of {publish.count} answered with ids {ids}")

    def _refused(self, at: int, first: int, unknown: bool) -> None:  # a mark's field
        publish = self._open.pop(("publish", first))
        publish.refused = not unknown

    def _finish(self, at: int, topic: str, channel: str, numbers: list[int]) -> None:
        for number in numbers:
            self.finishes[topic, channel, number] = Span(at)

    def _finished(self, at: int, topic: str, channel: str, numbers: list[int]) -> None:
        for number in numbers:
            self.finishes[topic, channel, number].end = at

    def _receive(self, at: int) -> None:
        self.receives.append(Span(at))

    def _got(self, at: int, topic: str, channel: str, numbers: list[int]) -> None:
        self.receives[-1].end = at
        for number in numbers:
            self.got.setdefault((topic, channel, number), []).append(at)

    def _sync(self, at: int) -> None:
        self.syncs.append(Span(at))

    def _synced(self, at: int) -> None:
        self.syncs[-1].end = at

    def _make(self, at: int, topic: str, channel: str) -> None:
        self.lives.append(Life(topic, channel, Span(at)))

    def _made(self, at: int, topic: str, channel: str) -> None:
        self._life(topic, channel).made.end = at

    def _delete(self, at: int, topic: str, channel: str) -> None:
        self._life(topic, channel).deleted = Span(at)

    def _deleted(self, at: int, topic: str, channel: str) -> None:
        self._life(topic, channel).deleted.end = at

    def _empty(self, at: int, topic: str, channel: str) -> None:
        self._life(topic, channel).emptied.append(Span(at))

    def _emptied(self, at: int, topic: str, channel: str) -> None:
        self._life(topic, channel).emptied[-1].end = at

    def _restarted(self, at: int, channels: list[str]) -> None:
        """The process was killed and started again, and found these channels: what was open is decided."""
        journaled = killed(self, at).progress  # what was finished since is forgotten for good
        for finish in self.finishes.values():
            if finish.end >= journaled:
                finish.end = NEVER
        for life in self.lives:
            is_there = f"{life.topic}/{life.channel}" in channels
            if life.made.end == NEVER:
                life.made.end = at
                if not is_there:
                    life.deleted = Span(life.made.begin, at)
            if life.deleted.begin != NEVER and life.deleted.end == NEVER:
                life.deleted = Span(NEVER) if is_there else Span(life.deleted.begin, at)
            for each in life.emptied:
                if each.end == NEVER:
                    each.end, each.is_doubtful = at, True

    def _life(self, topic: str, channel: str) -> Life:
        return next(each for each in reversed(self.lives) if (each.topic, each.channel) == (topic, channel))

    def last_sync_before(self, cut: int) -> int:
        """What was answered before this position, `node.sync()` or `close()` has made last."""
        return max((each.begin for each in self.syncs if each.end < cut), default=-1)


@attrs.frozen
class Moment:
    """A failure at one position of the log.

    Attributes:
        cut: Only what lies before it had happened.
        promises: Promises answered before this position must have been kept.
        progress: Finishes answered before this position must have been kept.
        handed: What was handed out before this position must count as an attempt.
    """

    cut: int
    promises: int
    progress: int
    handed: int


def power_failure(ledger: Ledger, cut: int, level: str) -> Moment:
    """The power fails: at "commit" only what was synced is certain."""
    synced = ledger.last_sync_before(cut)
    if level == "commit":
        return Moment(cut, synced, synced, synced)
    answered = (each.call.begin for each in ledger.publishes if each.call.end < cut)
    progress = max(synced, *answered, -1)
    return Moment(cut, cut, progress, progress)


def killed(ledger: Ledger, cut: int) -> Moment:
    """The process is killed: every promise is kept, every hand-out, and the finishes before one of them."""
    answered = [each.call.begin for each in ledger.publishes if each.call.end < cut]
    answered += [each.begin for each in ledger.receives if each.end < cut]
    return Moment(cut, cut, max(ledger.last_sync_before(cut), *answered, -1), cut)


def verify(ledger: Ledger, moment: Moment, found: Found) -> None:
    """Hold what a store has against what was promised.

    Raises:
        BrokenPromiseError: Naming the first difference.
    """
    kept = _kept(ledger, moment, found)
    names = {(each.topic, each.channel) for each in ledger.lives}
    for name in sorted(names | found.channels.keys()):
        _verify_channel(ledger, moment, kept, name, found.channels.get(name))
    for topic, held in sorted(found.waiting.items()):
        first = _first_life(ledger, topic)
        if first is not None and any(
            publish.call.begin > first.made.end and number in held
            for publish in ledger.publishes
            for number in publish.numbers
        ):
            raise BrokenPromiseError(f"topic {topic} has messages published after its channel, and no channel")
        _compare(ledger, moment, kept, Life(topic, "", Span(-1, -1)), held, is_first=True)


def _kept(ledger: Ledger, moment: Moment, found: Found) -> set[int]:
    """First numbers of the publishes that must be there: promised, synced, or before one that is there."""
    ids = {}
    present = set()
    for number, held in found.everything():
        if ids.setdefault(number, held.message_id) != held.message_id:
            raise BrokenPromiseError(f"message {number} has two ids")
        present.add(number)
    newest = max(ids.values(), default=b"")
    kept = set()
    for publish in ledger.publishes:
        if publish.call.begin >= moment.cut:
            continue
        for number, message_id in zip(publish.numbers, publish.ids, strict=False):
            if ids.get(number, message_id) != message_id:
                raise BrokenPromiseError(f"message {number} came back with another id than its publish returned")
        if (
            publish.call.end < moment.promises
            or publish.durable < moment.cut
            or (publish.ids and publish.ids[-1] < newest)
            or not present.isdisjoint(publish.numbers)
        ):
            kept.add(publish.first)
    return kept


def _first_life(ledger: Ledger, topic: str) -> Life | None:
    return next((each for each in ledger.lives if each.topic == topic), None)


def _verify_channel(
    ledger: Ledger, moment: Moment, kept: set[int], name: tuple[str, str], held: dict[int, Held] | None
) -> None:
    topic, channel = name
    lives = [each for each in ledger.lives if (each.topic, each.channel) == (topic, channel)]
    possible = [each for each in lives if each.made.begin < moment.cut and each.deleted.end >= moment.promises]
    if held is None:
        for life in possible:
            if life.made.end < moment.promises and life.deleted.begin >= moment.cut:
                raise BrokenPromiseError(f"channel {topic}/{channel} is missing")
        return
    if not possible:
        raise BrokenPromiseError(f"channel {topic}/{channel} was never made, or had been deleted")
    problems = []
    for life in possible:
        try:
            _compare(ledger, moment, kept, life, held, is_first=life is _first_life(ledger, topic))
        except BrokenPromiseError as error:
            problems.append(error)
        else:
            return
    raise problems[-1]


def _compare(
    ledger: Ledger, moment: Moment, kept: set[int], life: Life, held: dict[int, Held], *, is_first: bool
) -> None:
    name = f"{life.topic}/{life.channel}"
    may: set[int] = set()
    must: set[int] = set()
    for publish in ledger.publishes:
        call = publish.call
        if publish.topic != life.topic or call.begin >= moment.cut or publish.refused:
            continue
        if not is_first and call.end < life.made.begin:
            continue
        if any(each.end < moment.promises and call.end < each.begin and not each.is_doubtful for each in life.emptied):
            continue
        is_owed = (is_first or call.begin > life.made.end) and publish.first in kept
        if any(each.begin < moment.cut and call.begin < each.end for each in life.emptied):
            is_owed = False
        for number in publish.numbers:
            finish = ledger.finishes.get((life.topic, life.channel, number))
            if finish is not None and finish.end < moment.progress:
                continue
            may.add(number)
            if is_owed and (finish is None or finish.begin >= moment.cut):
                must.add(number)
    if lost := must - held.keys():
        raise BrokenPromiseError(f"{name} lost {len(lost)} of {len(must)} messages: {sorted(lost)[:10]}")
    if invented := held.keys() - may:
        raise BrokenPromiseError(f"{name} has {len(invented)} messages too many: {sorted(invented)[:10]}")
    for number, message in held.items():
        handed = ledger.got.get((life.topic, life.channel, number), [])
        least = 1 + sum(at < moment.handed for at in handed)
        if not least <= message.attempts <= 2 + len(handed):
            raise BrokenPromiseError(
                f"{name}: message {number} has attempts {message.attempts} after {len(handed)} deliveries, "
                f"{least - 1} of them journaled for certain"
            )
