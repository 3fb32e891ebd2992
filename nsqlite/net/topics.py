"""Topics by name, for clients of a listener: made when they are not there."""

from __future__ import annotations

from nsqlite.core.topic import Topic
from nsqlite.door import Door
from nsqlite.engine import Engine
from nsqlite.errors import StorageFailedError, StoreFullError
from nsqlite.ops import MakeTopic


class Topics:
    """All topics of a node, as one listener sees them."""

    def __init__(self, engine: Engine, door: Door) -> None:
        self._engine = engine
        self._door = door

    async def get(self, name: str) -> Topic:
        """Get a topic, or make it: there at once, and journaled ahead of the next promise.

        Raises:
            StoreError, NodeClosedError, NodeFailedError: It was not made.
        """
        try:
            topic: Topic = self._engine.run_now(MakeTopic(name))
        except (StoreFullError, StorageFailedError):
            topic = await self._door.run(lambda: MakeTopic(name))
        return topic
