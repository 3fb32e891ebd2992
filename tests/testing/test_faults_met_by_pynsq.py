"""Every fault, as the official client of NSQ meets it, which knows nothing of tests."""

import asyncio
from collections.abc import Callable

import nsq
import pytest

from nsqlite.testing import Clock, Cluster, Nsqd
from tests.testing.pynsq_client import Telling, reading, writing

READY, CLOSED, HEARTBEAT = ("ready", None), ("closed", None), ("heartbeat", None)


def message(body: bytes, attempts: int = 1) -> tuple[str, tuple[bytes, int]]:
    """What a reader tells of a message."""
    return "message", (body, attempts)


async def until(client: Telling, *wanted: tuple[str, object]) -> list[tuple[str, object]]:
    """All that it tells until it has told these, in this order."""
    told: list[tuple[str, object]] = []
    left = list(wanted)
    while left:
        told.append(await client.hear())
        if told[-1] == left[0]:
            left.pop(0)
    return told


# -- publishing ----------------------------------------------------------------------------


async def test_error_frame(nsqd: Nsqd) -> None:
    """A publish that is refused is told so; the connection is closed, and the next one goes well."""
    async with writing(nsqd.tcp_address) as writer:
        nsqd.fail_next("PUB", code="E_PUB_FAILED", message="no")

        answer = await writer.publish("orders", b"7")

        assert isinstance(answer, nsq.Error)
        assert "E_PUB_FAILED no" in str(answer)
        await until(writer, CLOSED, READY)
        assert await writer.publish("orders", b"7") == b"OK"
    nsqd.assert_published("orders", count=1)


@pytest.mark.parametrize("is_half", [True, False])
async def test_lost_answer(nsqd: Nsqd, is_half: bool) -> None:
    """Whose answer is lost, or comes by half, cannot know that it was published: who repeats it has it twice."""
    async with writing(nsqd.tcp_address) as writer:
        (nsqd.half_send_next if is_half else nsqd.drop_next)("PUB")

        assert isinstance(await writer.publish("orders", b"7"), nsq.Error)

        await until(writer, CLOSED, READY)
        assert await writer.publish("orders", b"7") == b"OK"
    nsqd.assert_published("orders", body=b"7", count=2)


async def test_lost_command(nsqd: Nsqd) -> None:
    """A command that never arrived looks the same to the client."""
    async with writing(nsqd.tcp_address) as writer:
        nsqd.drop_next("PUB", is_carried_out=False)

        assert isinstance(await writer.publish("orders", b"7"), nsq.Error)

    nsqd.assert_published("orders", count=0)


async def test_slow_answer(nsqd: Nsqd, nsq_clock: Clock) -> None:
    """An answer that takes ten seconds takes no time."""
    async with writing(nsqd.tcp_address) as writer:
        nsqd.delay_next("PUB", 10)
        told: list[object] = []
        writer.pub("orders", b"7", callback=lambda _, data: told.append(data))
        await asyncio.to_thread(nsqd.wait_for_faults)
        assert told == []

        nsq_clock.advance(10)

        await nsqd.await_for("orders")
        assert await writer.publish("orders", b"8") == b"OK"
        assert told == [b"OK"]


async def test_full_disk(nsqd: Nsqd) -> None:
    """On a full disk a publish is refused, and with room again it is not."""
    async with writing(nsqd.tcp_address) as writer:
        nsqd.fill_disk()
        assert "E_PUB_FAILED" in str(await writer.publish("orders", b"7"))
        await until(writer, CLOSED, READY)

        nsqd.free_disk()

        assert await writer.publish("orders", b"7") == b"OK"


async def test_dropped_connections(nsqd: Nsqd) -> None:
    """A writer that is cut off connects again."""
    async with writing(nsqd.tcp_address) as writer:
        nsqd.drop_connections()

        await until(writer, CLOSED, READY)
        assert await writer.publish("orders", b"7") == b"OK"


async def test_crash_and_restart(nsqd: Nsqd) -> None:
    """A writer finds an nsqd that was killed at its address again, and what it had published is there."""
    async with writing(nsqd.tcp_address) as writer:
        assert await writer.publish("orders", b"before") == b"OK"

        nsqd.crash_and_restart()

        await until(writer, CLOSED, READY)
        assert await writer.publish("orders", b"after") == b"OK"
    async with reading(nsqd.tcp_address) as reader:
        await until(reader, READY, message(b"before"), message(b"after"))


# -- consuming -----------------------------------------------------------------------------


async def test_refused_subscription(nsqd: Nsqd) -> None:
    """A reader that may not subscribe is told so and closed."""
    nsqd.fail_next("SUB", code="E_SUB_FAILED")

    async with reading(nsqd.tcp_address) as reader:
        told = await until(reader, CLOSED)

    assert any(kind == "error" and "E_SUB_FAILED" in str(what) for kind, what in told)


async def test_refused_answer(nsqd: Nsqd) -> None:
    """A FIN that is refused does not end the connection; its message comes again when its time is over."""
    nsqd.fail_next("FIN")
    nsqd.publish("orders", b"7")

    async with reading(nsqd.tcp_address) as reader:
        told = await until(reader, READY, message(b"7"))
        kind, what = await reader.hear()
        assert (kind, "E_FIN_FAILED" in str(what)) == ("error", True)

        nsqd.time_out("orders", "billing")

        assert await reader.hear() == message(b"7", 2)
        await nsqd.await_for("orders", "billing", "finished")
        assert CLOSED not in told


@pytest.mark.parametrize("is_half", [True, False])
async def test_lost_message(nsqd: Nsqd, is_half: bool) -> None:
    """A message of which half arrives, or nothing, is no message: the connection ends, and it comes again."""
    (nsqd.half_send_next if is_half else nsqd.drop_next)("MESSAGE")
    nsqd.publish("orders", b"7")
    async with reading(nsqd.tcp_address) as reader:
        told = await until(reader, CLOSED)
        assert message(b"7") not in told

    nsqd.time_out("orders", "billing")

    async with reading(nsqd.tcp_address) as reader:
        await until(reader, message(b"7", 2))


async def test_forced_timeout(nsqd: Nsqd) -> None:
    """A message that times out in a handler's hands comes again, and the handler's answer is too late."""
    nsqd.publish("orders", b"7")
    async with reading(nsqd.tcp_address, holds=True) as reader:
        await until(reader, message(b"7"))

        nsqd.time_out("orders", "billing")

        await until(reader, message(b"7", 2))
        first, second = reader.held
        second.finish()
        first.finish()
        kind, what = await reader.hear()
        assert (kind, "E_FIN_FAILED" in str(what)) == ("error", True)
    nsqd.assert_finished("orders", "billing", attempts=2, count=1)


async def test_duplicate_delivery(nsqd: Nsqd) -> None:
    """A message that was finished comes once more, as may happen with any at-least-once queue."""
    nsqd.duplicate_next("orders", "billing")
    nsqd.publish("orders", b"7")

    async with reading(nsqd.tcp_address) as reader:
        await until(reader, message(b"7"), message(b"7", 2))
        await nsqd.await_for("orders", "billing", "finished", count=2)

    nsqd.assert_empty()


async def test_lost_heartbeats(nsqd: Nsqd, nsq_clock: Clock) -> None:
    """Heartbeats come by the clock; without any, a reader finds its connection stale, and leaves."""
    async with reading(nsqd.tcp_address, heartbeat_interval=1) as reader:
        await until(reader, READY)
        nsq_clock.advance(1)
        assert await reader.hear() == HEARTBEAT

        nsqd.stop_heartbeats()
        for _ in range(5):
            nsq_clock.advance(1)
        (conn,) = reader.conns.values()
        conn.last_recv_timestamp -= 5  # pynsq looks at the machine's clock, every minute
        reader._check_last_recv_timestamps()

        assert HEARTBEAT not in await until(reader, CLOSED)


async def test_crash_under_a_reader(nsqd: Nsqd) -> None:
    """What a reader held when nsqd was killed goes to the next one."""
    nsqd.publish("orders", b"7")
    async with reading(nsqd.tcp_address, holds=True) as reader:
        await until(reader, message(b"7"))

        nsqd.crash_and_restart()

        await until(reader, CLOSED)
    async with reading(nsqd.tcp_address) as reader:
        await until(reader, message(b"7", 2))


# -- discovery -----------------------------------------------------------------------------


@pytest.mark.nsq(topics=["orders:billing"])
async def test_discovery(nsq_cluster: Callable[..., Cluster]) -> None:
    """A reader that asks the nsqlookupd finds all nodes, and is cut off from the one that stops."""
    cluster = nsq_cluster(nodes=2)
    cluster.wait_registered("orders", "billing")
    async with reading(lookupd=cluster.lookupd_http_address, max_in_flight=2) as reader:
        await until(reader, READY, READY)
        for number, each in enumerate(cluster.nodes):
            each.publish("orders", b"%d" % number)
            await until(reader, message(b"%d" % number))
        for each in cluster.nodes:
            await each.await_for("orders", "billing", "finished")

        await asyncio.to_thread(cluster.nodes[0].stop)
        await until(reader, CLOSED)

        assert [each.port for each in reader.conns.values()] == [cluster.nodes[1].tcp_address.port]
