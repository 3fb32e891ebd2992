"""``python -m tests.power --images N``: longer runs than the suite's. A failure prints its seed."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.power.runner import LEVELS, WRITES, PowerFailureError, run_seed, stories


def main() -> int:
    """Parse the command line and run; the status is 1 after a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="images to open")
    parser.add_argument("--seed", type=int, help="the first seed; by chance if not given")
    parser.add_argument("--level", choices=LEVELS, help="only this durability, and only this seed")
    parser.add_argument("--writes", choices=WRITES, help="only this way of writing, and only this seed")
    parser.add_argument("--keep-going", action="store_true", help="show every failure, not only the first")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if wanted.seed is None else wanted.seed
    if wanted.level or wanted.writes:
        levels = [wanted.level] if wanted.level else LEVELS
        ways = [wanted.writes] if wanted.writes else WRITES
        jobs = [(seed, level, writes, wanted.images) for level in levels for writes in ways]
    else:
        jobs = list(stories(seed, wanted.images))
    print(f"seed {seed}: {wanted.images} images", flush=True)
    began, images, again, failed = time.monotonic(), 0, 0, 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(run_seed, *job[:3], images=job[3], again=max(1, job[3] // 12)) for job in jobs]
        for done in as_completed(running):
            try:
                outcome = done.result()
            except PowerFailureError as error:
                failed += 1
                print(error, flush=True)
                if not wanted.keep_going:
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
            else:
                images, again = images + outcome.images, again + outcome.again
    print(f"{images} images, {again} more of their opening, {failed} failures, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
