"""A statsd on loopback hears of a node, on virtual time."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

import nsqlite
from nsqlite.clock import VirtualClock
from nsqlite.net.memory_stats import GcPauses
from nsqlite.net.options import ListenerOptions
from nsqlite.net.statsd import Statsd

ROUNDS = 20


class Receiver:
    """A statsd that only listens."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def datagrams(self) -> list[bytes]:
        """What has come since the last time: loopback delivers before sendto returns."""
        found = []
        try:
            while True:
                found.append(self._socket.recv(65536))
        except BlockingIOError:
            return found

    def lines(self) -> list[str]:
        """The same as lines."""
        return b"".join(self.datagrams()).decode().splitlines()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A statsd."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def clock() -> VirtualClock:
    """Time that the test moves."""
    return VirtualClock()


@pytest.fixture
def node(clock: VirtualClock) -> Iterator[nsqlite.Node]:
    """A node in memory."""
    with nsqlite.open(clock=clock) as made:
        yield made


def pushing(node: nsqlite.Node, address: str, **options: object) -> Statsd:
    """A Statsd with an interval of 10 s that has started."""
    wanted = {"statsd_interval": 10.0, "statsd_mem_stats": False, **options}
    made = Statsd(
        node.engine,
        ListenerOptions(statsd_address=address, **wanted),  # type: ignore[arg-type]
        "10.0.0.1:4151",
        GcPauses(),
    )
    made.start()
    return made


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    """Let time pass, and what it sets off be done."""
    for step in (0.0, seconds):
        clock.advance(step)
        for _ in range(ROUNDS):
            await asyncio.sleep(0)


async def test_push_comes_each_interval(node: nsqlite.Node, clock: VirtualClock, receiver: Receiver) -> None:
    """Not before the first has passed; then with increases, by the clock of the node."""
    node.topic("t").channel("c")
    node.publish("t", b"four")
    statsd = pushing(node, receiver.address)

    await pass_time(clock, 9.999)
    early = receiver.lines()
    await pass_time(clock, 0.001)
    await pass_time(clock, 9)
    first = receiver.lines()
    node.publish("t", b"x")
    await pass_time(clock, 1)
    await pass_time(clock, 9)
    second = receiver.lines()
    await statsd.close()

    assert early == []
    assert "nsq.10_0_0_1_4151.topic.t.message_count:1|c" in first
    assert "nsq.10_0_0_1_4151.topic.t.message_bytes:4|c" in first
    assert "nsq.10_0_0_1_4151.topic.t.channel.c.depth:1|g" in first
    assert "nsq.10_0_0_1_4151.topic.t.message_count:1|c" in second
    assert "nsq.10_0_0_1_4151.topic.t.channel.c.depth:2|g" in second


async def test_datagrams_are_spread_over_the_interval(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver
) -> None:
    """One at a time, the last of them a second before the next push at the latest."""
    for number in range(9):
        node.topic(f"topic-{number}")
    statsd = pushing(node, receiver.address, statsd_udp_packet_size=200)
    await pass_time(clock, 10)
    at_once = len(receiver.datagrams())
    counts = []
    for _ in range(9):
        await pass_time(clock, 1)
        counts.append(len(receiver.datagrams()))
    await statsd.close()

    assert at_once == 1
    assert counts == [1] * 8 + [0]


async def test_datagrams_are_no_larger_than_allowed(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver
) -> None:
    """And all of them end with a line."""
    for number in range(20):
        node.topic(f"topic-{number}").channel("c")
    statsd = pushing(node, receiver.address)

    await pass_time(clock, 10)
    await statsd.close()
    found = receiver.datagrams()

    assert max(map(len, found)) <= 508
    assert all(each.endswith(b"\n") for each in found)
    assert sum(each.count(b"\n") for each in found) == 20 * 12


async def test_memory_is_told_unless_it_is_not_wanted(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver
) -> None:
    """Its own nine lines; collections of garbage as their increase."""
    statsd = pushing(node, receiver.address, statsd_mem_stats=True, statsd_prefix="")

    await pass_time(clock, 10)
    await pass_time(clock, 9)
    lines = receiver.lines()
    await statsd.close()

    assert [line.partition(":")[0] for line in lines] == [
        "mem.heap_objects",
        "mem.heap_idle_bytes",
        "mem.heap_in_use_bytes",
        "mem.heap_released_bytes",
        "mem.gc_pause_usec_100",
        "mem.gc_pause_usec_99",
        "mem.gc_pause_usec_95",
        "mem.next_gc_bytes",
        "mem.gc_runs",
    ]


async def test_closing_sends_the_rest_at_once(node: nsqlite.Node, clock: VirtualClock, receiver: Receiver) -> None:
    """What was counted is told, and closing does not wait for its moments; closing twice is fine."""
    for number in range(9):
        node.topic(f"topic-{number}")
    statsd = pushing(node, receiver.address, statsd_udp_packet_size=1)
    await pass_time(clock, 10)

    await statsd.close()
    await statsd.close()

    assert len(receiver.lines()) == 9 * 4


async def test_unreachable_statsd_disturbs_nothing(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A port where nobody listens gets its datagrams all the same."""
    receiver.close()
    node.topic("t")
    statsd = pushing(node, receiver.address)

    with caplog.at_level(logging.WARNING, "nsqlite"):
        for _ in range(3):
            await pass_time(clock, 10)
        await statsd.close()

    assert caplog.records == []


async def test_failing_push_is_told_once(
    node: nsqlite.Node, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that is forbidden, here: one line until it goes well again, and it goes on trying."""
    statsd = pushing(node, "255.255.255.255:1")  # broadcasting is forbidden unless a socket asks for it
    node.topic("t")

    with caplog.at_level(logging.WARNING, "nsqlite"):
        for _ in range(3):
            await pass_time(clock, 10)
        await statsd.close()

    assert [record.event for record in caplog.records] == ["statsd_failed"]  # type: ignore[attr-defined]
    assert "nothing pushed to statsd at 255.255.255.255:1" in caplog.text


async def test_counts_of_a_closed_node_are_not_told(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, and nothing else happens."""
    statsd = pushing(node, receiver.address)
    node.close()

    with caplog.at_level(logging.WARNING, "nsqlite"):
        await pass_time(clock, 10)
        await statsd.close()

    assert receiver.datagrams() == []
    assert "nothing pushed" in caplog.text


async def test_names_of_hosts_are_looked_up(
    node: nsqlite.Node, clock: VirtualClock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the loop's way, at each push, so that a statsd may move."""
    asked = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    node.topic("t")
    statsd = pushing(node, receiver.address.replace("127.0.0.1", "statsd.example"))

    for _ in range(2):
        await pass_time(clock, 10)
    await statsd.close()

    assert asked == ["statsd.example"] * 2
    assert receiver.lines()[0].endswith("topic.t.message_count:0|c")
