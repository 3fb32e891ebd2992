"""``python -m tests.fuzz.driver TARGET ...``: one target under libFuzzer, whose options follow. See __main__."""

import importlib
import sys

try:
    import atheris
except ImportError:
    print("the fuzzer is missing: pip install -e '.[fuzz]', or make fuzz", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Fuzz until the time is over or something is found; does not return."""
    target = sys.argv.pop(1)
    with atheris.instrument_imports(include=["nsqlite", "json"]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup(sys.argv, targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
