"""``python -m tests.fuzz --seconds N``: coverage-guided fuzzing with atheris, which `make fuzz` installs.

What the fuzzer finds interesting goes to build/fuzz/corpus, what fails to build/fuzz. A file
that failed is run again with ``--again FILE --target NAME``; it belongs into tests/fuzz/corpus
once it passes.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = ("codec", "identify", "layers")
LONGEST_BYTES = 4096
HANGS_AFTER_SECONDS = 20
MEMORY_MB = 1024
LIBFUZZER_FOUND = 77


def main() -> int:
    """Parse the command line and run; the status is 1 after a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="in all; the targets share them")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, help="by chance if not given")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where findings go")
    parser.add_argument("--again", type=Path, help="run one file, and nothing else")
    wanted = parser.parse_args()
    if wanted.again is not None:
        return run_again(wanted.target, wanted.again)
    seed = random.SystemRandom().randrange(1, 1 << 31) if wanted.seed is None else wanted.seed
    names = [wanted.target] if wanted.target else TARGETS
    found = [name for name in names if fuzz(name, max(1, wanted.seconds // len(names)), seed, wanted.folder)]
    print(f"seed {seed}: {', '.join(found) + ' failed' if found else 'no findings'}")
    return 1 if found else 0


def run_again(target: str | None, path: Path) -> int:
    """Run a target once, and let what it raises be seen."""
    from tests.fuzz.targets import TARGETS as FUNCTIONS  # without the fuzzer's instruments

    if target is None:
        print("say which --target the file is for")
        return 2
    FUNCTIONS[target](path.read_bytes())
    print(f"{path}: passes")
    return 0


def fuzz(target: str, seconds: int, seed: int, folder: Path) -> bool:
    """Fuzz one target in a process of its own, which ends at its first finding; whether there was one."""
    corpus = folder / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    print(f"{target}: {seconds} s, seed {seed}", flush=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.driver", target),
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST_BYTES}"),
        *(f"-timeout={HANGS_AFTER_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1", "-verbosity=0"),
        *(f"-artifact_prefix={folder}/{target}-", f"-dict={HERE / 'nsq.dict'}"),
        *(str(corpus), str(HERE / "corpus" / target)),
    ]
    status = subprocess.run(command, check=False).returncode
    if status == 2:
        sys.exit(2)
    return status != 0


if __name__ == "__main__":
    sys.exit(main())
