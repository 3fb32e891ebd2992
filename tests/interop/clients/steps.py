"""What the tests of this folder are told in: the clients, steps of a producer, and waiting for a server."""

from __future__ import annotations

from typing import Any, Final

import attrs

from tests.interop.servers import AuthServer, Server, until

CLIENTS: Final = ("pynsq", "ansq", "nsqjs", "gonsq")
# ansq 0.3.0 raises NotImplementedError for TLS, snappy and deflate; it has no backoff either.
UPGRADING: Final = ("pynsq", "nsqjs", "gonsq")
BACKING_OFF: Final = UPGRADING
CLOCK_SECONDS: Final = 0.005  # what two readings of the wall clock may differ by


@attrs.frozen
class Guarded:
    """A server that lets in whom its auth server knows."""

    server: Server
    auth: AuthServer


def hexed(*bodies: bytes) -> list[str]:
    """Bodies as the programs take and give them."""
    return [body.hex() for body in bodies]


def pub(body: bytes) -> dict[str, Any]:
    """A step of a producer."""
    return {"do": "pub", "bodies": hexed(body)}


def mpub(*bodies: bytes) -> dict[str, Any]:
    """A step of a producer."""
    return {"do": "mpub", "bodies": hexed(*bodies)}


def dpub(body: bytes, ms: int) -> dict[str, Any]:
    """A step of a producer."""
    return {"do": "dpub", "bodies": hexed(body), "ms": ms}


def subscribed(server: Server, topic: str, channel: str = "ch", count: int = 1) -> None:
    """Return when so many consumers have subscribed."""
    until(lambda: server.channel(topic, channel).get("client_count") == count, f"{count} consumers on {topic}")


def settled(server: Server, topic: str, count: int, channel: str = "ch") -> dict[str, Any]:
    """The channel's statistics, once it had so many messages, nothing waits and nothing is in flight."""

    def nothing_left() -> dict[str, Any] | None:
        got = server.channel(topic, channel)
        left = [got.get(name) for name in ("message_count", "depth", "in_flight_count", "deferred_count")]
        return got if left == [count, 0, 0, 0] else None

    return dict(until(nothing_left, f"{count} messages on {topic}, all finished"))
