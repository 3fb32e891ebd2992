"""What the log hears of publishers that find no room: clients are told so, and who runs the node must be, too."""

from __future__ import annotations

import logging
from typing import Final

from nsqlite.clock import Clock
from nsqlite.errors import StoreFullError
from nsqlite.net.seldom import Seldom

log: Final = logging.getLogger("nsqlite")


class Fullness:
    """Tells it, for all clients of a listener together, once a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned = Seldom()

    def tell(self, error: BaseException) -> None:
        """Look at why something was refused."""
        if isinstance(error, StoreFullError) and self._warned.may(self._clock.monotonic_ns()):
            told = "the store is full: %s; finishing, emptying or a larger max_store_bytes makes room"
            log.warning(told, error.why, extra={"event": "store_full"})
