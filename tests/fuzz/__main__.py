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
import time
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = ("codec", "identify", "layers")
LONGEST_BYTES = 4096
HANGS_AFTER_SECONDS = 20
MEMORY_MB = 1024
MISSING = 2  # the status when there is no fuzzer


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
        return MISSING
    FUNCTIONS[target](path.read_bytes())
    print(f"{path}: passes")
    return 0


def fuzz(target: str, seconds: int, seed: int, folder: Path) -> bool:
    """Fuzz one target until its time is over or something is found; whether there was."""
    print(f"{target}: {seconds} s, seed {seed}", flush=True)
    ends_at = time.monotonic() + seconds
    while (left := int(ends_at - time.monotonic())) > 0:
        before = set(folder.glob(f"{target}-*"))
        if run_fuzzer(target, left, seed, folder) == 0:
            return False
        findings = set(folder.glob(f"{target}-*")) - before
        if not findings or not all(passes_again(target, path) for path in findings):
            print(f"{target}: {', '.join(map(str, findings)) or 'the fuzzer was stopped'}")
            return True
        for path in findings:
            path.unlink()  # the machine stood still, not the target
        seed += 1
    return False


def run_fuzzer(target: str, seconds: int, seed: int, folder: Path) -> int:
    """Run the fuzzer in a process of its own, which ends at its first finding; its status."""
    corpus = folder / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.driver", target),
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST_BYTES}"),
        *(f"-timeout={HANGS_AFTER_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1", "-verbosity=0"),
        *(f"-artifact_prefix={folder}/{target}-", f"-dict={HERE / 'nsq.dict'}"),
        *(str(corpus), str(HERE / "corpus" / target)),
    ]
    status = subprocess.run(command, check=False).returncode
    if status == MISSING:
        sys.exit(MISSING)
    return status


def passes_again(target: str, path: Path) -> bool:
    """Whether an input that seemed to hang does not, when it is looked at alone."""
    if not path.name.startswith(f"{target}-timeout"):
        return False
    command = [sys.executable, "-m", "tests.fuzz", "--target", target, "--again", str(path)]
    try:
        return subprocess.run(command, check=False, timeout=HANGS_AFTER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    sys.exit(main())
