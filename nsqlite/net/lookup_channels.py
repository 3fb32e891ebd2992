"""Channels that a new topic has elsewhere, made here before its first message goes anywhere.

nsqlookupds are asked over HTTP, all at once, and what any of them knows is made, in one turn, so
that each channel gets what already waits in the topic. Ephemeral ones are not: they come with
their consumers. When nobody can be asked, that is logged, and the topic goes without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from nsqlite.core.topic import Topic
from nsqlite.door import Door
from nsqlite.errors import ClosedError, NodeFailedError, StoreError, TopicDeletedError
from nsqlite.names import is_ephemeral, is_valid_name
from nsqlite.net.http_client import HttpClient, HttpRefusedError
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol import go_json
from nsqlite.ops import MakeChannels

if TYPE_CHECKING:
    from nsqlite.net.lookup import LookupPeers
    from nsqlite.net.lookup_peer import Registry

MAX_CHANNELS: Final = 1000
log: Final = logging.getLogger("nsqlite")


class Precreation:
    """One attempt for each topic that was made at run time, whoever made it."""

    def __init__(self, peers: LookupPeers, door: Door, options: ListenerOptions) -> None:
        """Prepare it.

        Raises:
            InvalidOptionError: aiohttp is not installed, or `tls_root_ca_file` cannot be used.
        """
        self._peers = peers
        self._door = door
        self._client = HttpClient(options, "nsqlookupd_tcp_addresses")
        self._seen: set[int] = set()
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._is_nobody_told = False

    def start(self, registry: Registry) -> None:
        """Let be what is there already."""
        self._seen = {number for number, _ in registry.values()}

    async def close(self) -> None:
        """End the attempts. Twice is fine."""
        for task in self._attempts.values():
            task.cancel()
        while self._attempts:
            await asyncio.wait(self._attempts.values())
        await self._client.close()

    def look(self, registry: Registry) -> None:
        """Begin with topics that are new."""
        numbers = {number: name for name, (number, _) in registry.items()}
        for number in numbers.keys() - self._seen:
            topic = self._door.engine.broker.topics.get(numbers[number])
            if topic is not None and topic.number == number:
                self._begin(topic)
        self._seen &= numbers.keys()

    async def done(self, topic: Topic) -> None:
        """Return when the attempt for a topic has ended; begin it if there was none."""
        if topic.number not in self._seen:
            self._begin(topic)
        attempt = self._attempts.get(topic.number)
        if attempt is not None:
            await asyncio.wait([attempt])

    def _begin(self, topic: Topic) -> None:
        self._seen.add(topic.number)
        addresses = self._peers.identified
        if addresses:
            self._is_nobody_told = False
            task = self._door.loop.create_task(self._attempt(topic, addresses))
            self._attempts[topic.number] = task
            task.add_done_callback(lambda _: self._attempts.pop(topic.number))
        elif self._peers.addresses and not self._is_nobody_told:
            self._is_nobody_told = True  # until there is one: it may be thousands of topics
            log.warning(
                "no nsqlookupd is there yet to say which channels topic %s has elsewhere: it begins without",
                topic.name,
                extra={"event": "precreation_failed", "topic": topic.name},
            )

    async def _attempt(self, topic: Topic, addresses: tuple[str, ...]) -> None:
        answers = await asyncio.gather(*(self._ask(address, topic.name) for address in addresses))
        names = sorted({name for names in answers for name in names})
        if len(names) > MAX_CHANNELS:
            self._complain(topic, f"there are {len(names)} of them, and {MAX_CHANNELS} are made")
        try:
            if names:
                await self._door.run(lambda: MakeChannels(topic, names[:MAX_CHANNELS]))
        except TopicDeletedError:
            pass  # meanwhile
        except (StoreError, ClosedError, NodeFailedError) as error:
            self._complain(topic, str(error))

    async def _ask(self, address: str, topic: str) -> list[str]:
        """The channels that one nsqlookupd knows; none if it does not answer."""
        try:
            body = await self._client.get(f"http://{address}/channels?topic={quote_plus(topic)}")
            found = go_json.read_fields(go_json.decode(body), {"channels": _names})
        except (HttpRefusedError, ValueError) as error:
            log.warning(
                "asking nsqlookupd %s for the channels of topic %s failed: %s",
                address,
                topic,
                error,
                extra={"event": "precreation_failed", "topic": topic, "address": address},
            )
            return []
        return [name for name in found.get("channels", []) if is_valid_name(name) and not is_ephemeral(name)]

    def _complain(self, topic: Topic, why: str) -> None:
        log.warning(
            "making the channels that topic %s has elsewhere: %s",
            topic.name,
            why,
            extra={"event": "precreation_failed", "topic": topic.name},
        )


def _names(value: go_json.Value) -> Iterable[str]:
    if not isinstance(value, list):
        raise go_json.JsonError("not a list")
    return [go_json.text(each) for each in value]
