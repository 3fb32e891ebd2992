"""The demo, on a small part of its input: it must be able to pass, and able to fail."""

import sysconfig
from pathlib import Path

from benchmarks.demo_archive import Archive, read_archive
from tests.meta.project import must_succeed, run_python

INPUT = Path(sysconfig.get_path("stdlib")) / "asyncio"


def test_demo_loses_nothing(tmp_path: Path) -> None:
    """The job that is killed half-way ends with every file counted and archived."""
    table = must_succeed(run_python("-m", "benchmarks.demo", "--root", str(INPUT), "--folder", str(tmp_path / "demo")))

    rows = dict(line.split("  ", 1) for line in table.splitlines() if line)
    assert rows["lost"].strip() == "0"
    assert rows["archive equal to the input"].strip() == "yes"


def test_archive_cuts_off_half_a_record(tmp_path: Path) -> None:
    """What a killed process wrote by half is gone from the archive, and what comes after it is read."""
    path = tmp_path / "archive"
    with Archive(path) as archive:
        archive.append("a.py", b"one")
        archive.append("b.py", b"two")
    path.write_bytes(path.read_bytes()[:-1])

    with Archive(path) as archive:
        archive.append("c.py", b"three")
        archive.append("a.py", b"one")

    assert read_archive(path)[0] == {"a.py": b"one", "c.py": b"three"}
