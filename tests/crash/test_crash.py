"""A process is killed at a random moment; what it was promised is there when the store is opened.

Longer runs: ``make crash CYCLES=...`` or ``python -m tests.crash --cycles N --seed S``.
"""

import random

import pytest

from tests.crash.runner import KILLS_A_STORE, run_seed


@pytest.mark.parametrize("store", range(10))
@pytest.mark.parametrize("level", ["fsync", "commit"])
def test_kill_loses_nothing_that_was_acknowledged(level: str, store: int) -> None:
    """Every acknowledged publish is there for every channel that owed it, and nothing else."""
    seed = random.SystemRandom().randrange(1 << 31)

    assert run_seed(seed, level) == KILLS_A_STORE
