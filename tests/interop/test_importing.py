"""What the real nsqd leaves, ended in any way, is what a node has after the import."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

import nsqlite
from nsqlite.daemon.importing import BATCH_MESSAGES, IMPORTED, import_nsqd_files
from nsqlite.errors import ImportRefusedError
from nsqlite.storage.check import audit
from tests.fakes.nsqd_files import record, write_nsqd_dat, write_queue
from tests.interop.servers import PEERS, LineReader, until

Backlog = collections.Counter[tuple[bytes, int]]  # bodies, each with the attempts it comes with
SMALL_FILES: Final = {"mem-queue-size": 5, "max-bytes-per-file": 2_000}
HOUR_MS: Final = 3_600_000
IDLE_SECONDS: Final = 1.0


@attrs.define
class Nsqd:
    """A running nsqd that can be ended by any signal."""

    process: subprocess.Popen[bytes]
    tcp_port: int
    http_port: int

    def post(self, path: str, body: bytes = b"") -> None:
        """Ask for something over HTTP."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def publish(self, topic: str, bodies: list[bytes], **query: object) -> None:
        """Publish one by one, so that each is in the queue before the next."""
        extra = "".join(f"&{name}={value}" for name, value in query.items())
        for body in bodies:
            self.post(f"/pub?topic={topic}{extra}", body)

    def channel(self, topic: str, channel: str) -> dict[str, Any]:
        """The statistics of a channel."""
        url = f"http://127.0.0.1:{self.http_port}/stats?format=json&topic={topic}&channel={channel}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            [told] = json.load(answer)["topics"]
        return dict(told["channels"][0]) if told["channels"] else {}

    def await_depth(self, topic: str, channel: str, depth: int) -> None:
        """Wait until so many messages have come through to a channel."""
        until(lambda: self.channel(topic, channel).get("depth") == depth, f"{topic}/{channel} has {depth} messages", 10)

    def end(self, how: signal.Signals) -> None:
        """End it."""
        self.process.send_signal(how)
        assert self.process.wait(30) == (0 if how is signal.SIGTERM else -how)


@contextlib.contextmanager
def nsqd(data_path: Path, **options: object) -> Iterator[Nsqd]:
    """Run nsqd on a data path."""
    flags = {"tcp-address": "127.0.0.1:0", "http-address": "127.0.0.1:0", "https-address": "", "data-path": data_path}
    command = [str(PEERS / "nsqd"), *(f"--{name}={value}" for name, value in (flags | options).items())]
    with (data_path.parent / f"{data_path.name}.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            reader, ports = LineReader(process, process.stdout), dict[bytes, int]()
            while len(ports) < 2:
                line = reader.line()
                assert line, "nsqd did not come up"
                said.write(line + b"\n")
                for kind in (b"TCP", b"HTTP"):
                    if kind + b": listening on " in line:
                        ports[kind] = int(line.rpartition(b":")[2])
            copying = subprocess.Popen(["cat"], stdin=process.stdout, stdout=said)  # or its log would hold it up
            yield Nsqd(process, ports[b"TCP"], ports[b"HTTP"])
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            copying.wait()


class Consumer:
    """A client that says itself what becomes of each message."""

    def __init__(self, port: int, topic: str, channel: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")
        self.send(f"  V2SUB {topic} {channel}\n")
        assert self._frame() == (0, b"OK")

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, text: str) -> None:
        """Send commands."""
        self._socket.sendall(text.encode())

    def _frame(self) -> tuple[int, bytes]:
        size, kind = struct.unpack(">Ii", self._file.read(8))
        return kind, self._file.read(size - 4)

    def take(self, count: int) -> list[tuple[str, int, bytes]]:
        """Ids, attempts and bodies of so many messages, and not one more."""
        self.send(f"RDY {count}\n")
        taken = []
        while len(taken) < count:
            kind, payload = self._frame()
            if kind == 2:
                taken.append((payload[10:26].decode(), int.from_bytes(payload[8:10], "big"), payload[26:]))
            else:
                assert payload == b"_heartbeat_", payload
                self.send("NOP\n")
            if len(taken) == count:
                self.send("RDY 0\n")
        return taken

    def drain(self) -> Backlog:
        """All that comes until nothing does, finished."""
        self.send("RDY 1000\n")
        found: Backlog = collections.Counter()
        self._socket.settimeout(IDLE_SECONDS)
        with contextlib.suppress(TimeoutError):
            while True:
                kind, payload = self._frame()
                if kind == 2:
                    found[payload[26:], int.from_bytes(payload[8:10], "big")] += 1
                    self.send(f"FIN {payload[10:26].decode()}\n")
        return found


def drained(node: nsqlite.Node, topic: str, channel: str) -> Backlog:
    """All that a channel of a node has, finished."""
    core = node.topic(topic).channel(channel)
    found: Backlog = collections.Counter()
    while messages := core.receive_many(1_000, timeout=0):
        found.update((message.body, message.attempts) for message in messages)
        core.finish_many(messages)
    return found


def bodies_of(backlog: Backlog) -> collections.Counter[bytes]:
    """How often each body is in it."""
    found = collections.Counter[bytes]()
    for (body, _), count in backlog.items():
        found[body] += count
    return found


def numbered(word: str, count: int) -> list[bytes]:
    """Bodies of several sizes, each once."""
    return [f"{word}-{number}-".encode() + b"x" * (number * 7 % 90) for number in range(count)]


def fresh(bodies: list[bytes]) -> Backlog:
    """Bodies that come for the first time."""
    return collections.Counter((body, 1) for body in bodies)


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    """An empty data path."""
    made = tmp_path / "nsqd"
    made.mkdir()
    return made


# -- ended as it should be -----------------------------------------------------------------


def live(server: Nsqd, held: contextlib.ExitStack) -> dict[tuple[str, str], Backlog]:
    """Fill an nsqd in every way there is; what each channel is owed once it ends, by topic and channel."""
    orders, owed = numbered("order", 300), {}
    for path in (
        "orders&channel=billing",
        "orders&channel=audit",
        "orders&channel=tail%23ephemeral",
        "still&channel=c",
    ):
        server.post(f"/topic/create?topic={path.partition('&')[0]}")
        server.post(f"/channel/create?topic={path}")
    server.post("/channel/pause?topic=orders&channel=audit")
    server.publish("orders", orders)
    server.await_depth("orders", "audit", 300)
    server.publish("orders", [b"deferred-1", b"deferred-2"], defer=HOUR_MS)
    owed["orders", "audit"] = fresh([*orders, b"deferred-1", b"deferred-2"])
    owed["orders", "billing"] = owed["orders", "audit"].copy()
    consume(server, owed["orders", "billing"], held)

    server.publish("still", numbered("before", 40))
    server.await_depth("still", "c", 40)
    server.post("/topic/pause?topic=still")
    server.publish("still", numbered("paused", 60))
    owed["still", "c"] = fresh([*numbered("before", 40), *numbered("paused", 60)])

    server.publish("alone", numbered("alone", 100))
    owed["alone", "late"] = fresh(numbered("alone", 100))
    server.publish("gone%23ephemeral", [b"gone"])
    server.post("/channel/create?topic=gone%23ephemeral&channel=c")
    server.post("/topic/create?topic=empty")
    return owed


def consume(server: Nsqd, owed: Backlog, held: contextlib.ExitStack) -> None:
    """Finish some of orders/billing, requeue some, defer some, and keep some in flight until the end."""
    consumer = held.enter_context(Consumer(server.tcp_port, "orders", "billing"))
    taken = consumer.take(60)
    for at, (message_id, attempts, body) in enumerate(taken):
        owed[body, attempts] -= 1
        if at < 20:
            consumer.send(f"FIN {message_id}\n")
            continue
        owed[body, attempts + 1] += 1
        if at < 40:
            consumer.send(f"REQ {message_id} {HOUR_MS}\n")
    until(lambda: server.channel("orders", "billing")["deferred_count"] == 22, "20 are requeued beside the deferred 2")
    other = held.enter_context(Consumer(server.tcp_port, "orders", "billing"))
    for _ in range(3):
        [(message_id, attempts, body)] = other.take(1)
        owed[body, attempts] -= 1
        owed[body, attempts + 1] += 1
        other.send(f"REQ {message_id} 0\n")
    until(lambda: server.channel("orders", "billing")["in_flight_count"] == 20, "20 are in flight")


def test_clean_stop_is_taken_over_whole(tmp_path: Path, data_path: Path) -> None:
    """After SIGTERM every channel has exactly what nsqd owed it, with its attempts, and pauses hold."""
    with nsqd(data_path, **SMALL_FILES) as server, contextlib.ExitStack() as held:
        owed = live(server, held)
        server.end(signal.SIGTERM)
    assert len(list(data_path.glob("orders:audit.diskqueue.*.dat"))) > 3

    with nsqlite.open(tmp_path / "store", durability="commit") as node:
        summary = import_nsqd_files(node, str(data_path))
        assert summary is not None
        assert (summary.topics, summary.channels, summary.skipped) == (4, 3, 1)  # the queue of gone#ephemeral:c
        assert summary.messages == sum(each.total() for each in owed.values())
        assert node.topics == ["alone", "empty", "orders", "still"]
        assert node.topic("orders").channels == ["audit", "billing"]
        assert (node.topic("alone").depth, node.topic("still").depth) == (100, 60)
        assert node.topic("still").is_paused

    with nsqlite.open(tmp_path / "store") as node:  # again: it is in the store
        assert node.topic("orders").channel("audit").is_paused
        assert drained(node, "orders", "audit").total() == 0
        node.topic("orders").channel("audit").unpause()
        node.topic("still").unpause()
        for (topic, channel), backlog in owed.items():
            assert drained(node, topic, channel) == +backlog, (topic, channel)
        node.check()
        assert import_nsqd_files(node, str(data_path)) is None
    assert os.listdir(data_path) == [IMPORTED]
    assert not audit(str(tmp_path / "store")).faults


def test_running_nsqd_is_left_alone(tmp_path: Path, data_path: Path) -> None:
    """While nsqd runs nothing is taken from it."""
    with nsqd(data_path, **SMALL_FILES) as server, nsqlite.open(tmp_path / "store") as node:
        server.publish("t", numbered("t", 20))
        before = sorted(os.listdir(data_path))

        with pytest.raises(ImportRefusedError, match="possibly in use by another instance of nsqd"):
            import_nsqd_files(node, str(data_path))

        assert node.topics == []
        assert sorted(os.listdir(data_path)) == before
        server.end(signal.SIGTERM)


# -- killed --------------------------------------------------------------------------------


def salvaged(data_path: Path, channels: list[tuple[str, str]]) -> dict[tuple[str, str], Backlog]:
    """What the real nsqd itself still finds in a copy of a data path."""
    copy = data_path.with_name("copy")
    shutil.copytree(data_path, copy)
    found = {}
    with nsqd(copy, **{"max-bytes-per-file": 2_000}) as server:
        for topic, channel in channels:
            with Consumer(server.tcp_port, topic, channel) as consumer:
                found[topic, channel] = consumer.drain()
        server.end(signal.SIGTERM)
    return found


@pytest.mark.parametrize("sync_every", [10, 1_000_000])
def test_killed_nsqd_is_taken_over_as_far_as_it_wrote(tmp_path: Path, data_path: Path, sync_every: int) -> None:
    """After SIGKILL there is all that was on disk: at least what nsqd itself would find, and nothing that never was."""
    options = {"mem-queue-size": 0, "max-bytes-per-file": 2_000, "sync-every": sync_every, "sync-timeout": "1h"}
    channels = [("orders", "billing"), ("orders", "audit"), ("small", "c"), ("alone", "late")]
    orders, small, alone = numbered("order", 300), numbered("small", 7), numbered("alone", 50)
    with nsqd(data_path, **options) as server:
        for topic, channel in channels[:3]:
            server.post(f"/topic/create?topic={topic}")
            server.post(f"/channel/create?topic={topic}&channel={channel}")
        server.publish("orders", orders)
        server.publish("small", small)
        server.publish("alone", alone)
        server.await_depth("orders", "billing", 300)
        server.await_depth("orders", "audit", 300)
        server.await_depth("small", "c", 7)
        until(lambda: b"alone" in (data_path / "nsqd.dat").read_bytes(), "nsqd.dat is written")
        with Consumer(server.tcp_port, "orders", "billing") as consumer:
            finished = consumer.take(30)
            for message_id, _, _ in finished:
                consumer.send(f"FIN {message_id}\n")
            until(lambda: server.channel("orders", "billing")["in_flight_count"] == 0, "30 are finished")
            server.end(signal.SIGKILL)
    by_nsqd = salvaged(data_path, channels)

    with nsqlite.open(tmp_path / "store", durability="commit") as node:
        summary = import_nsqd_files(node, str(data_path))
        found = {each: bodies_of(drained(node, *each)) for each in channels}
        node.check()

    assert summary is not None
    assert summary.skipped == 0
    assert found["orders", "audit"] >= collections.Counter(orders)
    assert found["small", "c"] >= collections.Counter(small)
    assert found["alone", "late"] == collections.Counter(alone)
    assert set(found["orders", "billing"]) >= set(orders) - {body for _, _, body in finished}
    for channel in channels:
        assert found[channel] >= bodies_of(by_nsqd[channel]), channel
        assert set(found[channel]) <= {*orders, *small, *alone}
    assert os.listdir(data_path) == [IMPORTED]
    assert not audit(str(tmp_path / "store")).faults


@pytest.mark.parametrize("round_number", range(3))
def test_damaged_files_give_what_nsqd_would_get(tmp_path: Path, data_path: Path, round_number: int) -> None:
    """Files cut short, filled with zeros and taken away cost no message more than they cost nsqd."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}, round {round_number}")
    chance = random.Random(seed)
    bodies = numbered("t", 300)
    with nsqd(data_path, **{"mem-queue-size": 0, "max-bytes-per-file": 2_000}) as server:
        server.post("/topic/create?topic=t")
        server.post("/channel/create?topic=t&channel=c")
        server.publish("t", bodies)
        server.await_depth("t", "c", 300)
        server.end(signal.SIGTERM)
    files = sorted(data_path.glob("t:c.diskqueue.0*.dat"))
    torn, zeroed, gone = chance.sample(files[:-1], 3)
    last = files[-1]
    os.truncate(torn, chance.randrange(torn.stat().st_size))
    with zeroed.open("r+b") as file:
        file.seek(chance.randrange(zeroed.stat().st_size))
        file.write(bytes(60))
    gone.unlink()
    os.truncate(last, max(0, last.stat().st_size - chance.randrange(1, 50)))
    by_nsqd = bodies_of(salvaged(data_path, [("t", "c")])["t", "c"])

    with nsqlite.open(tmp_path / "store", durability="commit") as node:
        summary = import_nsqd_files(node, str(data_path))
        found = bodies_of(drained(node, "t", "c"))

    assert summary is not None
    assert summary.skipped >= 3
    intact = collections.Counter({body: count for body, count in by_nsqd.items() if body in bodies})
    assert found >= intact
    assert sum(1 for body in found if body not in bodies) <= 1  # zeros inside a body are told from none by nobody
    assert os.listdir(data_path) == [IMPORTED]


# -- the import itself is killed -----------------------------------------------------------

IMPORTING: Final = """
import sys, nsqlite
from nsqlite.daemon.importing import import_nsqd_files
with nsqlite.open(sys.argv[1], durability=sys.argv[3]) as node:
    print("importing", flush=True)
    import_nsqd_files(node, sys.argv[2])
    print("imported", flush=True)
"""


def import_for(seconds: float, store: Path, data_path: Path, level: str) -> bool:
    """Import in a process of its own that is killed after a while; whether it was done by then."""
    command = [sys.executable, "-c", IMPORTING, str(store), str(data_path), level]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        time.sleep(seconds)
        process.kill()
        return process.stdout.read() == b"imported\n"


@pytest.mark.parametrize("level", ["fsync", "commit"])
def test_killed_import_goes_on(tmp_path: Path, data_path: Path, level: str) -> None:
    """Killed again and again it loses nothing, gives to nobody else, and repeats one batch a kill at most."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    mine, others, waiting = ([b"%s-%d" % (word, at) for at in range(20_000)] for word in (b"mine", b"others", b"topic"))
    for name, bodies in (("t:a", mine), ("t:b", others), ("t", waiting)):
        write_queue(data_path, name, [b"".join(map(record, bodies[at : at + 3_000])) for at in range(0, 20_000, 3_000)])
    write_nsqd_dat(data_path, {"t": {"paused": True, "channels": {"a": False, "b": False}}})

    kills = 0
    while not import_for(chance.random() * 0.1, tmp_path / "store", data_path, level):
        kills += 1

    with nsqlite.open(tmp_path / "store", durability="commit") as node:
        assert import_nsqd_files(node, str(data_path)) is None
        again = node.topic("t").depth - len(waiting)
        for channel, bodies in (("a", mine), ("b", others)):
            found = bodies_of(drained(node, "t", channel))
            assert set(found) == set(bodies)
            again += found.total() - len(bodies)
        node.topic("t").unpause()
        assert set(bodies_of(drained(node, "t", "a"))) == set(waiting)
        node.check()
    assert 0 <= again <= kills * BATCH_MESSAGES
    assert os.listdir(data_path) == [IMPORTED]
    assert not audit(str(tmp_path / "store")).faults
