"""Histograms count as Prometheus reads them: cumulative, bounds included, never falling."""

import pytest

from nsqlite.histogram import E2E_BOUNDS_NS, SETTLEMENT_BOUNDS_NS, SYNC_BOUNDS_NS, Histogram


def test_histogram_counts_what_is_at_most_a_bound() -> None:
    """A bound belongs to its bucket; what is beyond all of them is in the count alone."""
    histogram = Histogram((1_000_000, 1_000_000_000))
    for value_ns in (0, 1_000_000, 1_000_001, 1_000_000_000, 5_000_000_000):
        histogram.add(value_ns)

    stats = histogram.stats()

    assert stats.buckets == ((0.001, 2), (1.0, 4))
    assert stats.count == 5
    assert stats.sum_seconds == pytest.approx(6.002000001)


def test_histogram_takes_weights() -> None:
    """A value may stand for many."""
    histogram = Histogram((1_000_000_000,))
    histogram.add(500_000_000, 100)

    stats = histogram.stats()

    assert (stats.buckets, stats.sum_seconds, stats.count) == (((1.0, 100),), 50.0, 100)


def test_new_histogram_has_all_its_buckets() -> None:
    """A series is there before its first value, as Prometheus wants it."""
    stats = Histogram(E2E_BOUNDS_NS).stats()

    assert len(stats.buckets) == len(E2E_BOUNDS_NS)
    assert {count for _, count in stats.buckets} == {stats.count} == {0}


@pytest.mark.parametrize("bounds", [SYNC_BOUNDS_NS, SETTLEMENT_BOUNDS_NS, E2E_BOUNDS_NS])
def test_bounds_rise(bounds: tuple[int, ...]) -> None:
    """Every bound is whole nanoseconds, above the one before."""
    assert list(bounds) == sorted(set(bounds))
    assert all(type(bound) is int and bound > 0 for bound in bounds)
