"""Who takes messages from a channel and how many at once."""

from __future__ import annotations

from typing import Any

from nsqlite.core.held import Held
from nsqlite.stats import ClientStats


class Consumer:
    """One consumer's ceiling and counters.

    Attributes:
        rdy_count: Most messages it may hold in flight; a ceiling, not a credit.
        in_flight_count: Messages it holds.
        msg_timeout_ns: How long it may hold one.
        connect_ts: When it began, in seconds since the epoch.
        held: What it holds, by id; None for a consumer in the process, whose messages know their place.
        watcher: Woken when its channel goes or is emptied, or the node closes, whether it waits for a message or not.
    """

    __slots__ = (
        "client_id",
        "connect_ts",
        "finish_count",
        "held",
        "in_flight_count",
        "is_closed",
        "message_count",
        "msg_timeout_ns",
        "rdy_count",
        "requeue_count",
        "watcher",
    )

    def __init__(self, client_id: str, rdy_count: int, msg_timeout_ns: int, connect_ts: int = 0) -> None:
        self.client_id = client_id
        self.rdy_count = rdy_count
        self.msg_timeout_ns = msg_timeout_ns
        self.connect_ts = connect_ts
        self.held: Held | None = None
        self.watcher: Any = None
        self.is_closed = False
        self.in_flight_count = 0
        self.message_count = 0
        self.finish_count = 0
        self.requeue_count = 0

    @property
    def room(self) -> int:
        """How many more messages it may take."""
        return max(0, self.rdy_count - self.in_flight_count)

    def stats(self) -> ClientStats:
        """A frozen snapshot."""
        return ClientStats(
            client_id=self.client_id,
            ready_count=self.rdy_count,
            in_flight_count=self.in_flight_count,
            message_count=self.message_count,
            finish_count=self.finish_count,
            requeue_count=self.requeue_count,
            connect_ts=self.connect_ts,
        )
