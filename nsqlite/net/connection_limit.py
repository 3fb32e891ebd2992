"""How many connections a server takes, and saying so when there are more."""

from __future__ import annotations

import logging
from typing import Final

log: Final = logging.getLogger("nsqlite")


class ConnectionLimit:
    """The limit of one server."""

    def __init__(self, limit: int, option: str = "max_connections", what: str = "connections") -> None:
        """Prepare it.

        Args:
            limit: Connections open at once, 0 for any number.
            option: What sets it, for the log.
            what: What is refused, for the log.
        """
        self._limit = limit
        self._told = f"refusing {what}: {option}=%d are open"
        self._is_told = False

    def has_room(self, open_count: int) -> bool:
        """Whether one more may stay. The first that may not is a line in the log."""
        if not self._limit or open_count < self._limit:
            return True
        if not self._is_told:
            self._is_told = True
            log.warning(self._told, self._limit, extra={"event": "full"})
        return False

    def left(self, open_count: int) -> None:
        """One has gone, and so many are open still."""
        if 2 * open_count <= self._limit:
            self._is_told = False  # not before: many who come and go at the limit are one line
