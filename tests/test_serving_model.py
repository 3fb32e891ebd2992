"""Two clients of one channel see, whatever they do, what a plain dict of messages would show them."""

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import nsqlite
from nsqlite.options import SECOND_NS
from tests.fakes.clients import TIMEOUT_NS, Client

LIMIT_NS = 150 * SECOND_NS
DELAY_NS = 45 * SECOND_NS


@attrs.define
class Place:
    """Where a message is: ready, with a client until its deadline, or deferred until then."""

    attempts: int = 0
    client: int | None = None
    until_ns: int = 0
    limit_ns: int = 0


class Pair:
    """A node with two clients on one channel, and the dict that says what is where.

    Attributes:
        places: Each message that nobody has finished, by id.
        known: All ids there ever were, and some that never were.
    """

    def __init__(self, node: nsqlite.Node, clock: nsqlite.VirtualClock) -> None:
        self._node, self._clock = node, clock
        self.channel = node.topic("orders").channel("billing")
        self._clients = [Client(node.engine, self.channel._core, rdy_count) for rdy_count in (3, 20)]
        self.places: dict[int, Place] = {}
        self.known = [-1, 1]

    @property
    def _now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def do(self, what: str, who: int, picks: list[int]) -> None:
        """Do one thing to the node and to the dict, and compare what came of it."""
        getattr(self, f"_{what}")(who, picks)
        self._node.check()
        in_flight = [place for place in self.places.values() if place.client is not None]
        deferred = [place for place in self.places.values() if place.client is None and place.until_ns]
        assert self.channel.in_flight_count == len(in_flight)
        assert self.channel.deferred_count == len(deferred)
        assert self.channel.depth == len(self.places) - len(in_flight) - len(deferred)
        for number, client in enumerate(self._clients):
            assert client.consumer.in_flight_count == sum(place.client == number for place in in_flight)

    def _chosen(self, picks: list[int]) -> list[int]:
        return [self.known[-1 - pick % len(self.known)] for pick in picks]

    def _publish(self, who: int, picks: list[int]) -> None:
        made = self._node.publish_many("orders", [b"x"] * len(picks))
        self.places |= {int(each, 16): Place() for each in made}
        self.known += [int(each, 16) for each in made]

    def _pull(self, who: int, picks: list[int]) -> None:
        client = self._clients[who]
        is_ready = [number for number, place in self.places.items() if place.client is None and not place.until_ns]
        room = client.consumer.room
        deliveries, _, _ = client.pull()
        taken = [(each.first_id + at, each.attempts) for each in deliveries for at in range(each.count)]
        assert len(taken) == len(dict(taken)) == min(room, len(is_ready))
        for number, attempts in taken:
            place = self.places[number]
            assert number in is_ready
            assert attempts == place.attempts + 1
            self.places[number] = Place(attempts, who, self._now_ns + TIMEOUT_NS, self._now_ns + LIMIT_NS)

    def _finish(self, who: int, picks: list[int]) -> None:
        chosen, missed = self._chosen(picks), []
        for at, number in enumerate(chosen):
            if self._is_held(who, number):
                del self.places[number]
            else:
                missed.append(at)
        assert self._clients[who].finish(*chosen) == missed

    def _finish_all(self, who: int, picks: list[int]) -> None:
        held = sorted(number for number in self.places if self._is_held(who, number))
        for number in held:
            del self.places[number]
        assert self._clients[who].finish(*held) == []

    def _requeue(self, who: int, picks: list[int]) -> None:
        for number in self._chosen(picks):
            delay_ns = DELAY_NS * (number % 2)
            is_held = self._is_held(who, number)
            if is_held:
                attempts = self.places[number].attempts
                self.places[number] = Place(attempts, until_ns=self._now_ns + delay_ns if delay_ns else 0)
            assert self._clients[who].requeue(number, delay_ns) == is_held

    def _touch(self, who: int, picks: list[int]) -> None:
        for number in self._chosen(picks):
            is_held = self._is_held(who, number)
            if is_held:
                place = self.places[number]
                place.until_ns = min(self._now_ns + TIMEOUT_NS, place.limit_ns)
            assert self._clients[who].touch(number) == is_held

    def _advance(self, who: int, picks: list[int]) -> None:
        self._clock.advance(sum(picks))
        for number, place in self.places.items():
            if place.until_ns and place.until_ns <= self._now_ns:
                self.places[number] = Place(place.attempts)

    def _set_ready(self, who: int, picks: list[int]) -> None:
        self._clients[who].set_ready(picks[0])

    def _is_held(self, who: int, number: int) -> bool:
        return number in self.places and self.places[number].client == who


WORDS: Any = ["publish", "pull", "pull", "finish", "finish_all", "requeue", "touch", "advance", "set_ready"]
STEPS = st.lists(
    st.tuples(st.sampled_from(WORDS), st.integers(0, 1), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
    max_size=60,
)


@given(steps=STEPS)
def test_clients_see_what_a_dict_would_show(steps: list[tuple[str, int, list[int]]]) -> None:
    """Each message is in one place, is answered by who holds it and by nobody else, and comes again in its time."""
    clock = nsqlite.VirtualClock()
    with nsqlite.open(clock=clock, max_msg_timeout=LIMIT_NS / SECOND_NS) as node:
        pair = Pair(node, clock)

        for step in steps:
            pair.do(*step)
