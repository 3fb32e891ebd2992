"""What `nsq()`, `nsqd()` and `nsq_cluster()` return: to be used with `with`, which they say to who does not."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar


class Checked(Protocol):
    """What is checked at the end of a block, and closed."""

    def check(self) -> None:
        """Check every invariant."""

    def close(self) -> None:
        """End it."""


T = TypeVar("T", bound=Checked)


class Block(Generic[T]):
    """Makes a subject when its block begins; checks it when that ends well, and closes it."""

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._name = name
        self._make = make
        self._made: list[T] = []

    def __enter__(self) -> T:
        made = self._make()
        self._made.append(made)
        return made

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        made = self._made.pop()
        try:
            if kind is None:
                made.check()
        finally:
            made.close()

    def __getattr__(self, name: str) -> Any:
        told = f"{self._name}() has no attribute {name!r}: use it with `with {self._name}() as it:`, then it.{name}"
        raise AttributeError(told)
