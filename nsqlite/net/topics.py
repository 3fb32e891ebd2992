"""Topics by name, for clients of a listener: made when they are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsqlite.core.topic import Topic
from nsqlite.door import Door
from nsqlite.engine import Engine
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.ops import MakeTopic

if TYPE_CHECKING:
    from nsqlite.net.lookup import LookupPeers


class Topics:
    """All topics of a node, as one listener sees them.

    Attributes:
        lookup: Who knows which channels a new topic has elsewhere; None if nobody does.
    """

    def __init__(self, engine: Engine, door: Door) -> None:
        self._engine = engine
        self._door = door
        self.lookup: LookupPeers | None = None

    async def get(self, name: str) -> Topic:
        """Get a topic, or make it: there at once, and journaled ahead of the next promise.

        A new one has by then the channels that nsqlookupds know for it. Whoever asks meanwhile
        waits for the same attempt.

        Raises:
            StoreError, NodeClosedError, NodeFailedError: It was not made.
        """
        try:
            topic: Topic = self._engine.run_now(MakeTopic(name))
        except (StoreFullError, StorageFailedError):
            topic = await self._door.run(lambda: MakeTopic(name))
        if self.lookup is not None:
            await self.lookup.precreated(topic)
        return topic
