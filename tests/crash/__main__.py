"""``python -m tests.crash --cycles N``: longer runs than the suite's. A failure prints its seed."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.crash.runner import KILLS_A_STORE, CrashError, run_seed
from tests.crash.tcp_runner import run_seed_over_tcp

LEVELS = ("fsync", "commit")


def main() -> int:
    """Parse the command line and run; the status is 1 after a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000, help="processes to kill")
    parser.add_argument("--seed", type=int, help="the first seed; by chance if not given")
    parser.add_argument("--level", choices=LEVELS, help="only this durability, and only this seed")
    parser.add_argument("--tcp", action="store_true", help="kill a node with a listener, and talk to it over TCP")
    parser.add_argument("--keep-going", action="store_true", help="show every failure, not only the first")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if wanted.seed is None else wanted.seed
    stores = -(-wanted.cycles // KILLS_A_STORE)
    jobs = [(seed + number // 2, LEVELS[number % 2], KILLS_A_STORE) for number in range(stores)]
    if wanted.level:
        jobs = [(seed, wanted.level, wanted.cycles)]
    print(f"seed {seed}: {wanted.cycles} cycles", flush=True)
    began, cycles, failed = time.monotonic(), 0, 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = [
            pool.submit(run_seed_over_tcp if wanted.tcp else run_seed, at, level, kills=kills)
            for at, level, kills in jobs
        ]
        for done in as_completed(running):
            try:
                cycles += done.result()
            except CrashError as error:
                failed += 1
                print(error, flush=True)
                if not wanted.keep_going:
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
    print(f"{cycles} cycles, {failed} failures, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
