"""Which fault strikes whom, and how often."""

import asyncio

import pytest

from nsqlite.clock import VirtualClock
from nsqlite.errors import InvalidOptionError
from nsqlite.testing.faults import (
    ANSWERED,
    CODES,
    COMMANDS,
    DELAY,
    DROP,
    DUPLICATE,
    FAIL,
    HALF,
    WITHOUT_TOPIC,
    Fault,
    Faults,
    Met,
    Place,
    default_code,
    refuse_unknown,
)

HERE = Place("PUB", "orders", "", "shop", 3)


@pytest.fixture
def clock() -> VirtualClock:
    """Time that stands still."""
    return VirtualClock()


@pytest.fixture
def faults(clock: VirtualClock) -> Faults:
    """None yet."""
    return Faults(clock, 7, lambda: None)


def test_tables_know_all_of_the_protocol() -> None:
    """Every command has a code of its own or E_INVALID, and the tables name only commands."""
    assert default_code("PUB") == "E_PUB_FAILED"
    assert default_code("RDY") == "E_INVALID"
    assert {default_code(each) for each in COMMANDS} <= set(CODES)
    assert {*ANSWERED, *WITHOUT_TOPIC} < set(COMMANDS)
    assert len(CODES) == 18


@pytest.mark.parametrize(
    "narrowed", [{}, {"topic": "orders"}, {"client": "shop"}, {"client": 3}, {"topic": "orders", "client": 3}]
)
def test_fault_fits_where_all_that_is_given_does(narrowed: dict[str, str | int]) -> None:
    """What is not given fits everywhere."""
    assert Fault(kind=FAIL, command="PUB", **narrowed).fits(HERE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other", [{"command": "SUB"}, {"topic": "mail"}, {"client": "desk"}, {"client": 4}, {"channel": "c"}]
)
def test_fault_passes_by_who_differs(other: dict[str, str | int]) -> None:
    """Another command, topic, channel or client is not hit."""
    fields = {"command": "PUB", "topic": "orders"} | other

    assert not Fault(kind=FAIL, **fields).fits(HERE)  # type: ignore[arg-type]


def test_faults_strike_as_often_as_told(faults: Faults) -> None:
    """Twice is twice; then nothing of it is left."""
    fault = Fault(kind=FAIL, command="PUB", times=2)
    faults.add(fault)

    met = [faults.meet(HERE) for _ in range(3)]

    assert met == [fault, fault, None]
    assert not faults.concern("PUB")


def test_faults_strike_for_ever_without_times(faults: Faults) -> None:
    """None is always, until they are cleared."""
    faults.add(Fault(kind=FAIL, command="PUB", times=None))

    assert all(faults.meet(HERE) for _ in range(10))

    faults.clear()

    assert faults.meet(HERE) is None


def test_first_fault_strikes_first(faults: Faults) -> None:
    """Of several that fit, the one that was asked for first strikes, then the next."""
    first, second = Fault(kind=DROP, command="PUB"), Fault(kind=DELAY, command="PUB")
    faults.add(first)
    faults.add(second)

    assert [faults.meet(HERE), faults.meet(HERE)] == [first, second]


def struck(seed: int, connections: list[int]) -> list[bool]:
    """Whom a fault of one in two strikes."""
    faults = Faults(VirtualClock(), seed, lambda: None)
    faults.add(Fault(kind=FAIL, command="PUB", times=None, probability=0.5))
    return [faults.meet(Place("PUB", connection=each)) is not None for each in connections]


def test_the_same_seed_strikes_the_same() -> None:
    """Chance is repeatable, another seed is another chance, and about as many are struck as was asked for."""
    one = [1] * 100

    assert struck(7, one) == struck(7, one)
    assert struck(7, one) != struck(8, one)
    assert 30 < sum(struck(7, one)) < 70


def test_chance_is_each_connections_own() -> None:
    """Others that come in between change nothing for a connection."""
    alone = struck(7, [1] * 10)

    among_others = struck(7, [1, 2, 3] * 10)

    assert among_others[::3] == alone


def test_what_was_met_is_noted_with_its_time(faults: Faults, clock: VirtualClock) -> None:
    """Who met what and when is told, and those who wait are told to look."""
    told: list[int] = []
    faults._tell = lambda: told.append(1)
    faults.add(Fault(kind=FAIL, command="PUB", code="E_PUB_FAILED"))
    clock.advance(2.5)

    faults.meet(HERE)

    assert faults.met == [Met(FAIL, 2.5, HERE, "E_PUB_FAILED")]
    assert told == [1]


def test_unmet_faults_are_those_that_met_too_few(faults: Faults) -> None:
    """A fault for two has met one: it is unmet; one for always is met by the first."""
    two = Fault(kind=FAIL, command="PUB", code="E_PUB_FAILED", topic="orders", times=2)
    always = Fault(kind=FAIL, command="SUB", times=None)
    faults.add(two)
    faults.add(always)

    faults.meet(HERE)
    faults.meet(Place("SUB"))

    assert faults.unmet() == [two]
    assert str(two) == "PUB is to be refused with E_PUB_FAILED for topic 'orders' twice; so far it was once"

    faults.clear()

    assert faults.unmet() == []


@pytest.mark.parametrize(
    "fault,told",
    [
        (Fault(kind=DROP, command="SUB", client=3), "SUB is to be answered by a reset from 3 once; nobody has met it"),
        (
            Fault(kind=DELAY, command="/pub", times=None),
            "/pub is to be delayed whenever it comes; nobody has met it",
        ),
        (
            Fault(kind=DUPLICATE, command="FIN", topic="a", channel="c", times=2, met_count=1),
            "FIN is to be taken, and its message to come again for topic 'a' for channel 'c' twice; so far it was once",
        ),
        (
            Met(FAIL, 2.50049, HERE, "E_PUB_FAILED"),
            "PUB was refused with E_PUB_FAILED, after 2.5 s for topic 'orders' from 'shop', connection 3",
        ),
        (Met(HALF, 60.0, Place("/pub")), "/pub was answered by half, after 60.0 s"),
    ],
)
def test_faults_are_told_as_sentences(fault: Fault | Met, told: str) -> None:
    """What is to go wrong, and what went wrong, is for people to read."""
    assert str(fault) == told


def test_connections_are_counted_from_one(faults: Faults) -> None:
    """The first is 1."""
    assert [faults.next_connection(), faults.next_connection()] == [1, 2]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_pause_ends_by_the_clock_or_when_told(faults: Faults, clock: VirtualClock, goes_on: bool) -> None:
    """A pause ends when its time has come; or at once, with whether to go on."""
    by_clock, by_order = (asyncio.ensure_future(faults.pause(each)) for each in (1.0, 60.0))
    await asyncio.sleep(0)

    clock.advance(1.0)
    assert await by_clock

    faults.end_pauses(goes_on=goes_on)
    assert await by_order is goes_on
    assert not faults._pauses


def test_refuse_unknown_says_what_is_known() -> None:
    """The error names what could be given."""
    refuse_unknown("code", "a", ["a", "b"])

    with pytest.raises(InvalidOptionError, match="give one of a, b"):
        refuse_unknown("code", "c", ["a", "b"])
