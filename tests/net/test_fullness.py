"""Tests of what the log hears of a full store, from each side that meets it."""

from __future__ import annotations

import logging

import pytest

import nsqlite
from nsqlite.errors import NodeClosedError, StoreFullError
from nsqlite.net.fullness import Fullness
from tests.interop.transcripts.wire import pub
from tests.net.raw_http import http
from tests.net.rig import rigged

LOCAL = "127.0.0.1:0"
LIMIT = 4 << 20  # the least there is
TOLD = f"the store is full: max_store_bytes={LIMIT}; finishing, emptying or a larger max_store_bytes makes room"


def test_full_store_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However many are refused, and nothing else is told here."""
    clock = nsqlite.VirtualClock()
    fullness = Fullness(clock)

    with caplog.at_level(logging.WARNING, "nsqlite"):
        for _ in range(3):
            fullness.tell(NodeClosedError())
            fullness.tell(StoreFullError(f"max_store_bytes={LIMIT}", 1))
        clock.advance(59)
        fullness.tell(StoreFullError(f"max_store_bytes={LIMIT}"))
        clock.advance(1)
        fullness.tell(StoreFullError("no room", 1))

    assert [each.getMessage() for each in caplog.records] == [TOLD, TOLD.replace(f"max_store_bytes={LIMIT}", "no room")]
    assert {each.event for each in caplog.records} == {"store_full"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["PUB", "MPUB", "/pub", "/mpub"])
def test_refused_publish_is_told(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever it came from; the metric says so until there is room."""
    clock = nsqlite.VirtualClock()
    with rigged(nsqlite.open(clock=clock, max_store_bytes=LIMIT), clock, http_address=LOCAL) as rig:
        topic = rig.node.topic("t")
        channel = topic.channel("c")
        topic.publish_many([b"x" * 900_000] * 4)
        client = rig.connect()
        web = http(rig)
        body = b"y" * 900_000
        assert b"nsqlite_store_full 0.0" in web.get("/metrics").body
        if how == "PUB":
            assert client.ask(pub("t", body))[1].startswith(b"E_PUB_FAILED")
        elif how == "MPUB":
            batch = b"\x00\x00\x00\x01" + len(body).to_bytes(4, "big") + body
            refused = client.ask(b"MPUB t\n" + len(batch).to_bytes(4, "big") + batch)
            assert refused[1].startswith(b"E_MPUB_FAILED")
        else:
            assert web.post(f"{how}?topic=t", body).code == "EXITING"

        assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [TOLD]
        assert b"nsqlite_store_full 1.0" in web.get("/metrics").body

        channel.empty()
        topic.publish(body)

        assert b"nsqlite_store_full 0.0" in web.get("/metrics").body
        rig.lines.clear()
