"""What an auth server's answer lets a client do.

Pure: the caller fetches the answer and knows the time.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.re2 import compile_re2

SECOND_NS: Final = 1_000_000_000
SUBSCRIBE: Final = "subscribe"
PUBLISH: Final = "publish"
KNOWN: Final = frozenset({SUBSCRIBE, PUBLISH})


@attrs.frozen
class Authorization:
    """What is allowed for the topics and channels that match.

    Attributes:
        topic: Searched for in the topic's name, not matched against the whole of it.
        channels: The same for the channel's; one of them is enough. None at all allows nothing.
        permissions: Of "subscribe" and "publish".
    """

    topic: re.Pattern[str]
    channels: tuple[re.Pattern[str], ...]
    permissions: frozenset[str]

    def is_allowed(self, permission: str, topic: str, channel: str) -> bool:
        """Whether this alone allows it."""
        return (
            permission in self.permissions
            and self.topic.search(topic) is not None
            and any(each.search(channel) is not None for each in self.channels)
        )


@attrs.frozen
class Permissions:
    """One client's, until they expire.

    Attributes:
        identity: Who the auth server says it is.
        identity_url: A page about that.
        authorizations: Any one of them is enough.
        expires_ns: When the server must be asked again, on the clock that parsing was told of.
    """

    identity: str
    identity_url: str
    authorizations: tuple[Authorization, ...]
    expires_ns: int

    def is_allowed(self, permission: str, topic: str, channel: str) -> bool:
        """Whether a client may "subscribe" or "publish"; to publish, the channel is "" and must match, too."""
        return any(each.is_allowed(permission, topic, channel) for each in self.authorizations)

    def is_expired(self, now_ns: int) -> bool:
        """Whether the server must be asked again."""
        return now_ns >= self.expires_ns

    def reply(self) -> bytes:
        """The data of the answer to AUTH."""
        return go_json.encode(
            {
                "identity": self.identity,
                "identity_url": self.identity_url,
                "permission_count": len(self.authorizations),
            }
        )


def parse_permissions(body: bytes, now_ns: int) -> Permissions:
    """Read an auth server's answer: all of it is right, or none of it counts.

    No authorization at all is an answer, too.

    Raises:
        ValueError: With the reason: no JSON of that shape, a ttl that is not above 0, a
            permission nobody knows, an expression that does not compile.
    """
    fields = go_json.read_fields(go_json.decode(body), _ANSWER)
    ttl = fields.get("ttl", 0)
    if ttl <= 0:
        raise ValueError(f"ttl {ttl} is not above 0")
    return Permissions(
        fields.get("identity", ""),
        fields.get("identity_url", ""),
        tuple(fields.get("authorizations", ())),
        now_ns + ttl * SECOND_NS,
    )


def _authorization(value: go_json.Value) -> Authorization:
    fields = go_json.read_fields(value, _AUTHORIZATION)
    permissions = frozenset(fields.get("permissions", ()))
    if unknown := permissions - KNOWN:
        raise ValueError(f"unknown permission {min(unknown)!r}")
    return Authorization(
        compile_re2(fields.get("topic", "")), tuple(map(compile_re2, fields.get("channels", ()))), permissions
    )


def _several(read: go_json.Reader) -> go_json.Reader:
    def reader(value: go_json.Value) -> list[Any]:
        if not isinstance(value, list):
            raise go_json.JsonError("not an array")
        return [read(each) for each in value]

    return reader


_AUTHORIZATION: Final[dict[str, go_json.Reader]] = {
    "topic": go_json.text,
    "channels": _several(go_json.text),
    "permissions": _several(go_json.text),
}
_ANSWER: Final[dict[str, go_json.Reader]] = {
    "ttl": go_json.int64,
    "identity": go_json.text,
    "identity_url": go_json.text,
    "authorizations": _several(_authorization),
}
