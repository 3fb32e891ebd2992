"""What an auth server's answer allows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.permissions import Permissions, parse_permissions

NOW_NS = 5_000_000_000


def authorization(
    topic: str = ".*", channels: tuple[str, ...] = (".*",), permissions: tuple[str, ...] = ("subscribe", "publish")
) -> dict[str, Any]:
    """One entry of an answer."""
    return {"topic": topic, "channels": channels, "permissions": permissions}


def parse(*authorizations: object, **fields: object) -> Permissions:
    """Read an answer with these authorizations."""
    answer = {"ttl": 60, "authorizations": authorizations} | fields
    return parse_permissions(json.dumps(answer).encode(), NOW_NS)


def test_permissions_expire_after_their_ttl() -> None:
    """The ttl counts in seconds from when the answer came."""
    permissions = parse(ttl=2)

    assert permissions.expires_ns == NOW_NS + 2_000_000_000
    assert not permissions.is_expired(permissions.expires_ns - 1)
    assert permissions.is_expired(permissions.expires_ns)


def test_reply_tells_who_it_is() -> None:
    """The client is told its identity and how many authorizations it has."""
    permissions = parse(authorization(), authorization(), identity="b<b", identity_url="http://x")

    assert permissions.reply() == b'{"identity":"b\\u003cb","identity_url":"http://x","permission_count":2}'


@pytest.mark.parametrize("answer", [b'{"ttl":1}', b'{"TTL":1,"authorizations":null}', b'{"ttl":1,"authorizations":[]}'])
def test_answer_may_allow_nothing(answer: bytes) -> None:
    """No authorizations are an answer, which allows nothing."""
    permissions = parse_permissions(answer, 0)

    assert permissions.authorizations == ()
    assert not permissions.is_allowed("publish", "t", "")
    assert permissions.reply() == b'{"identity":"","identity_url":"","permission_count":0}'


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"ttl":0}',
        b'{"ttl":-1}',
        b'{"ttl":1.5}',
        b'{"ttl":"60"}',
        b'{"ttl":99999999999999999999}',
        b'{"ttl":1} x',
        b'{"ttl":1,"identity":1}',
        b'{"ttl":1,"authorizations":{}}',
        b'{"ttl":1,"authorizations":[null,1]}',
        b'{"ttl":1,"authorizations":[{"topic":1}]}',
        b'{"ttl":1,"authorizations":[{"channels":".*"}]}',
        b'{"ttl":1,"authorizations":[{"channels":[null]}]}',
        b'{"ttl":1,"authorizations":[{"permissions":["admin"]}]}',
        b'{"ttl":1,"authorizations":[{"permissions":["Publish"]}]}',
        b'{"ttl":1,"authorizations":[{"topic":"("}]}',
        b'{"ttl":1,"authorizations":[{"topic":"a","channels":["a","[b"]}]}',
    ],
)
def test_answer_with_a_fault_counts_for_nothing(answer: bytes) -> None:
    """One wrong value, permission or expression spoils the whole answer."""
    with pytest.raises(ValueError):
        parse_permissions(answer, 0)


@given(st.binary())
def test_answer_of_any_bytes_is_read_or_refused(answer: bytes) -> None:
    """Whatever an auth server sends, it is permissions or a ValueError."""
    try:
        parse_permissions(answer, 0)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "given_,permission,topic,channel,is_allowed",
    [
        (authorization(), "publish", "t", "", True),
        (authorization(permissions=("subscribe",)), "publish", "t", "", False),
        (authorization(permissions=("publish",)), "subscribe", "t", "c", False),
        (authorization(permissions=()), "subscribe", "t", "c", False),
        (authorization(topic="^t1$", channels=("^c1$",)), "subscribe", "t1", "c1", True),
        (authorization(topic="^t1$", channels=("^c1$",)), "subscribe", "t1", "c2", False),
        (authorization(topic="^t1$", channels=("^c1$",)), "subscribe", "t12", "c1", False),
        (authorization(channels=("^a$", "^b$")), "subscribe", "t", "b", True),
        (authorization(channels=("^c$",)), "publish", "t", "", False),
        (authorization(channels=()), "publish", "t", "", False),
        (authorization(topic=".*pub"), "publish", "unpublic", "", True),
    ],
)
def test_authorization_needs_permission_topic_and_channel(
    given_: dict[str, Any], permission: str, topic: str, channel: str, is_allowed: bool
) -> None:
    """All three must match, anywhere in the name; to publish, something must match the empty channel."""
    assert parse(given_).is_allowed(permission, topic, channel) == is_allowed


def test_one_authorization_is_enough_but_must_do_alone() -> None:
    """Rights are not pieced together from two authorizations."""
    permissions = parse(
        authorization(topic="^a$", permissions=("publish",)), authorization(topic="^b$", permissions=("subscribe",))
    )

    assert permissions.is_allowed("publish", "a", "")
    assert permissions.is_allowed("subscribe", "b", "c")
    assert not permissions.is_allowed("publish", "b", "")
    assert not permissions.is_allowed("subscribe", "a", "c")
