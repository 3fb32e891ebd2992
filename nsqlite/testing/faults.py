"""What is to go wrong: each fault, whom it is for, how often, and whom it has met."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any, Final

import attrs

from nsqlite.clock import Clock
from nsqlite.errors import InvalidOptionError
from nsqlite.net.protocol import errors
from nsqlite.net.protocol.commands import PARSERS
from nsqlite.net.protocol.errors import ProtocolError
from nsqlite.options import SECOND_NS

FAIL: Final = "fail"
DROP: Final = "drop"
HALF: Final = "half send"
DELAY: Final = "delay"
DUPLICATE: Final = "duplicate"

MESSAGE: Final = "MESSAGE"  # no command, but what a server sends by itself
COMMANDS: Final = tuple(name.decode() for name in PARSERS)
ANSWERED: Final = ("IDENTIFY", "AUTH", "SUB", "PUB", "MPUB", "DPUB", "CLS")
WITHOUT_TOPIC: Final = ("IDENTIFY", "AUTH", "NOP")
CODES: Final[dict[str, type[ProtocolError]]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, ProtocolError) and each is not ProtocolError
}


def default_code(command: str) -> str:
    """What nsqd says when this command fails."""
    code = f"E_{command}_FAILED"
    return code if code in CODES else "E_INVALID"


@attrs.frozen
class Place:
    """Where a fault may strike.

    Attributes:
        command: Of NSQ's protocol, "MESSAGE", or a path of the HTTP API.
        topic: What it is about; "" for none.
        channel: The same.
        client_id: What the client has called itself; "" before it has, and in HTTP.
        connection: The how-manyth of the node it is, from 1 on; 0 in HTTP.
    """

    command: str
    topic: str = ""
    channel: str = ""
    client_id: str = ""
    connection: int = 0


@attrs.frozen
class Met:
    """A fault that met somebody.

    Attributes:
        kind: "fail", "drop", "half send", "delay" or "duplicate".
        at: When, in seconds since the test began.
        place: Where.
        code: What the client was told, if it was refused.
    """

    kind: str
    at: float
    place: Place
    code: str = ""

    def __str__(self) -> str:
        client = f" from {self.place.client_id!r}" if self.place.client_id else ""
        number = f", connection {self.place.connection}" if self.place.connection else ""
        told = f" with {self.code}" if self.code else ""
        about = _about(self.place.topic or None, self.place.channel or None)
        what = _OUTCOMES[self.kind].format(self.place.command)
        return f"{what}{told}, after {round(self.at, 3)} s{about}{client}{number}"


_OUTCOMES: Final = {
    FAIL: "{} was refused",
    DROP: "{} was answered by a reset",
    HALF: "{} was answered by half",
    DELAY: "{} was delayed",
    DUPLICATE: "{} was taken, and its message comes again",
}
_WISHES: Final = {
    FAIL: "{} is to be refused",
    DROP: "{} is to be answered by a reset",
    HALF: "{} is to be answered by half",
    DELAY: "{} is to be delayed",
    DUPLICATE: "{} is to be taken, and its message to come again",
}


def _about(topic: str | None, channel: str | None) -> str:
    found = "" if topic is None else f" for topic {topic!r}"
    return found if channel is None else f"{found} for channel {channel!r}"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


@attrs.define(eq=False, kw_only=True)
class Fault:
    """Something that goes wrong where everything that is given fits.

    Attributes:
        kind: See Met.
        command: See Place.
        topic: See Place; None for any.
        channel: The same.
        client: A client_id, or the number of a connection; None for any.
        times: How often at most; None for always.
        probability: How likely it strikes each time.
        code: NSQ's word for the error.
        status: Of HTTP.
        message: What stands behind the code; "" for what nsqd says.
        seconds: How long a delay is, by the node's clock.
        is_carried_out: Whether a command whose answer is lost was carried out.
        met_count: How often it has struck.
    """

    kind: str
    command: str
    topic: str | None = None
    channel: str | None = None
    client: str | int | None = None
    times: int | None = 1
    probability: float = 1.0
    code: str = ""
    status: int = 500
    message: str = ""
    seconds: float = 0.0
    is_carried_out: bool = True
    met_count: int = 0
    _dice: dict[int, Random] = attrs.field(factory=dict, init=False, repr=False)

    def __str__(self) -> str:
        about = _about(self.topic, self.channel)
        client = "" if self.client is None else f" from {self.client!r}"
        told = f" with {self.code}" if self.kind == FAIL else ""
        wanted = "whenever it comes" if self.times is None else _times(self.times)
        met = "nobody has met it" if not self.met_count else f"so far it was {_times(self.met_count)}"
        return f"{_WISHES[self.kind].format(self.command)}{told}{about}{client} {wanted}; {met}"

    @property
    def is_over(self) -> bool:
        """Whether it strikes no more."""
        return self.times is not None and self.met_count >= self.times

    @property
    def has_met(self) -> bool:
        """Whether it has struck as often as it was to; at least once if it is for always."""
        return self.met_count >= (self.times or 1)

    def fits(self, place: Place) -> bool:
        """Whether it is for somebody there."""
        return (
            self.command == place.command
            and self.topic in (None, place.topic)
            and self.channel in (None, place.channel)
            and self.client in (None, place.client_id, place.connection)
        )

    def strikes(self, place: Place, seed: str) -> bool:
        """Throw the dice: each connection has its own, so that others that come in between change nothing."""
        if self.probability >= 1.0:
            return True
        dice = self._dice.setdefault(place.connection, Random(f"{seed}/{place.connection}"))  # noqa: S311  # repeatable
        return dice.random() < self.probability


def refuse_unknown(option: str, value: Any, known: Collection[Any]) -> None:
    """Raise InvalidOptionError, with what is known, unless the value is."""
    if value not in known:
        raise InvalidOptionError(option, value, f"give one of {', '.join(map(str, known))}")


class Faults:
    """All faults of one node, through all its crashes. Thread-safe.

    Attributes:
        met: Those that met somebody, in order.
        has_heartbeats: Whether clients are sent any.
        paths: Of the HTTP API, if it is served.
    """

    def __init__(self, clock: Clock, seed: int, tell: Callable[[], None]) -> None:
        """Begin with none.

        Args:
            clock: Tells the times of `met`, and ends delays.
            seed: The same one lets the same faults strike.
            tell: Called after one has met somebody.
        """
        self.met: list[Met] = []
        self.has_heartbeats = True
        self.paths: tuple[str, ...] = ()
        self._clock = clock
        self._begun_ns = clock.monotonic_ns()
        self._seed = seed
        self._tell = tell
        self._guard = threading.Lock()
        self._set: list[Fault] = []
        self._waiting: list[Fault] = []
        self._connections = 0
        self._pauses: set[asyncio.Future[bool]] = set()

    def add(self, fault: Fault) -> None:
        """Let something go wrong from now on; what was asked for first strikes first."""
        with self._guard:
            self._set.append(fault)
            self._waiting = [*self._waiting, fault]

    def clear(self) -> None:
        """Let nothing go wrong any more; what has met somebody stays told."""
        with self._guard:
            self._set.clear()
            self._waiting = []

    def unmet(self) -> list[Fault]:
        """Those that have not met as many as they were to."""
        with self._guard:
            return [each for each in self._set if not each.has_met]

    def concern(self, command: str) -> bool:
        """Whether any may strike at a command."""
        return any(each.command == command for each in self._waiting)

    def meet(self, place: Place) -> Fault | None:
        """What strikes here, if something does; it is noted."""
        with self._guard:
            fault = self._find(place)
            if fault is None:
                return None
            fault.met_count += 1
            if fault.is_over:
                self._waiting = [each for each in self._waiting if each is not fault]
            at = (self._clock.monotonic_ns() - self._begun_ns) / SECOND_NS
            self.met.append(Met(fault.kind, at, place, fault.code if fault.kind == FAIL else ""))
        self._tell()
        return fault

    def _find(self, place: Place) -> Fault | None:
        fitting: Iterable[Fault] = (each for each in self._waiting if each.fits(place))
        for fault in fitting:
            if fault.strikes(place, f"{self._seed}/{self._set.index(fault)}"):
                return fault
        return None

    def next_connection(self) -> int:
        """The number of a new connection."""
        with self._guard:
            self._connections += 1
            return self._connections

    # -- delays, in the listener's loop ---------------------------------------------------

    async def pause(self, seconds: float) -> bool:
        """Return after a time of the node's clock; False if the node was killed meanwhile."""
        loop = asyncio.get_running_loop()
        pause: asyncio.Future[bool] = loop.create_future()
        self._pauses.add(pause)
        at_ns = self._clock.monotonic_ns() + int(seconds * SECOND_NS)

        def end() -> None:
            if not pause.done():
                pause.set_result(True)

        alarm = self._clock.call_at(loop, at_ns, end)
        try:
            return await pause
        finally:
            alarm.cancel()
            self._pauses.discard(pause)

    def end_pauses(self, *, goes_on: bool) -> None:
        """Let nobody wait any longer, and go on or not."""
        for each in list(self._pauses):
            if not each.done():
                each.set_result(goes_on)
