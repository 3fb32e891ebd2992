"""Tests of how many connections a server takes."""

from __future__ import annotations

import pytest

from nsqlite.net.connection_limit import ConnectionLimit


def test_limit_of_nought_takes_any_number() -> None:
    """There is always room."""
    assert ConnectionLimit(0).has_room(1_000_000)


def test_refusals_at_the_limit_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, with the option, and again only when half of the connections have gone meanwhile."""
    limit = ConnectionLimit(4, "max_http_connections", "HTTP connections")
    assert limit.has_room(3)

    refused = [limit.has_room(4), limit.has_room(4)]
    limit.left(3)
    refused.append(limit.has_room(4))

    assert refused == [False] * 3
    assert caplog.messages == ["refusing HTTP connections: max_http_connections=4 are open"]

    limit.left(2)

    assert not limit.has_room(4)
    assert len(caplog.messages) == 2
