"""Interleaved workers: each seed one story, at each durability."""

import pytest

from tests.properties.scheduler import DeadlockError, Scheduler
from tests.properties.simulation import run_seed

SEEDS = {"memory": 25, "commit": 20, "fsync": 10}


@pytest.mark.parametrize("durability", SEEDS)
def test_axioms_hold_however_threads_interleave(durability: str) -> None:
    """Nothing is lost, invented, finished and back, or in two places, whoever runs when."""
    for seed in range(SEEDS[durability]):
        run_seed(seed, durability)


def test_scheduler_repeats_a_seed() -> None:
    """The same seed gives the same story, to the step."""
    assert run_seed(7, "memory").log == run_seed(7, "memory").log


def test_scheduler_names_a_deadlock() -> None:
    """Two tasks that wait for each other are told apart from a slow run, with their stacks."""
    scheduler = Scheduler(seed=1)

    def main() -> None:
        scheduler.spawn("other", lambda: scheduler.wait(lambda: False) and None)
        scheduler.wait(lambda: False)

    with pytest.raises(DeadlockError, match="other"):
        scheduler.run(main)
