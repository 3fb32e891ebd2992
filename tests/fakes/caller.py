"""One call in a thread of its own, whose outcome the test asks for later."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.fakes.clock import PATIENCE_SECONDS

T = TypeVar("T")


class Caller(Generic[T]):
    """A call that has begun; `outcome` ends with it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001  # handed to the test by `outcome`
            self._error = error

    def outcome(self) -> T | None:
        """What the call returned, or raise what it raised."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the call hangs"
        if self._error is not None:
            raise self._error
        return self._result
