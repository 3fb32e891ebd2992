"""Replay trusts headers, checksums and numbers without a gap, and nothing else."""

import shutil
from pathlib import Path

import pytest

from nsqlite.errors import StoreDamagedError
from nsqlite.storage.journal import (
    FIRST_SEGMENT_BYTES,
    MAX_SEGMENT_BYTES,
    Journal,
    JournalFullError,
    find_segments,
    read_records,
    sync_folder,
)
from nsqlite.storage.layout import RECORD_HEAD, SEGMENT_HEAD, pack_segment_head

STORE_ID = b"0123456789abcdef"
EPOCH = 4


def make_journal(
    folder: Path, *, lsn: int = 0, epoch: int = EPOCH, synced: bool = False, limit: int = 1 << 28
) -> Journal:
    """A journal in a folder."""
    folder.mkdir(exist_ok=True)
    return Journal(str(folder), STORE_ID, epoch, lsn, is_mapped=not synced, is_filled=synced, limit_bytes=limit)


@pytest.fixture(params=[False, True], ids=["mapped", "synced"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    """A journal that was never used, as each level has it."""
    made = make_journal(tmp_path / "journal", synced=request.param)
    yield made
    made.check()
    made.close(is_settled=False)


def records(folder: str | Path, settled: int = 0, epoch: int = EPOCH) -> list[tuple[int, bytes]]:
    """What a replay would apply."""
    found, _ = find_segments(str(folder), STORE_ID, epoch, "store")
    return list(read_records(found, epoch, settled))


def test_records_are_read_back_in_order(journal: Journal) -> None:
    """Every record that was appended is found, with its number, before any sync."""
    lsns = [journal.append([b"record ", b"%d" % n]) for n in range(5)]

    assert lsns == [1, 2, 3, 4, 5]
    assert records(journal.folder) == [(n + 1, b"record %d" % n) for n in range(5)]


def test_records_run_on_over_segments(journal: Journal) -> None:
    """A record that does not fit goes into the next segment; replay does not notice."""
    payloads = [bytes([n]) * 300_000 for n in range(12)]

    for payload in payloads:
        journal.append([payload])

    assert len(journal.used) > 1
    assert [payload for _, payload in records(journal.folder)] == payloads


def test_settled_records_are_not_replayed(journal: Journal) -> None:
    """Replay begins behind what was settled."""
    for n in range(5):
        journal.append([b"%d" % n])

    assert [lsn for lsn, _ in records(journal.folder, settled=3)] == [4, 5]
    assert records(journal.folder, settled=5) == []


def test_numbers_go_on_from_an_earlier_life(tmp_path: Path) -> None:
    """A new epoch counts on behind what was settled."""
    journal = make_journal(tmp_path / "journal", lsn=41)

    assert journal.append([b"x"]) == 42
    assert records(journal.folder, settled=41) == [(42, b"x")]
    assert records(journal.folder, settled=40) == []
    journal.close(is_settled=False)


def test_record_left_to_the_sync_is_there_after_it(tmp_path: Path) -> None:
    """A record whose caller syncs at once is in the file when the sync returns."""
    journal = make_journal(tmp_path / "journal", synced=True)

    journal.append([b"one"], waits_for_sync=True)
    journal.sync()

    assert records(journal.folder) == [(1, b"one")]
    journal.close(is_settled=False)


def test_record_left_to_the_sync_is_written_before_the_next(tmp_path: Path) -> None:
    """What is appended meanwhile never stands behind a hole."""
    journal = make_journal(tmp_path / "journal", synced=True)
    journal.append([b"one"], waits_for_sync=True)

    journal.append([b"two"])

    assert records(journal.folder) == [(1, b"one"), (2, b"two")]
    journal.sync()
    assert records(journal.folder) == [(1, b"one"), (2, b"two")]
    journal.close(is_settled=False)


def test_torn_record_ends_the_replay(tmp_path: Path) -> None:
    """Whichever byte of a record is lost or flipped, it and all behind it do not count."""
    journal = make_journal(tmp_path / "journal")
    journal.append([b"first"])
    start = journal.used[0].position
    journal.append([b"second"])
    stop = journal.used[0].position
    journal.append([b"third"])
    journal.close(is_settled=False)
    [path] = (tmp_path / "journal").iterdir()
    whole = path.read_bytes()

    for at in range(start, stop):
        for byte in {0, whole[at] ^ 1} - {whole[at]}:
            path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            assert records(tmp_path / "journal") == [(1, b"first")]
        path.write_bytes(whole[:at] + bytes(len(whole) - at))
        assert records(tmp_path / "journal") == [(1, b"first")]


def test_truncated_segment_keeps_what_is_before(tmp_path: Path) -> None:
    """A file cut short, anywhere, gives the whole records before the cut."""
    journal = make_journal(tmp_path / "journal")
    ends = [journal.append([b"x" * 10]) and journal.used[0].position for _ in range(3)]
    journal.close(is_settled=False)
    [path] = (tmp_path / "journal").iterdir()
    whole = path.read_bytes()

    for cut in range(ends[-1] + 2):
        path.write_bytes(whole[:cut])
        found = records(tmp_path / "journal")
        assert len(found) == (sum(end <= cut for end in ends) if cut >= SEGMENT_HEAD.size else 0)


def test_record_of_another_epoch_does_not_check(tmp_path: Path) -> None:
    """Whole records of an old epoch behind a new header are no records."""
    old = make_journal(tmp_path / "journal")
    old.append([b"old"])
    old.close(is_settled=False)
    [path] = (tmp_path / "journal").iterdir()
    data = path.read_bytes()

    path.write_bytes(pack_segment_head(STORE_ID, EPOCH + 1, 1) + data[SEGMENT_HEAD.size :])

    assert records(tmp_path / "journal", epoch=EPOCH + 1) == []


def test_gap_in_numbers_ends_the_replay(tmp_path: Path) -> None:
    """A segment that is missing hides all that came after it."""
    journal = make_journal(tmp_path / "journal")
    for n in range(12):
        journal.append([bytes([n]) * 300_000])
    missing = journal.used[1]
    before = journal.used[0].last_lsn
    journal.close(is_settled=False)

    Path(missing.path).unlink()

    assert [lsn for lsn, _ in records(tmp_path / "journal")] == list(range(1, before + 1))


def test_recycled_segment_never_gives_old_records(journal: Journal) -> None:
    """Whole old records behind the new ones of a segment used again are not replayed."""
    for _ in range(4):
        journal.append([b"o" * 300_000])
    assert len(journal.used) == 2
    settled = journal.append([b"o" * 300_000])
    journal.release(settled)
    while journal.free:
        settled = journal.append([b"f" * 300_000])

    found = records(journal.folder, settled=5)

    assert [lsn for lsn, _ in found] == list(range(6, settled + 1))
    assert {payload[:1] for _, payload in found} == {b"f"}


def test_release_keeps_the_current_segment(journal: Journal) -> None:
    """What is settled is free for use, but never the segment that is written to."""
    for _ in range(8):
        journal.append([b"x" * 300_000])
    current = journal.used[-1]

    journal.release(journal.lsn)

    assert journal.used == [current]
    assert journal.free
    assert journal.record_bytes == current.position - SEGMENT_HEAD.size


def test_release_waits_for_every_record(journal: Journal) -> None:
    """A segment with one record that is not settled stays in use."""
    for _ in range(8):
        journal.append([b"x" * 300_000])

    journal.release(journal.used[0].last_lsn - 1)

    assert journal.free == []


def test_full_journal_refuses_and_stays_whole(tmp_path: Path) -> None:
    """Beyond its limit nothing is written, and small records still go where there is room."""
    journal = make_journal(tmp_path / "journal", limit=FIRST_SEGMENT_BYTES)
    journal.append([b"x" * 1_000_000])

    assert not journal.has_room(100_000)
    assert journal.has_room(100)
    with pytest.raises(JournalFullError):
        journal.append([b"y" * 100_000])
    journal.append([b"z"])

    assert [payload[:1] for _, payload in records(tmp_path / "journal")] == [b"x", b"z"]
    journal.close(is_settled=False)


def test_record_larger_than_any_segment_gets_its_own(journal: Journal) -> None:
    """A record of any size has a segment that fits it."""
    journal.append([b"x" * (MAX_SEGMENT_BYTES + 5)])

    assert records(journal.folder) == [(1, b"x" * (MAX_SEGMENT_BYTES + 5))]


def test_segment_is_made_ahead_when_half_is_used(journal: Journal) -> None:
    """Once half of the current segment is used another should be ready; one is enough."""
    assert journal.needs_segment() == 0
    journal.append([b"x" * 600_000])

    wanted = journal.needs_segment()
    journal.free.append(journal.make_ahead(wanted))

    assert wanted == 2 * FIRST_SEGMENT_BYTES
    assert journal.needs_segment() == 0


def test_trim_gives_up_what_the_load_does_not_need(journal: Journal) -> None:
    """After a burst the free segments shrink to what is in use."""
    for _ in range(120):
        journal.append([b"x" * 300_000])
    journal.release(journal.lsn)
    held = journal.held_bytes

    for extra in journal.trim():
        extra.delete()

    assert journal.held_bytes < held
    assert len(list(Path(journal.folder).iterdir())) == len(journal.used) + len(journal.free)


def test_settled_close_removes_the_files(tmp_path: Path) -> None:
    """Of a settled journal nothing is left; of another everything is."""
    for is_settled in (False, True):
        journal = make_journal(tmp_path / "journal", epoch=EPOCH + is_settled)
        journal.append([b"x"])
        journal.close(is_settled=is_settled)

    assert records(tmp_path / "journal") == [(1, b"x")]


def test_segments_are_known_by_header_not_by_name(tmp_path: Path) -> None:
    """Files that were renamed are replayed in the order of their numbers."""
    journal = make_journal(tmp_path / "journal")
    payloads = [bytes([n]) * 300_000 for n in range(12)]
    for payload in payloads:
        journal.append([payload])
    journal.close(is_settled=False)
    for at, path in enumerate(sorted((tmp_path / "journal").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed-{at}.seg"))

    assert [payload for _, payload in records(tmp_path / "journal")] == payloads


def test_files_that_are_no_segments_are_passed_by(tmp_path: Path) -> None:
    """An unfinished segment, or one of an old epoch, is of no use and no error."""
    make_journal(tmp_path / "journal", epoch=EPOCH - 1).close(is_settled=False)
    (tmp_path / "journal" / "new.seg").write_bytes(bytes(4096))
    (tmp_path / "journal" / "cut.seg").write_bytes(b"nsq")
    (tmp_path / "journal" / "notes.txt").write_bytes(b"not ours")

    found, useless = find_segments(str(tmp_path / "journal"), STORE_ID, EPOCH, "store")

    assert found == []
    assert len(useless) == 3


@pytest.mark.parametrize(
    "head, told",
    [
        (pack_segment_head(b"another store id", EPOCH, 1), "belongs to another store"),
        (pack_segment_head(STORE_ID, EPOCH + 1, 1), "newer than the data beside it"),
    ],
)
def test_foreign_journal_is_refused(tmp_path: Path, head: bytes, told: str) -> None:
    """The journal of another store, or of a later epoch, is not replayed and not removed."""
    (tmp_path / "a.seg").write_bytes(head + bytes(100))

    with pytest.raises(StoreDamagedError, match=told):
        find_segments(str(tmp_path), STORE_ID, EPOCH, "store")

    assert (tmp_path / "a.seg").exists()


def test_missing_folder_has_no_segments(tmp_path: Path) -> None:
    """A backup has no journal, and needs none."""
    assert find_segments(str(tmp_path / "none"), STORE_ID, EPOCH, "store") == ([], [])


def test_duplicate_of_a_segment_changes_nothing(tmp_path: Path) -> None:
    """A copy of a segment, left by somebody's hand, is not replayed twice."""
    journal = make_journal(tmp_path / "journal")
    journal.append([b"x"])
    journal.close(is_settled=False)
    [path] = (tmp_path / "journal").iterdir()

    shutil.copy(path, path.with_name("copy.seg"))

    assert records(tmp_path / "journal") == [(1, b"x")]


def test_record_head_is_sixteen_bytes() -> None:
    """The journal's arithmetic and the layout's head agree."""
    assert RECORD_HEAD.size == 16


def test_folder_can_be_synced(tmp_path: Path) -> None:
    """Names last once their folder is synced; what is no folder raises."""
    sync_folder(str(tmp_path))

    with pytest.raises(OSError, match="No such file"):
        sync_folder(str(tmp_path / "none"))


def test_settled_records_of_the_current_segment_do_not_count(journal: Journal) -> None:
    """What is settled takes no room that a promise may need, also in the segment that is written to."""
    journal.append([b"x" * 1000])
    journal.mark()
    settled = journal.lsn
    journal.append([b"y" * 10])

    journal.release(settled)

    assert journal.record_bytes == RECORD_HEAD.size + 10
    journal.append([b"z" * 2_000_000])
    assert journal.record_bytes == 2 * RECORD_HEAD.size + 2_000_010


def test_mark_ahead_of_a_settlement_is_not_taken_for_settled(journal: Journal) -> None:
    """Records behind the settled position count, whatever was noted since."""
    journal.append([b"x" * 1000])
    settled = journal.lsn
    journal.append([b"y" * 10])
    journal.mark()

    journal.release(settled)

    assert journal.record_bytes == 2 * RECORD_HEAD.size + 1010
