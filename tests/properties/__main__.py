"""``python -m tests.properties --examples N``: longer runs than the suite's.

Runs N stories of each machine and N seeds of the simulation at each durability.
A failure prints its seed, or Hypothesis' blob, and ends the run with status 1.
"""

import argparse
import random
import sys
import time

from tests.properties.simulation import run_seed
from tests.properties.test_machine import DurableMachine, NodeMachine, SyncedMachine, run


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="stories of each machine, and seeds")
    parser.add_argument("--steps", type=int, default=60, help="steps of a machine's story")
    parser.add_argument("--operations", type=int, default=25, help="operations of each simulated worker")
    parser.add_argument("--seed", type=int, help="run only this seed of the simulation")
    parser.add_argument("--durability", choices=["memory", "commit", "fsync"], help="only this one")
    parser.add_argument("--only", choices=["machine", "simulation"], help="only this part")
    wanted = parser.parse_args()
    levels = [wanted.durability] if wanted.durability else ["memory", "commit", "fsync"]
    machines = {"memory": NodeMachine, "commit": DurableMachine, "fsync": SyncedMachine}
    first = random.SystemRandom().randrange(1 << 31) if wanted.seed is None else wanted.seed
    count = wanted.examples if wanted.seed is None else 1
    for level in levels:
        began = time.monotonic()
        if wanted.only != "machine":
            print(f"simulation at {level}: seeds {first} to {first + count - 1}", flush=True)
            for seed in range(first, first + count):
                run_seed(seed, level, operations=wanted.operations)
        if wanted.only != "simulation" and wanted.seed is None:
            print(f"machine at {level}: {wanted.examples} stories of {wanted.steps} steps", flush=True)
            run(machines[level], wanted.examples, wanted.steps)
        print(f"{level}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
