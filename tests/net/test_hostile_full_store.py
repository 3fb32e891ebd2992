"""Publishers into a store that is full: they wait, hear why, and keep nobody from making room."""

import select
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import nsqlite
from nsqlite.net import tcp_server
from tests.fakes.gated import GatedStorage, open_gated
from tests.interop.transcripts.wire import pub
from tests.net.rig import OK, Client, Rig, rigged


@attrs.frozen
class Full:
    """A listener on a node whose store is full, and the publisher that waits for room in it."""

    rig: Rig
    storage: GatedStorage
    client: Client
    published: int


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Full]:
    """A node at "commit" of 64 MiB, filled, whose settlements wait until they are let go."""
    clock = nsqlite.VirtualClock()
    node, storage = open_gated(tmp_path / "store", clock, "commit", max_store_bytes=64 << 20)
    storage.settle_gate.shut()
    with rigged(node, clock, uvloop=request.param) as rig:
        node.topic("t").channel("c")
        client = rig.connect()
        published = 0
        try:
            while not rig.server.door._is_waiting:
                client.send(pub("t", b"x" * 1_000_000))
                rig.until(lambda: has_answer(client) or rig.server.door._is_waiting)
                if has_answer(client):
                    assert client.frame() == OK
                    published += 1
            yield Full(rig, storage, client, published)
        finally:
            storage.settle_gate.open()


def has_answer(client: Client) -> bool:
    """Whether something can be read."""
    return bool(select.select([client.socket], [], [], 0)[0])


def test_full_store_refuses_when_no_room_is_made_and_serves_on(full: Full) -> None:
    """Who publishes into a full store waits, then hears why; consumers are served before and after."""
    rig, client = full.rig, full.client
    consumer = rig.subscriber("t", "c", rdy=1)
    first, _ = consumer.message()

    rig.advance(10)

    assert client.frame()[1].startswith(b"E_PUB_FAILED PUB failed ")
    client.rest()
    full.storage.settle_gate.open()
    consumer.send(b"FIN " + first + b"\n")
    for _ in range(full.published - 1):
        message_id, _ = consumer.message()
        consumer.send(b"FIN " + message_id + b"\n")
    channel = rig.node.topic("t").channel("c")
    rig.until(lambda: channel.depth + channel.in_flight_count == 0)


def test_publisher_goes_on_when_room_is_made(full: Full) -> None:
    """What waited for room is published as if nothing had been; so is what came behind it."""
    full.client.send(pub("t", b"after"))
    full.rig.node.topic("t").channel("c").empty()

    full.storage.settle_gate.open()

    assert [full.client.frame(), full.client.frame()] == [OK, OK]
    assert full.rig.node.topic("t").channel("c").depth == 2


def test_listener_that_closes_on_who_waits_for_room_does_not_wait_for_it(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that is stuck in a full store is given up, and its message is whole or nowhere."""
    monkeypatch.setattr(tcp_server, "DRAIN_SECONDS", 0.1)
    full.rig.listener.close()

    full.client.rest()

    assert full.rig.node.topic("t").channel("c").depth == full.published
