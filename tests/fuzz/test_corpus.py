"""What fuzzing found worth keeping is replayed; `make fuzz` looks for more."""

from pathlib import Path

import pytest

from tests.fuzz.__main__ import TARGETS as NAMES
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus_keeps_the_promises(path: Path) -> None:
    """Each file is a conversation, a body or a stream that once was interesting: no promise breaks on it."""
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus_of_small_files() -> None:
    """A fuzzer begins with something, and the tree stays small."""
    assert {path.parent.name for path in FILES} == set(TARGETS) == set(NAMES)
    assert len(FILES) < 100
    assert max(path.stat().st_size for path in FILES) <= 4096
