"""The network benchmarks: every question can be asked, and is answered; what comes out is nobody's business here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.net.__main__ import QUESTIONS
from benchmarks.net.match import Goal, Row
from benchmarks.net.rows import verdict

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"BENCH_NET_WAITING": "20_000", "BENCH_NET_IDLE": "20"}


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_is_answered(question: str, tmp_path: Path) -> None:
    """A question, asked for a moment, has rows with figures of both sides, with uvloop and without."""
    path = tmp_path / "answers.json"
    command = [sys.executable, "-m", "benchmarks.net", "--rows", question, "--runs=1", "--seconds=0.2"]
    command += ["--without-uvloop", "--json", str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **SMALL}, capture_output=True, text=True, check=False, timeout=300
    )

    assert "not answered" not in done.stdout, done.stdout + done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"][question]
    assert any("without uvloop" in row["work"] for row in rows)
    assert all(row["theirs"] > 0 for row in rows if "core" not in row["work"])  # 20 idle ones may cost nothing


@pytest.mark.parametrize(
    "goal,ours,said",
    [
        (Goal(0.7, 1.0), 69, "FALLS SHORT"),
        (Goal(0.7, 1.0), 70, "reached"),
        (Goal(0.7, 1.0), 100, "aim reached"),
        (Goal(1.5, 1.0, is_more_better=False), 100, "aim reached"),
        (Goal(1.5, 1.0, is_more_better=False), 151, "FALLS SHORT"),
        (Goal(1.5, 1.0, is_more_better=False, allowance=10), 151, "reached"),
        (Goal(0, 1.0, is_more_better=False, allowance=150), 151, "FALLS SHORT"),
        (Goal(None, None), 1, "measured"),
    ],
)
def test_verdict_follows_the_goal(goal: Goal, ours: float, said: str) -> None:
    """More is better or less is better, and an allowance comes on top of the limit alone."""
    assert verdict(Row("work", "rival", "", ours, 100, goal, [ours], [100])) == said
