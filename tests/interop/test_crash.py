"""A node with a listener is killed at a random moment; what it said OK to over TCP is delivered afterwards.

Longer runs: ``python -m tests.crash --tcp --cycles N --seed S``.
"""

import random

import pytest

from tests.crash.runner import KILLS_A_STORE
from tests.crash.tcp_runner import run_seed_over_tcp


@pytest.mark.parametrize("store", range(2))
@pytest.mark.parametrize("level", ["fsync", "commit"])
def test_kill_loses_nothing_that_was_answered(level: str, store: int) -> None:
    """Every publish whose OK was read comes to every channel and can be finished, and nothing else comes."""
    seed = random.SystemRandom().randrange(1 << 31)

    assert run_seed_over_tcp(seed, level) == KILLS_A_STORE
