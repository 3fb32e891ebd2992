"""``python -m tests.faults``: every call, error and way to fail, at every level; then interrupts from a seed."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time

from tests.faults.runner import CLASSES, ERRORS, FaultError, cases, count_calls, run_cases, run_interrupts


def main() -> int:
    """Parse the command line and run; the status is 1 after a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--interrupts", type=int, default=500, help="stories with an exception in them")
    parser.add_argument("--seed", type=int, help="the first of their seeds; by chance if not given")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if wanted.seed is None else wanted.seed
    failed = 0
    for level, writes in itertools.product(("fsync", "commit"), ("pwrite", "mapped")):
        counts = count_calls(level, writes)
        for error, mode in itertools.product(ERRORS, ("once", "for good", "short", "torn")):
            began = time.monotonic()
            classes = CLASSES if mode in ("once", "for good") else ("write",)
            some = cases(counts, classes, error, mode)
            try:
                told = list(run_cases(some, level, writes))
            except FaultError as problem:
                failed += 1
                print(problem, flush=True)
            else:
                fired = sum(each["fired"] > 0 for each in told)
                print(f"{level} {writes} {error} {mode}: {fired} faults, {time.monotonic() - began:.0f} s", flush=True)
    print(f"interrupts: seeds {seed} to {seed + wanted.interrupts - 1}", flush=True)
    for first in range(seed, seed + wanted.interrupts, 50):
        try:
            run_interrupts(first, min(50, seed + wanted.interrupts - first))
        except FaultError as problem:
            failed += 1
            print(problem, flush=True)
    print(f"{failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
