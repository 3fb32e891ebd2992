"""Percentiles are within one per cent, of the last window, and cost a batch what they cost a message."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.core.latency import ChannelLatency, Latencies, Sketch
from nsqlite.options import Options
from nsqlite.run import AnyRun, OpenRun, build_dated_run, build_run
from tests.fakes.cores import NOW_NS, SECOND, WALL_NS, make_run

QUANTILES = (1.0, 0.99, 0.5, 0.01)
WINDOW_NS = 600 * SECOND
HALF_NS = WINDOW_NS // 2
START_NS = 1000 * HALF_NS  # where a half begins


@pytest.fixture
def latencies() -> Latencies:
    """Of a node that asks for some percentiles."""
    return Latencies(QUANTILES, WINDOW_NS)


def values(latencies: Latencies, *channels: ChannelLatency, now_ns: int = NOW_NS) -> tuple[int, list[int]]:
    """Count and percentiles of channels together."""
    _, latency = latencies.merged([half for each in channels for half in each.halves(now_ns)])
    assert [each.quantile for each in latency.percentiles] == list(latencies.quantiles)
    return latency.count, [each.value_ns for each in latency.percentiles]


def close(*seconds: int) -> Any:
    """Values within one per cent of so many seconds."""
    return pytest.approx([each * SECOND for each in seconds], rel=0.01)


def dated(*timestamps_ns: int) -> AnyRun:
    """A run of one message for each timestamp."""
    return build_dated_run(0, 1000, [b"x"] * len(timestamps_ns), list(timestamps_ns))


def finish(latency: ChannelLatency, *latencies_ns: int, now_ns: int = NOW_NS) -> None:
    """Finish messages that took so long, at once."""
    run = dated(*(WALL_NS - each for each in latencies_ns))
    latency.finished(run, 0, run.count, now_ns, WALL_NS)


# -- sketches ------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 1 << 62), min_size=1, max_size=200), st.lists(st.floats(0.001, 1.0), min_size=1, max_size=5)
)
def test_percentiles_are_within_one_per_cent(samples: list[int], quantiles: list[float]) -> None:
    """Whatever the values and the percentile: the value at its rank, give or take 1 %."""
    sketch = Sketch()
    for each in samples:
        sketch.add(each)

    latency = sketch.latency(sorted(quantiles, reverse=True))

    for found in latency.percentiles:
        exact = sorted(samples)[max(1, math.ceil(found.quantile * len(samples))) - 1]
        assert abs(found.value_ns - exact) <= exact / 100


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 1000)), min_size=1, max_size=30))
def test_weight_is_so_many_values(samples: list[tuple[int, int]]) -> None:
    """One value with a weight of a hundred is a hundred values."""
    weighted, single = Sketch(), Sketch()
    for value_ns, count in samples:
        weighted.add(value_ns, count)
        for _ in range(count):
            single.add(value_ns)

    assert weighted.latency(QUANTILES) == single.latency(QUANTILES)


@given(st.lists(st.integers(0, 1 << 40)), st.lists(st.integers(0, 1 << 40)))
def test_merged_sketches_are_one_of_all_values(first: list[int], second: list[int]) -> None:
    """Merging loses nothing, and leaves what is merged alone."""
    parts, whole = [Sketch(), Sketch()], Sketch()
    for part, samples in zip(parts, (first, second), strict=True):
        for each in samples:
            part.add(each)
            whole.add(each)

    merged = parts[0].copy()
    merged.merge(parts[1])

    assert merged.latency(QUANTILES) == whole.latency(QUANTILES)
    assert parts[0].count == len(first)


def test_sketch_of_nothing_is_nought() -> None:
    """Each percentile that is asked for is there, as 0."""
    latency = Sketch().latency(QUANTILES)

    assert latency.count == 0
    assert {each.value_ns for each in latency.percentiles} == {0}


def test_one_value_is_told_exactly() -> None:
    """No bucket's middle lies beyond what was measured."""
    sketch = Sketch()
    sketch.add(123_456_789)

    assert {each.value_ns for each in sketch.latency(QUANTILES).percentiles} == {123_456_789}


# -- windows -------------------------------------------------------------------------------


def test_sample_is_seen_for_half_a_window_at_least(latencies: Latencies) -> None:
    """It goes with the half that it fell into, after one more half."""
    latency = latencies.of_channel()
    finish(latency, SECOND, now_ns=START_NS + HALF_NS - 1)

    assert values(latencies, latency, now_ns=START_NS + 2 * HALF_NS - 1) == (1, [SECOND] * 4)
    assert values(latencies, latency, now_ns=START_NS + 2 * HALF_NS) == (0, [0] * 4)


def test_sample_is_seen_for_a_window_at_most(latencies: Latencies) -> None:
    """One at the beginning of a half is gone after both."""
    latency = latencies.of_channel()
    finish(latency, SECOND, now_ns=START_NS)

    assert values(latencies, latency, now_ns=START_NS + WINDOW_NS - 1)[0] == 1
    assert values(latencies, latency, now_ns=START_NS + WINDOW_NS)[0] == 0


def test_samples_of_both_halves_are_seen_together(latencies: Latencies) -> None:
    """The older half stays while the newer one fills, and a long silence ends both."""
    latency = latencies.of_channel()
    finish(latency, SECOND, now_ns=START_NS)
    finish(latency, 3 * SECOND, now_ns=START_NS + HALF_NS)

    assert values(latencies, latency, now_ns=START_NS + HALF_NS) == (2, close(3, 3, 1, 1))
    assert values(latencies, latency, now_ns=START_NS + WINDOW_NS) == (1, [3 * SECOND] * 4)
    assert values(latencies, latency, now_ns=START_NS + 9 * WINDOW_NS)[0] == 0


def test_topic_is_its_channels_merged(latencies: Latencies) -> None:
    """Halves end at the same moments for all, whenever they were first used."""
    first, second = latencies.of_channel(), latencies.of_channel()
    finish(first, SECOND, now_ns=START_NS)
    finish(second, 3 * SECOND, now_ns=START_NS + HALF_NS + 5)

    assert values(latencies, first, second, now_ns=START_NS + HALF_NS + 6)[0] == 2
    assert values(latencies, first, second, now_ns=START_NS + WINDOW_NS) == (1, [3 * SECOND] * 4)


# -- samples -------------------------------------------------------------------------------


def test_batch_is_one_sample_with_a_weight(latencies: Latencies) -> None:
    """Published together, finished together: all took equally long, and none is looked at alone."""
    latency = latencies.of_channel()
    run = make_run(0, [b"x"] * 1000)

    latency.finished(run, 100, 900, NOW_NS, WALL_NS + 5 * SECOND)

    assert values(latencies, latency) == (800, [5 * SECOND] * 4)


def test_open_run_is_measured_like_any_other(latencies: Latencies) -> None:
    """Messages that were published one by one are in a run that still grows."""
    latency = latencies.of_channel()
    frames = [build_run(0, 1000, [b"x"], WALL_NS - age * SECOND, 0).frames for age in (3, 2, 1)]
    run = OpenRun(0, 1000, frames[0])
    for frame in frames[1:]:
        run.parts.append(frame)
        run.count += 1

    latency.finished(run, 0, 3, NOW_NS, WALL_NS)

    assert values(latencies, latency) == (3, close(3, 3, 2, 1))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([1, 10**6, 10**9, 10**12, 10**15]))
def test_stretch_of_single_publishes_is_within_one_per_cent(gaps_ns: list[int], wait_ns: int) -> None:
    """However unevenly they were published and however long they waited, at the price the module tells."""
    latencies = Latencies(QUANTILES, WINDOW_NS)
    latency = latencies.of_channel()
    timestamps = [WALL_NS]
    for gap_ns in gaps_ns:
        timestamps.append(timestamps[-1] + gap_ns)
    wall_ns = timestamps[-1] + wait_ns

    latency.finished(dated(*timestamps), 0, len(timestamps), NOW_NS, wall_ns)

    exact = sorted(wall_ns - each for each in timestamps)
    count, found = values(latencies, latency)
    assert count == len(timestamps)
    for quantile, value_ns in zip(QUANTILES, found, strict=True):
        at_rank = exact[max(1, math.ceil(quantile * count)) - 1]
        assert abs(value_ns - at_rank) <= at_rank / 100


def test_clock_that_was_put_back_gives_noughts(latencies: Latencies) -> None:
    """A message from the future took no time at all."""
    latency = latencies.of_channel()
    finish(latency, -SECOND)
    finish(latency, -3 * SECOND, -SECOND, -2 * SECOND)

    assert values(latencies, latency) == (4, [0] * 4)


def test_histograms_forget_nothing(latencies: Latencies) -> None:
    """A channel's counts since it was made, the node's since it was opened, whatever the window."""
    first, second = latencies.of_channel(), latencies.of_channel()
    finish(first, SECOND, now_ns=START_NS)
    finish(second, 3 * SECOND, 7 * SECOND, now_ns=START_NS + 9 * WINDOW_NS)

    assert values(latencies, first, now_ns=START_NS + 9 * WINDOW_NS)[0] == 0
    assert (first.histogram.stats().count, second.histogram.stats().sum_seconds) == (1, 10.0)
    assert (latencies.total.stats().count, latencies.total.stats().sum_seconds) == (3, 11.0)


def test_latencies_are_wanted_with_a_percentile() -> None:
    """By default nothing is measured; what is asked for comes the highest first, as nsqd has it."""
    assert Latencies.wanted(Options()) is None

    wanted = Latencies.wanted(Options(e2e_processing_latency_percentiles=(0.5, 1.0, 0.95)))

    assert wanted is not None
    assert wanted.quantiles == (1.0, 0.95, 0.5)
