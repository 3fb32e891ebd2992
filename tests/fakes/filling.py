"""Doing the same until the store is full."""

from collections.abc import Callable

from nsqlite.errors import StoreFullError


def fill(publish: Callable[[int], object]) -> tuple[int, StoreFullError]:
    """Call with 0, 1, 2, ... until it raises; return how often it did not, and the error."""
    for number in range(10_000):
        try:
            publish(number)
        except StoreFullError as error:
            return number, error
    raise AssertionError("the store never was full")
