"""Giving memory back, where the C library can."""

from types import SimpleNamespace

from nsqlite.storage.allocator import find_trim


class _Trim:
    """Stands for the C library's function: notes what it is called with."""

    def __init__(self) -> None:
        self.pads: list[int] = []

    def __call__(self, pad: int) -> int:
        self.pads.append(pad)
        return 1


def test_trim_asks_for_all_that_can_be_given() -> None:
    """The library is asked to keep nothing back."""
    trim = _Trim()

    find_trim(SimpleNamespace(malloc_trim=trim))()

    assert trim.pads == [0]


def test_trim_does_nothing_without_such_a_function() -> None:
    """A C library that cannot give memory back is left alone."""
    give_back = find_trim(SimpleNamespace())

    assert give_back() is None


def test_trim_works_with_this_machines_library() -> None:
    """What the process runs on can be asked without harm."""
    assert find_trim()() is None
