"""The power fails at any moment, and every image of the disk opens with what was promised.

Longer runs: ``make power IMAGES=...`` or ``python -m tests.power --images N --seed S``.
"""

import random

import pytest

from tests.power.promises import (
    BrokenPromiseError,
    Found,
    Held,
    Ledger,
    Moment,
    body_of,
    number_of,
    power_failure,
    verify,
)
from tests.power.runner import LEVELS, WRITES, run_seed


@pytest.mark.parametrize("story", range(3))
@pytest.mark.parametrize("writes", WRITES)
@pytest.mark.parametrize("level", LEVELS)
def test_image_holds_what_was_promised(level: str, writes: str, story: int) -> None:
    """Every image opens, checks out clean and keeps its promises, also when the power fails again."""
    seed = random.SystemRandom().randrange(1 << 31)

    outcome = run_seed(seed, level, writes, images=26, again=2)

    assert outcome.images == 26
    assert outcome.again == 8


def marks(*lines: str) -> list[tuple[int, str]]:
    """Marks from short lines."""
    return list(enumerate(lines))


STORY = marks(
    '{"do": "make", "topic": "t", "channel": "c"}',
    '{"do": "made", "topic": "t", "channel": "c"}',
    '{"do": "publish", "topic": "t", "first": 1, "count": 1}',
    '{"do": "published", "first": 1, "ids": ["01"]}',
    '{"do": "publish", "topic": "t", "first": 2, "count": 2}',
    '{"do": "published", "first": 2, "ids": ["02", "03"]}',
    '{"do": "finish", "topic": "t", "channel": "c", "numbers": [1]}',
    '{"do": "finished", "topic": "t", "channel": "c", "numbers": [1]}',
    '{"do": "sync"}',
    '{"do": "synced"}',
)


def found(*numbers: int) -> Found:
    """A store with these messages in the channel of the story."""
    return Found({("t", "c"): {number: Held(b"%02d" % number, 1) for number in numbers}}, {})


@pytest.mark.parametrize(
    "level, cut, numbers, told",
    [
        ("fsync", 4, (1,), None),
        ("fsync", 4, (), "lost 1"),
        ("fsync", 5, (1, 2, 3), None),
        ("fsync", 5, (1, 2), "lost 1"),
        ("fsync", 4, (1, 2, 3), "too many"),
        ("fsync", 6, (2, 3), "lost 1"),
        ("fsync", 7, (2, 3), None),
        ("commit", 6, (), None),
        ("commit", 6, (2, 3), "lost 1"),
        ("commit", 8, (1, 2, 3), None),
        ("commit", 10, (1, 2, 3), "too many"),
        ("commit", 10, (2, 3), None),
        ("commit", 10, (), "lost 2"),
    ],
)
def test_verify_knows_what_is_lost_and_what_is_invented(
    level: str, cut: int, numbers: tuple[int, ...], told: str | None
) -> None:
    """The judge is judged: batches whole, prefixes whole, finishes final once they are synced."""
    ledger = Ledger.of(STORY)
    moment = power_failure(ledger, cut, level)

    if told is None:
        verify(ledger, moment, found(*numbers))
    else:
        with pytest.raises(BrokenPromiseError, match=told):
            verify(ledger, moment, found(*numbers))


def test_verify_misses_a_channel_that_was_promised() -> None:
    """A store without the channel has lost it, unless its making was not answered yet."""
    ledger = Ledger.of(STORY)

    verify(ledger, Moment(1, 1, 1, 1), Found({}, {}))
    with pytest.raises(BrokenPromiseError, match="missing"):
        verify(ledger, Moment(2, 2, 2, 2), Found({}, {}))


def test_body_tells_its_number_and_nothing_else_passes() -> None:
    """A body that differs in one byte from what was published is nobody's."""
    body = bytearray(body_of(41))

    assert number_of(bytes(body)) == 41
    body[12] ^= 1
    with pytest.raises(BrokenPromiseError):
        number_of(bytes(body))
