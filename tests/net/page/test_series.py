"""The last values of what matters most, in bounded memory."""

from nsqlite.net.page.series import DEPTH, IN, OUT, POINTS, Series, Shelf, binned, rates
from nsqlite.options import SECOND_NS


def test_series_keeps_the_last_values() -> None:
    """One more than it holds pushes the oldest out, of every kind."""
    series = Series()

    for number in range(POINTS + 2):
        series.add(number, 10 * number, 100 * number)

    assert len(series) == POINTS
    assert series.of(DEPTH) == list(range(2, POINTS + 2))
    assert series.of(IN)[0] == 20
    assert series.last(OUT) == 100 * (POINTS + 1)


def test_series_without_values_ends_in_zero() -> None:
    """What began now has nothing behind it."""
    assert Series().last(IN) == 0
    assert Series().of(DEPTH) == []


def test_shelf_forgets_what_is_gone() -> None:
    """A deleted topic's place is free again."""
    shelf = Shelf(2)
    shelf.note(1, 5, 5, 5, 0)
    shelf.note(2, 5, 5, 5, 0)
    shelf.pinned = {1, 2}

    shelf.settle({2})

    assert set(shelf.series) == {2}
    assert shelf.pinned == {2}


def test_shelf_gives_places_to_who_needs_them_more() -> None:
    """Clearly more, that is: whoever is a little deeper waits."""
    shelf = Shelf(2)
    for number, weight in [(1, 10), (2, 100), (3, 20), (4, 21)]:
        shelf.note(number, weight, weight, 0, 0)

    shelf.settle({1, 2, 3, 4})

    assert set(shelf.series) == {2, 4}


def test_shelf_keeps_what_is_looked_at() -> None:
    """However idle it is; and takes it in, however busy the others are."""
    shelf = Shelf(2)
    shelf.pinned = {1, 4}
    for number, weight in [(1, 0), (2, 100), (3, 1000), (4, 0)]:
        shelf.note(number, weight, weight, 0, 0)

    shelf.settle({1, 2, 3, 4})

    assert set(shelf.series) == {1, 4}


def test_shelf_never_passes_its_limit() -> None:
    """A hundred thousand channels cost no more than its places."""
    shelf = Shelf(10)

    for _ in range(3):
        for number in range(1000):
            shelf.note(number, number, number, number, 0)
        shelf.settle(range(1000))

    assert len(shelf.series) == 10
    assert min(shelf.series) > 0


def test_rates_are_increases_a_second() -> None:
    """One less than the samples, by the time between them."""
    times_ns = [0, 2 * SECOND_NS, 6 * SECOND_NS]

    assert rates([5, 9, 9], times_ns) == [2.0, 0.0]
    assert rates([5], times_ns[:1]) == []


def test_rates_never_fall_below_zero() -> None:
    """The finishes of a topic fall when one of its channels is deleted."""
    assert rates([50, 10, 12], [0, SECOND_NS, 2 * SECOND_NS]) == [0.0, 2.0]


def test_bins_have_the_largest_of_their_values() -> None:
    """The last values belong to the last samples; bins without any have none."""
    assert binned([7, 3, 9], [0, 1, 1, 3], 4) == [None, 7, None, 9]
    assert binned([], [], 2) == [None, None]
