"""A segment is a file of fixed size that is written in place, and used again."""

import os
from pathlib import Path

import pytest

from nsqlite.storage.layout import SEGMENT_HEAD, unpack_segment_head
from nsqlite.storage.segment import MAX_PIECES, Segment

STORE_ID = b"0123456789abcdef"


@pytest.fixture(params=[True, False], ids=["mapped", "pwrite"])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Segment:
    """A segment of two pages, begun."""
    made = Segment(str(tmp_path / "1.seg"), 5000, is_mapped=request.param, is_filled=True)
    made.begin(STORE_ID, 3, 1)
    yield made
    made.close()


def test_segment_has_its_size_at_once(segment: Segment) -> None:
    """The file is as long as it will ever be, in whole pages, with blocks under it."""
    stat = os.stat(segment.path)

    assert segment.size_bytes == stat.st_size == 8192
    assert stat.st_blocks * 512 >= 8192


def test_begun_segment_bears_its_header(segment: Segment) -> None:
    """A segment is known by its header, not by its name."""
    head = Path(segment.path).read_bytes()[: SEGMENT_HEAD.size]

    assert unpack_segment_head(head) == (STORE_ID, 3, 1)
    assert segment.position == SEGMENT_HEAD.size
    assert segment.is_dirty


def test_written_bytes_are_in_the_file_at_their_offset(segment: Segment) -> None:
    """A write is in the page cache when it returns, whichever way it was made."""
    segment.write(100, b"hello")

    assert Path(segment.path).read_bytes()[100:105] == b"hello"


def test_sync_makes_it_clean(segment: Segment) -> None:
    """After a sync nothing is left to sync, until the next write."""
    segment.write(100, b"hello")

    segment.sync()

    assert not segment.is_dirty


def test_begin_again_voids_what_it_held(segment: Segment) -> None:
    """A segment used again has a new header and starts behind it."""
    segment.write(segment.position, b"hello")
    segment.position += 5
    segment.last_lsn = 9

    segment.begin(STORE_ID, 3, 2)

    assert unpack_segment_head(Path(segment.path).read_bytes()) == (STORE_ID, 3, 2)
    assert (segment.position, segment.last_lsn, segment.number) == (SEGMENT_HEAD.size, 0, 2)


def test_write_synced_writes_all_that_waits(tmp_path: Path) -> None:
    """What was left to the sync is in the file behind it, in order, and goes only once."""
    segment = Segment(str(tmp_path / "1.seg"), 4096, is_mapped=False, is_filled=True)
    segment.begin(STORE_ID, 1, 1, keeps_unsynced=True)
    segment.unsynced += [b"one", b"two"]

    segment.write_synced()
    segment.unsynced.append(b"three")
    segment.write_synced()

    held = Path(segment.path).read_bytes()
    assert unpack_segment_head(held) == (STORE_ID, 1, 1)
    assert held[SEGMENT_HEAD.size :].startswith(b"onetwothree\0")
    assert segment.unsynced == []
    segment.close()


def test_write_synced_writes_any_number_of_pieces(tmp_path: Path) -> None:
    """More than one system call takes are one all the same."""
    segment = Segment(str(tmp_path / "1.seg"), 16384, is_mapped=False, is_filled=True)
    segment.begin(STORE_ID, 1, 1, keeps_unsynced=True)
    pieces = [b"%04d" % number for number in range(2 * MAX_PIECES)]
    segment.unsynced += pieces

    segment.write_synced()

    assert Path(segment.path).read_bytes()[SEGMENT_HEAD.size :].startswith(b"".join(pieces) + b"\0")
    segment.close()


@pytest.mark.parametrize("is_filled", [True, False])
def test_new_segment_is_all_zeros(tmp_path: Path, is_filled: bool) -> None:
    """Filled or only allocated, nothing in a new file can be taken for a record."""
    segment = Segment(str(tmp_path / "1.seg"), 3 << 20, is_mapped=False, is_filled=is_filled)

    assert not any(Path(segment.path).read_bytes())
    segment.close()


def test_existing_file_is_never_taken_over(tmp_path: Path) -> None:
    """A name that is taken raises, and the file stays."""
    (tmp_path / "1.seg").write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        Segment(str(tmp_path / "1.seg"), 4096, is_mapped=False, is_filled=False)

    assert (tmp_path / "1.seg").read_bytes() == b"mine"


def test_delete_and_close_let_go(segment: Segment) -> None:
    """A deleted segment has no file; closing again is fine."""
    segment.delete()
    segment.close()

    assert not os.path.exists(segment.path)
    assert (segment.fd, segment.map) == (-1, None)
