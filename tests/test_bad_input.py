"""Bad input gets a clear error, and nothing is lost: every line of that promise."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsqlite
from nsqlite.errors import (
    ChannelDeletedError,
    ConsumerClosedError,
    DamagedRecordError,
    InvalidBodyError,
    InvalidDelayError,
    InvalidNameError,
    InvalidOptionError,
    MessageTooBigError,
    NetworkFilesystemError,
    NodeClosedError,
    StoreDamagedError,
    StoreFullError,
    StoreLockedError,
    StorePathError,
    StoreVersionError,
    TopicDeletedError,
)
from nsqlite.options import MIB
from nsqlite.storage import layout
from nsqlite.storage.on_lmdb import LmdbStore
from tests.fakes.caller import Caller
from tests.fakes.clock import AttendedClock
from tests.fakes.filling import fill

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ["memory", "commit", "fsync"]
HOLD = """\
import sys
import nsqlite
node = nsqlite.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def clock() -> AttendedClock:
    """Time that stands still."""
    return AttendedClock()


@pytest.fixture(params=LEVELS)
def node(request: pytest.FixtureRequest, tmp_path: Path, clock: AttendedClock) -> Iterator[nsqlite.Node]:
    """A node with one channel, and small limits."""
    path = None if request.param == "memory" else tmp_path / "store"
    options = nsqlite.Options(max_msg_size=10, max_batch_bytes=25)
    with nsqlite.open(path, durability=request.param, clock=clock, options=options) as made:
        made.topic("orders").channel("billing")
        yield made
        if made.engine.state.value == "open":
            made.check()


# -- bodies, names, delays -----------------------------------------------------------------


@pytest.mark.parametrize("body", ["text", 5, None, {"a": 1}, b"", bytearray(), "ä"])
def test_bad_body_publishes_nothing(node: nsqlite.Node, body: object) -> None:
    """Whichever way it is handed in, nothing of a bad body, or of its batch, is published."""
    topic = node.topic("orders")
    for publish in (
        lambda: topic.publish(body),
        lambda: topic.publish(body, delay=1),
        lambda: node.publish("orders", body),
        lambda: topic.publish_many([b"good", body]),
        lambda: node.publish_many("orders", [b"good", body]),
    ):
        with pytest.raises(InvalidBodyError):
            publish()

    [stats] = node.stats().topics
    assert (stats.message_count, stats.channels[0].depth) == (0, 0)


def test_str_body_is_told_to_be_encoded(node: nsqlite.Node) -> None:
    """The most common mistake gets the cure in the message."""
    with pytest.raises(InvalidBodyError, match=r"encode it first, for example body\.encode\(\)"):
        node.publish("orders", "text")


def test_body_too_large_is_refused_and_the_limit_taken(node: nsqlite.Node) -> None:
    """max_msg_size bytes go, one more does not, alone or in a batch."""
    node.publish("orders", b"x" * 10)

    for publish in (lambda: node.publish("orders", b"x" * 11), lambda: node.publish_many("orders", [b"a", b"x" * 11])):
        with pytest.raises(MessageTooBigError, match="max_msg_size"):
            publish()

    assert node.topic("orders").channel("billing").depth == 1


def test_batch_too_large_is_refused(node: nsqlite.Node) -> None:
    """max_batch_bytes bounds a publish_many, all or nothing."""
    with pytest.raises(MessageTooBigError, match="max_batch_bytes"):
        node.publish_many("orders", [b"x" * 10] * 3)

    assert node.topic("orders").channel("billing").depth == 0


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x"), memoryview(b"axb")[1:2]])
def test_bytes_like_bodies_are_taken(node: nsqlite.Node, body: object) -> None:
    """bytes, bytearray and memoryview arrive as bytes."""
    node.publish("orders", body)
    node.publish_many("orders", [body])

    messages = node.topic("orders").channel("billing").receive_many(2, timeout=0)

    assert [message.body for message in messages] == [b"x", b"x"]


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "ä", "#ephemeral", None, b"orders"])
def test_bad_name_makes_nothing(node: nsqlite.Node, name: object) -> None:
    """Names are checked wherever one is given, also where something is only looked for."""
    for use in (node.topic, node.delete_topic, lambda name: node.publish(name, b"x")):
        with pytest.raises(InvalidNameError):
            use(name)
    for use in (node.topic("orders").channel, node.topic("orders").delete_channel):
        with pytest.raises(InvalidNameError):
            use(name)

    assert node.topics == ["orders"]
    assert node.topic("orders").channels == ["billing"]


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, math.inf, "5", b"5", True])
def test_bad_delay_publishes_nothing(node: nsqlite.Node, delay: object) -> None:
    """A delay is finite, not negative, and a time."""
    for publish in (
        lambda: node.publish("orders", b"x", delay=delay),
        lambda: node.publish_many("orders", [b"x"], delay=delay),
        lambda: node.publish_many("orders", [], delay=delay),
    ):
        with pytest.raises(InvalidDelayError):
            publish()

    assert node.topic("orders").channel("billing").deferred_count == 0


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, "5"])
def test_bad_timeout_takes_nothing(node: nsqlite.Node, timeout: object) -> None:
    """A timeout is a time, even when nothing would be waited for."""
    channel = node.topic("orders").channel("billing")

    for receive in (lambda: channel.receive(timeout=timeout), lambda: channel.receive_many(2, timeout=timeout)):
        with pytest.raises(InvalidDelayError):
            receive()


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "5", None])
def test_bad_count_is_refused(node: nsqlite.Node, count: object) -> None:
    """How many to take, or to hold, is an int from 1."""
    channel = node.topic("orders").channel("billing")

    with pytest.raises(InvalidOptionError, match="int from 1"):
        channel.receive_many(count, timeout=0)
    with pytest.raises(InvalidOptionError, match="int from 1"):
        channel.consume(max_in_flight=count)


# -- what is closed or deleted -------------------------------------------------------------

NODE_CALLS: dict[str, Callable[[nsqlite.Node], object]] = {
    "topic": lambda node: node.topic("orders"),
    "new topic": lambda node: node.topic("new"),
    "topics": lambda node: node.topics,
    "publish": lambda node: node.publish("orders", b"x"),
    "publish_many": lambda node: node.publish_many("orders", [b"x"]),
    "delete_topic": lambda node: node.delete_topic("orders"),
    "stats": lambda node: node.stats(),
    "sync": lambda node: node.sync(),
    "check": lambda node: node.check(),
}
TOPIC_CALLS: dict[str, Callable[[nsqlite.Topic], object]] = {
    "publish": lambda topic: topic.publish(b"x"),
    "publish delayed": lambda topic: topic.publish(b"x", delay=1),
    "publish_many": lambda topic: topic.publish_many([b"x"]),
    "channel": lambda topic: topic.channel("billing"),
    "new channel": lambda topic: topic.channel("new"),
    "channels": lambda topic: topic.channels,
    "delete_channel": lambda topic: topic.delete_channel("billing"),
    "pause": lambda topic: topic.pause(),
    "unpause": lambda topic: topic.unpause(),
    "empty": lambda topic: topic.empty(),
    "depth": lambda topic: topic.depth,
}
CHANNEL_CALLS: dict[str, Callable[[nsqlite.Channel], object]] = {
    "receive": lambda channel: channel.receive(timeout=0),
    "receive_many": lambda channel: channel.receive_many(2, timeout=0),
    "consume": lambda channel: channel.consume(),
    "pause": lambda channel: channel.pause(),
    "unpause": lambda channel: channel.unpause(),
    "empty": lambda channel: channel.empty(),
    "depth": lambda channel: channel.depth,
    "in_flight_count": lambda channel: channel.in_flight_count,
    "deferred_count": lambda channel: channel.deferred_count,
}


def test_closed_node_refuses_every_call(node: nsqlite.Node) -> None:
    """Node, topic and channel say that the node is closed and that nothing happened; closing again is fine."""
    topic = node.topic("orders")
    channel = topic.channel("billing")
    node.close()
    node.close()

    calls = [
        *(lambda call=call: call(node) for call in NODE_CALLS.values()),
        *(lambda call=call: call(topic) for call in TOPIC_CALLS.values()),
        *(lambda call=call: call(channel) for call in CHANNEL_CALLS.values()),
    ]
    for call in calls:
        with pytest.raises(NodeClosedError, match="nothing was published"):
            call()


@pytest.mark.parametrize("name", TOPIC_CALLS)
def test_deleted_topic_refuses(node: nsqlite.Node, name: str) -> None:
    """A handle of a deleted topic raises, even when there is a new one of its name; the new one is untouched."""
    topic = node.topic("orders")
    node.delete_topic("orders")
    node.topic("orders").channel("billing")

    with pytest.raises(TopicDeletedError, match="'orders' was deleted"):
        TOPIC_CALLS[name](topic)

    assert node.topic("orders").channels == ["billing"]
    assert node.topic("orders").channel("billing").depth == 0


@pytest.mark.parametrize("name", CHANNEL_CALLS)
def test_deleted_channel_refuses(node: nsqlite.Node, name: str) -> None:
    """A handle of a deleted channel raises, whether it or its topic was deleted."""
    for delete in (lambda: node.topic("orders").delete_channel("billing"), lambda: node.delete_topic("orders")):
        channel = node.topic("orders").channel("billing")
        delete()
        node.topic("orders").channel("billing")

        with pytest.raises(ChannelDeletedError, match="'billing' of topic 'orders'"):
            CHANNEL_CALLS[name](channel)


def test_node_publish_makes_a_deleted_topic_anew(node: nsqlite.Node) -> None:
    """Publishing by name does not fail because the topic was deleted."""
    node.delete_topic("orders")

    node.publish("orders", b"x")

    assert node.topic("orders").depth == 1


@pytest.mark.parametrize("end", ["delete channel", "delete topic", "close"])
def test_blocked_receivers_are_told(node: nsqlite.Node, clock: AttendedClock, end: str) -> None:
    """Who sleeps in receive, receive_many or a consumer wakes with the reason, from another thread's call."""
    channel = node.topic("orders").channel("billing")
    consumer = channel.consume()
    waiting = [
        Caller(channel.receive),
        Caller(lambda: channel.receive_many(5, timeout=3600)),
        Caller(lambda: next(consumer)),
    ]
    for _ in waiting:
        clock.await_sleeper()

    if end == "close":
        node.close()
    elif end == "delete topic":
        node.delete_topic("orders")
    else:
        node.topic("orders").delete_channel("billing")

    told = NodeClosedError if end == "close" else ChannelDeletedError
    for caller in waiting[:2]:
        with pytest.raises(told):
            caller.outcome()
    with pytest.raises(StopIteration if end == "close" else ChannelDeletedError):
        waiting[2].outcome()


def test_closed_consumer_has_an_error_of_its_own() -> None:
    """The core tells a closed consumer from a closed node."""
    assert not issubclass(ConsumerClosedError, NodeClosedError)


# -- opening -------------------------------------------------------------------------------


def test_opening_a_file_is_refused(tmp_path: Path) -> None:
    """A path that is a file raises, and the file stays."""
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(StorePathError, match="it is a file; give the path of a folder"):
        nsqlite.open(tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == b"mine"


def test_opening_a_store_open_here_is_refused(tmp_path: Path) -> None:
    """A second opener in this process is refused, whatever name it uses; the first goes on."""
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with nsqlite.open(tmp_path / "store") as node:
        for name in ("store", "link"):
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
                nsqlite.open(tmp_path / name)

        node.publish("orders", b"x")

    with nsqlite.open(tmp_path / "link") as node:
        assert node.topic("orders").depth == 1


def test_opening_a_store_open_elsewhere_names_the_process(tmp_path: Path) -> None:
    """The pid of the process that has it is in the message; when that is killed the store opens."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as owner:
        assert owner.stdout.readline() == "open\n"

        with pytest.raises(StoreLockedError, match=f"open in process {owner.pid}") as caught:
            nsqlite.open(tmp_path / "store")
        owner.kill()

    assert caught.value.pid == owner.pid
    nsqlite.open(tmp_path / "store").close()


def test_opening_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A store of a later version is left as it is, and its lock is free."""
    path = tmp_path / "store"
    nsqlite.open(path).close()
    tables = LmdbStore(str(path / "lmdb"), str(path))
    with tables._env.begin(write=True) as txn:
        txn.put(b"format", (layout.FORMAT_VERSION + 1).to_bytes(8, "little"), db=tables._dbs[b"meta"])
    tables.close()

    for _ in range(2):
        with pytest.raises(StoreVersionError, match="install a newer nsqlite"):
            nsqlite.open(path)


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_opening_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    """A data.mdb cut short raises, and nothing more is cut."""
    path = tmp_path / "store"
    with nsqlite.open(path) as node:
        node.publish_many("orders", [b"x" * 1000] * 100)
    data = path / "lmdb" / "data.mdb"
    os.truncate(data, kept)

    with pytest.raises(StoreDamagedError):
        nsqlite.open(path)

    assert data.stat().st_size == kept


def test_flipped_bit_in_a_message_costs_its_row_alone(tmp_path: Path) -> None:
    """A damaged stretch is named once, health tells, and what lies behind it is delivered; it never loops."""
    path = tmp_path / "store"
    with nsqlite.open(path) as node:
        node.topic("orders").channel("billing")
        node.publish_many("orders", [b"%02d" % number + b"." * 30_000 for number in range(20)])
    data = path / "lmdb" / "data.mdb"
    content = data.read_bytes()
    assert content.count(b"07......") == 1
    data.write_bytes(content.replace(b"07......", b"07..:..."))

    found = []

    def drain(channel: nsqlite.Channel) -> None:
        while message := channel.receive(timeout=0):
            found.append(int(message.body[:2]))
            message.finish()

    with nsqlite.open(path) as node:
        channel = node.topic("orders").channel("billing")
        with pytest.raises(DamagedRecordError, match="topic 'orders'") as caught:
            drain(channel)
        told = node.health
        drain(channel)
        lost = range(caught.value.first_seq, caught.value.first_seq + caught.value.count)
        node.check()
        assert (channel.depth, channel.in_flight_count) == (0, 0)

    assert told.startswith("NOK - ")
    assert 7 in lost
    assert len(lost) <= 3
    assert found == [number for number in range(20) if number not in lost]


def test_network_filesystem_is_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks and syncs cannot be trusted the caller has to insist."""
    from nsqlite.storage import place  # its table of filesystems is what the test changes

    monkeypatch.setattr(place, "NETWORK_FILESYSTEMS", frozenset({place.filesystem_of(str(tmp_path))}))

    with pytest.raises(NetworkFilesystemError, match="allow_network_filesystem=True"):
        nsqlite.open(tmp_path / "store")
    assert not (tmp_path / "store").exists()

    nsqlite.open(tmp_path / "store", allow_network_filesystem=True).close()


@pytest.mark.parametrize(
    "path, durability", [(None, "fsync"), (None, "commit"), ("store", "memory"), ("store", "never"), ("store", 1)]
)
def test_level_that_does_not_fit_the_path_is_refused(tmp_path: Path, path: str | None, durability: str) -> None:
    """Memory has no path, the others need one; nothing is made."""
    with pytest.raises(InvalidOptionError, match="durability"):
        nsqlite.open(None if path is None else tmp_path / path, durability=durability)

    assert list(tmp_path.iterdir()) == []


def test_unknown_option_is_refused(tmp_path: Path) -> None:
    """A misspelled option is told, not ignored."""
    with pytest.raises(InvalidOptionError, match="there is no such option"):
        nsqlite.open(tmp_path / "store", msg_time_out=5)

    assert list(tmp_path.iterdir()) == []


# -- a full store --------------------------------------------------------------------------


@pytest.mark.parametrize("durability", LEVELS)
@pytest.mark.parametrize("body", [b"x" * 20_000, b"x" * 600_000])
def test_full_store_refuses_publishes_only(tmp_path: Path, durability: str, body: bytes) -> None:
    """At max_store_bytes publishing raises, receiving and finishing go on, and then publishing works again."""
    path = None if durability == "memory" else tmp_path / "store"
    with nsqlite.open(path, durability=durability, clock=AttendedClock(), max_store_bytes=6 * MIB) as node:
        channel = node.topic("orders").channel("billing")
        for _ in range(3):
            published, error = fill(lambda _: node.publish("orders", body))
            assert "nothing was published" in str(error)
            assert 0 < published * len(body) < 6 * MIB
            with pytest.raises(StoreFullError):
                node.publish_many("orders", [body] * 10)

            assert channel.depth == published
            while messages := channel.receive_many(published, timeout=0):
                channel.finish_many(messages)
            assert (channel.depth, channel.in_flight_count) == (0, 0)

        node.publish("orders", body)
        assert channel.depth == 1
        node.check()


@pytest.mark.parametrize("durability", LEVELS)
@pytest.mark.parametrize("size", [1000, 350_000, 600_000])
def test_store_is_not_full_of_what_was_finished(tmp_path: Path, durability: str, size: int) -> None:
    """Publishing and finishing for ever at a depth of one never fills a small store."""
    path = None if durability == "memory" else tmp_path / "store"
    with nsqlite.open(path, durability=durability, clock=AttendedClock(), max_store_bytes=4 * MIB) as node:
        channel = node.topic("orders").channel("billing")

        for _ in range(40):
            node.publish("orders", b"x" * size)
            channel.receive(timeout=0).finish()

        assert node.health == "OK"


def test_full_store_takes_what_makes_room(tmp_path: Path) -> None:
    """In a full store topics and channels can be paused, emptied and deleted, and then publishing works again."""
    with nsqlite.open(tmp_path / "store", durability="commit", clock=AttendedClock(), max_store_bytes=4 * MIB) as node:
        topic = node.topic("orders")
        channel = topic.channel("billing")
        for make_room in (
            channel.empty,
            lambda: (topic.pause(), topic.delete_channel("billing"), topic.unpause()),
            topic.empty,
            lambda: node.delete_topic("orders"),
        ):
            published, _ = fill(lambda _: topic.publish(b"x" * 20_000))
            make_room()
            assert published > 20

        node.publish("orders", b"x" * 20_000)
        node.check()


@pytest.mark.parametrize("durability", ["commit", "fsync"])
def test_limited_store_stays_near_its_limit_on_disk(tmp_path: Path, durability: str) -> None:
    """LMDB's free pages may pass the limit, but by less than half of it, however often the store is filled."""
    with nsqlite.open(
        tmp_path / "store", durability=durability, clock=AttendedClock(), max_store_bytes=8 * MIB
    ) as node:
        channel = node.topic("orders").channel("billing")
        for size in (1000, 300_000, 20_000, 600_000):
            fill(lambda _, size=size: node.publish("orders", b"x" * size))
            taken = sum(file.stat().st_blocks * 512 for file in (tmp_path / "store").rglob("*") if file.is_file())
            assert taken <= 12 * MIB
            while messages := channel.receive_many(1000, timeout=0):
                channel.finish_many(messages)
