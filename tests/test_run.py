"""Runs hold messages exactly as NSQ writes them, whichever way they were put together."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.run import (
    SPLIT_BYTES,
    OpenRun,
    Run,
    build_dated_run,
    build_run,
    frame_ends,
    has_stride,
    join_runs,
    run_from_frames,
    split_bodies,
    timestamp_of,
    with_attempts,
)

TIMESTAMP_NS = 1_700_000_000_123_456_789
BODIES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=30)


def naive_frame(message_id: int, body: bytes, attempts: int = 1) -> bytes:
    """One message as the protocol describes it, field after field."""
    payload = struct.pack(">qH", TIMESTAMP_NS, attempts) + f"{message_id:016x}".encode() + body
    return struct.pack(">II", len(payload) + 4, 2) + payload


@given(bodies=BODIES, first_id=st.integers(0, 2**63))
def test_build_run_writes_nsq_frames(bodies: list[bytes], first_id: int) -> None:
    """The frames of a run are the frames of its messages one by one."""
    run = build_run(7, first_id, bodies, TIMESTAMP_NS, 0)

    assert run.frames == b"".join(naive_frame(first_id + i, body) for i, body in enumerate(bodies))
    run.check()


@given(bodies=BODIES, data=st.data())
def test_run_slices_are_its_messages(bodies: list[bytes], data: st.DataObject) -> None:
    """A frame, a span and a part of a run are those messages and no others."""
    run = build_run(10, 500, bodies, TIMESTAMP_NS, 0)
    frames = [naive_frame(500 + i, body) for i, body in enumerate(bodies)]
    start = data.draw(st.integers(0, len(bodies) - 1))
    stop = data.draw(st.integers(start + 1, len(bodies)))

    part = run.part(start, stop)

    assert run.span(start, stop) == part.frames == b"".join(frames[start:stop])
    assert [run.frame(i) for i in range(len(bodies))] == frames
    assert (part.first_seq, part.first_id, part.count) == (10 + start, 500 + start, stop - start)
    part.check()


@given(bodies=BODIES)
def test_open_run_seals_to_what_a_batch_would_be(bodies: list[bytes]) -> None:
    """Published one by one or as a batch, the same bodies make the same run."""
    built = build_run(3, 90, bodies, TIMESTAMP_NS, 0)
    opened = OpenRun(3, 90, naive_frame(90, bodies[0]))
    for index, body in enumerate(bodies[1:], 1):
        opened.parts.append(naive_frame(90 + index, body))
        opened.count += 1
        opened.size_bytes += len(opened.parts[-1])

    sealed = opened.sealed()

    opened.check()
    assert (sealed.frames, sealed.count, sealed.stride) == (built.frames, built.count, built.stride)
    assert opened.span(0, opened.count) == built.frames
    assert [opened.frame(i) for i in range(built.count)] == [built.frame(i) for i in range(built.count)]
    assert opened.part(0, 1).frames == built.frame(0)


@given(bodies=BODIES)
def test_timestamp_of_one_message_is_read_in_place(bodies: list[bytes]) -> None:
    """An open run and a sealed one tell each message's own."""
    dates = [TIMESTAMP_NS + index for index in range(len(bodies))]
    frames = [build_run(0, 0, [body], date, 0).frames for body, date in zip(bodies, dates, strict=True)]
    opened = OpenRun(0, 0, frames[0])
    opened.parts += frames[1:]
    opened.count = len(frames)

    sealed = opened.sealed()

    assert [opened.timestamp(index) for index in range(len(frames))] == dates
    assert [sealed.timestamp(index) for index in range(len(frames))] == dates


@given(bodies=BODIES, data=st.data())
def test_join_runs_undoes_cutting(bodies: list[bytes], data: st.DataObject) -> None:
    """A run cut anywhere and joined again is the run it was."""
    whole = build_run(0, 1, bodies, TIMESTAMP_NS, 0)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(bodies)))) | {0, len(bodies)})
    parts = [whole.part(start, stop) for start, stop in itertools.pairwise(cuts)]

    [joined] = join_runs(parts)

    assert (joined.first_seq, joined.first_id, joined.count) == (0, 1, len(bodies))
    assert joined.frames == whole.frames
    joined.check()


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(build_run(3, 12, [b"x"], TIMESTAMP_NS, 0), id="gap in seqs"),
        pytest.param(build_run(2, 13, [b"x"], TIMESTAMP_NS, 0), id="gap in ids"),
        pytest.param(build_run(2, 12, [b"x"], TIMESTAMP_NS, 99), id="delayed"),
    ],
)
def test_join_runs_keeps_apart_what_does_not_go_on(second: Run) -> None:
    """Runs are joined only where seqs and ids go on and neither is delayed."""
    first = build_run(0, 10, [b"a", b"b"], TIMESTAMP_NS, 0)

    joined = join_runs([first, second])

    assert joined == [first, second]


def test_join_runs_of_nothing_is_nothing() -> None:
    """No runs join to no runs."""
    assert join_runs([]) == []


@given(sizes=st.lists(st.integers(1, 3 * SPLIT_BYTES // 2), min_size=1, max_size=8))
def test_split_bodies_cuts_at_the_limit_and_keeps_order(sizes: list[int]) -> None:
    """Stretches together are the batch, and each is within the limit or one message."""
    bodies = [bytes(size) for size in sizes]

    stretches = list(split_bodies(bodies))

    assert [len(body) for stretch, _ in stretches for body in stretch] == sizes
    for stretch, its_sizes in stretches:
        assert list(its_sizes) == list(map(len, stretch)) != []
        assert len(stretch) == 1 or sum(len(body) + 34 for body in stretch) <= SPLIT_BYTES


@given(bodies=BODIES)
def test_run_from_frames_reads_what_build_run_wrote(bodies: list[bytes]) -> None:
    """Stored frames give the same run back, with the same stride."""
    built = build_run(4, 40, bodies, TIMESTAMP_NS, 5)

    found = run_from_frames(4, 40, len(bodies), 5, built.frames)

    assert (found.stride, found.due_ns, found.count) == (built.stride, 5, built.count)
    assert [found.frame(i)[34:] for i in range(found.count)] == bodies


def test_stride_is_not_taken_from_the_mean() -> None:
    """Frames of different sizes have no stride, even when their mean is a whole number."""
    frames = naive_frame(1, b"a") + naive_frame(2, b"abc")

    run = run_from_frames(0, 1, 2, 0, frames)

    assert not has_stride(frames, len(frames) // 2, 2)
    assert run.stride == 0
    assert list(frame_ends(frames)) == [35, 72]
    assert run.frame(1)[34:] == b"abc"


@pytest.mark.parametrize("attempts", [2, 255, 256, 65_535])
def test_with_attempts_changes_attempts_alone(attempts: int) -> None:
    """A redelivery is the same frame with another count of attempts."""
    frame = naive_frame(77, b"body")

    again = with_attempts(frame, attempts)

    assert again == naive_frame(77, b"body", attempts)
    assert timestamp_of(again) == TIMESTAMP_NS


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda run: Run(0, 1, 3, 0, run.frames, run.stride), id="count"),
        pytest.param(lambda run: Run(0, 2, 2, 0, run.frames, run.stride), id="first id"),
        pytest.param(lambda run: Run(0, 1, 2, 0, run.frames, run.stride + 1), id="stride"),
        pytest.param(lambda run: Run(0, 1, 0, 0, b"", 0), id="empty"),
    ],
)
def test_check_finds_a_head_that_does_not_fit(broken: object) -> None:
    """A run whose head and frames disagree does not pass its check."""
    run = build_run(0, 1, [b"a", b"b"], TIMESTAMP_NS, 0)

    with pytest.raises((AssertionError, IndexError)):
        broken(run).check()


@given(bodies=BODIES, data=st.data())
def test_build_dated_run_gives_each_message_its_own_time(bodies: list[bytes], data: st.DataObject) -> None:
    """It is what build_run makes, but for the timestamps."""
    times = data.draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=len(bodies), max_size=len(bodies)))

    run = build_dated_run(5, 0xFFE, bodies, times)

    run.check()
    assert [timestamp_of(run.frame(at)) for at in range(run.count)] == times
    same = build_dated_run(5, 0xFFE, bodies, [TIMESTAMP_NS] * len(bodies))
    assert same.frames == build_run(5, 0xFFE, bodies, TIMESTAMP_NS, 0).frames
