"""The benchmarks of the HTTP API: every question can be asked, and is answered; what comes out is nobody's business."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.http.__main__ import QUESTIONS

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"BENCH_HTTP_TOPICS": "20"}


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_is_answered(question: str, tmp_path: Path) -> None:
    """A question, asked for a moment, has rows with figures of both sides."""
    path = tmp_path / "answers.json"
    command = [sys.executable, "-m", "benchmarks.http", "--rows", question, "--runs=1", "--seconds=0.2"]
    done = subprocess.run(
        [*command, "--json", str(path)],
        cwd=ROOT,
        env={**os.environ, **SMALL},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert "not answered" not in done.stdout, done.stdout + done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"][question]
    assert rows
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)
