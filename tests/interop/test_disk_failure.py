"""Check 141: what a real nsqd says when its disk fails. tests/net/http_api has the same of a node."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.interop.differential.side import Side
from tests.interop.differential.stream import Http
from tests.interop.servers import nsqd, until
from tests.interop.transcripts.http_steps import Request
from tests.interop.transcripts.wire import pub

PUB = Http(Request("POST", "/pub?topic=t", b"x"))
PING = Http.get("/ping")


def test_disk_that_fails_makes_nsqd_unhealthy(tmp_path: Path) -> None:
    """Publishing is 503 EXITING and E_PUB_FAILED, /ping says why; a write that goes well makes it well again."""
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    with nsqd(data_path=str(folder), mem_queue_size=1) as server:
        side = Side(server)
        until(lambda: side.ask(PUB).status == 200, "the first message is in memory")
        folder.rename(elsewhere)
        refused = side.ask(PUB)
        sick = side.ask(PING)
        with socket.create_connection((server.host, server.port), timeout=10) as client:
            client.sendall(b"  V2" + pub("t", b"x"))
            told = client.recv(1000)
        elsewhere.rename(folder)
        again = side.ask(PUB)
        well = side.ask(PING)
        side.close()

    assert (refused.status, refused.body) == (503, b'{"message":"EXITING"}')
    assert (sick.status, sick.body[:6]) == (500, b"NOK - ")
    assert told[8:].startswith(b"E_PUB_FAILED PUB failed ")
    assert (again.status, well.status, well.body) == (200, 200, b"OK")
