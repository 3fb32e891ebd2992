"""What publishers and consumers outside have seen of a node that was killed again and again, and what that proves.

The laws. Once its OK was read, a message is handed over and finished on every channel of its
topic. Nothing else comes, save what was sent without an OK being read, and of such a batch all
or nothing. A message keeps its id and its timestamp. Its attempts only rise, by one for each
time it was handed over. What was finished does not come again while the node lives, nor in a
later life if the node has shown that it knew of the finish.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

import attrs

from tests.power.promises import BrokenPromiseError, Found, number_of

CHANNELS: Final = ("alpha/a", "alpha/b", "beta/x")
TOPICS: Final = ("alpha", "beta")


@attrs.define
class Seen:
    """One message on one channel.

    Attributes:
        times: How often it was handed over.
        attempts: What it said the last time.
        finished_in: The life in which it was last finished, 0 if never.
        is_over: Whether the node has shown that it knew.
    """

    times: int = 0
    attempts: int = 0
    finished_in: int = 0
    is_over: bool = False


@attrs.define
class Witness:
    """The common memory of all who talk to the node; any thread may tell it.

    Attributes:
        life: How often the node was started.
        events: Answers to publishes and messages so far.
    """

    life: int = 0
    events: int = 0
    _sent: list[tuple[str, range]] = attrs.Factory(list)
    _unfinished: set[tuple[str, int]] = attrs.Factory(set)
    _topics: dict[int, str] = attrs.Factory(dict)
    _identities: dict[int, tuple[bytes, bytes]] = attrs.Factory(dict)
    _seen: dict[tuple[str, int], Seen] = attrs.Factory(dict)
    _subscribed: set[str] = attrs.Factory(set)
    _next_number: int = 1
    _changed: threading.Condition = attrs.Factory(threading.Condition)

    # ------------------------------------------------------------------ what publishers tell

    def sending(self, topic: str, count: int) -> range:
        """New numbers, which are about to be sent."""
        with self._changed:
            numbers = range(self._next_number, self._next_number + count)
            self._next_number += count
            self._sent.append((topic, numbers))
            self._topics |= dict.fromkeys(numbers, topic)
        return numbers

    def answered(self, topic: str, numbers: range) -> None:
        """Their OK was read."""
        with self._changed:
            owed = [(channel, number) for channel in channels_of(topic) for number in numbers]
            self._unfinished.update(each for each in owed if self._seen.get(each, Seen()).finished_in == 0)
            self._happened()

    # ------------------------------------------------------------------ what consumers tell

    def subscribed(self, channel: str) -> None:
        """SUB was answered with OK."""
        with self._changed:
            self._subscribed.add(channel)
            self._happened()

    def handed(self, channel: str, identity: tuple[bytes, bytes], attempts: int, body: bytes) -> int:
        """A message came; its number.

        Raises:
            BrokenPromiseError: If it may not come, or not like this.
        """
        number = number_of(body)
        name = f"life {self.life}: message {number} on {channel}"
        with self._changed:
            if self._topics.get(number) != channel.partition("/")[0]:
                raise BrokenPromiseError(f"{name} was sent to {self._topics.get(number)}")
            if self._identities.setdefault(number, identity) != identity:
                raise BrokenPromiseError(f"{name} is {identity}, and was {self._identities[number]}")
            seen = self._seen.setdefault((channel, number), Seen())
            if seen.finished_in == self.life or seen.is_over:
                raise BrokenPromiseError(f"{name} came again, finished in life {seen.finished_in}")
            seen.times += 1
            # Once in each life that ended, it may have been on its way and not have come.
            if not seen.attempts < attempts < seen.times + self.life:
                raise BrokenPromiseError(
                    f"{name} has attempts {attempts} after {seen.attempts}, handed over {seen.times} times"
                )
            seen.attempts = attempts
            self._happened()
        return number

    def finishing(self, channel: str, number: int) -> None:
        """Its FIN is about to be sent."""
        with self._changed:
            self._seen[channel, number].finished_in = self.life
            self._unfinished.discard((channel, number))
            self._changed.notify_all()

    def over(self, channel: str, numbers: Iterable[int]) -> None:
        """The node did what it does only after these FINs."""
        with self._changed:
            for number in numbers:
                self._seen[channel, number].is_over = True

    # ------------------------------------------------------------------ what the runner asks

    def begin_life(self) -> None:
        """The node is started."""
        with self._changed:
            self.life += 1

    def end_life(self, stop: threading.Event) -> None:
        """Set the event that all have who talk to the node, and wake those who wait here."""
        with self._changed:
            stop.set()
            self._changed.notify_all()

    def wait_for_channels(self, stop: threading.Event, patience: float) -> bool:
        """Wait until every channel was made, in this life or before; False if the life ends first.

        Raises:
            TimeoutError: If neither happens.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: stop.is_set() or len(self._subscribed) == len(CHANNELS), patience):
                raise TimeoutError(f"only {sorted(self._subscribed)} could be subscribed to in {patience} s")
        return not stop.is_set()

    def wait_for_events(self, count: int, stop: threading.Event, patience: float) -> bool:
        """Wait for so many events since the beginning, or the end of the life."""
        with self._changed:
            return self._changed.wait_for(lambda: stop.is_set() or self.events >= count, patience)

    def wait_for_all_finished(self, stop: threading.Event, patience: float) -> list[tuple[str, int]]:
        """Wait until all that was answered is finished everywhere; what is still not, if it takes too long."""
        with self._changed:
            self._changed.wait_for(lambda: stop.is_set() or not self._unfinished, patience)
            return sorted(self._unfinished)

    def judge(self, left: Found) -> None:
        """Hold the store after a last, orderly end against what was seen.

        Raises:
            BrokenPromiseError: If a finish of the last life was not kept, something was made
                up or lost, or a batch is there in part.
        """
        there = {(f"{topic}/{channel}", number) for (topic, channel), held in left.channels.items() for number in held}
        for channel, number in there:
            seen = self._seen.get((channel, number), Seen())
            if seen.finished_in == self.life or seen.is_over:
                raise BrokenPromiseError(f"message {number} is in the store of {channel}, finished")
            if self._topics.get(number) != channel.partition("/")[0]:
                raise BrokenPromiseError(f"message {number} is in the store of {channel}, never sent")
        there |= self._seen.keys()
        for topic, numbers in self._sent:
            channels = channels_of(topic)
            present = sum((channel, number) in there for channel in channels for number in numbers)
            if present not in {0, len(channels) * len(numbers)}:
                raise BrokenPromiseError(f"of {numbers} on {channels}, {present} copies came")

    def _happened(self) -> None:
        self.events += 1
        self._changed.notify_all()


def channels_of(topic: str) -> list[str]:
    """The channels to which a topic's messages go."""
    return [each for each in CHANNELS if each.startswith(topic + "/")]
