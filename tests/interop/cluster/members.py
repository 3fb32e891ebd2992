"""Clusters: nsqds and nodes in processes of their own, registered at one nsqlookupd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from tests.interop.cluster.talking import ask
from tests.interop.servers import DAEMONS, LOOKUPDS, Lookupd, Server, until


@attrs.frozen
class Cluster:
    """Members, and where they are found.

    Attributes:
        lookupd: Where all have registered.
        members: In the order in which they were asked for.
    """

    lookupd: Lookupd
    members: Sequence[Server]

    def ports(self) -> set[int]:
        """Where all members are."""
        return {each.port for each in self.members}

    def settled(self, topic: str, channel: str, count: int) -> None:
        """Return when so many messages have gone through a channel, all members together, and none is left."""

        def is_so() -> bool:
            figures = [each.channel(topic, channel) for each in self.members]
            names = ("message_count", "depth", "in_flight_count", "deferred_count")
            return [sum(each.get(name, 0) for each in figures) for name in names] == [count, 0, 0, 0]

        until(is_so, f"{count} messages on {topic}/{channel}, all finished")


def found(lookupd: Lookupd, topic: str, ports: set[int], channels: set[str] | None = None) -> None:
    """Return when a topic is found at exactly these ports; with exactly these channels."""
    seen: list[Any] = []

    def is_so() -> bool:
        answer = ask(lookupd.http_address, f"/lookup?topic={topic}")
        seen[:] = [answer.body]
        if answer.status != 200 or {each["tcp_port"] for each in answer.json["producers"]} != ports:
            return False
        return channels is None or set(answer.json["channels"]) == channels

    try:
        until(is_so, f"{topic} at {ports} with {channels}")
    except TimeoutError as error:
        error.add_note(f"last answer: {seen}")
        raise


def registered(lookupd: Lookupd, ports: set[int]) -> None:
    """Return when exactly these members are there."""

    def is_so() -> bool:
        return {each["tcp_port"] for each in lookupd.ask("/nodes")["producers"]} == ports

    until(is_so, f"members at {ports}")


@contextmanager
def cluster(lookupd: str, *kinds: str, lookupd_options: dict[str, Any] | None = None) -> Iterator[Cluster]:
    """A cluster around the "real" nsqlookupd or "ours", with a member of each kind, "node" or "nsqd"."""
    with ExitStack() as stack:
        where = stack.enter_context(LOOKUPDS[lookupd](**lookupd_options or {}))
        addresses = (where.tcp_address,)
        members = [stack.enter_context(DAEMONS[kind](nsqlookupd_tcp_addresses=addresses)) for kind in kinds]
        made = Cluster(where, members)
        registered(where, made.ports())
        yield made
