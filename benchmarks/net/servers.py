"""The servers that are compared, started on an empty folder and killed afterwards.

SIGKILL ends both kinds: asked politely, an nsqd with millions of messages in memory would first write them all.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from benchmarks.harness import PROJECT

PEERS: Final = PROJECT / "build" / "peers"
START_SECONDS: Final = 20
ARRIVE_SECONDS: Final = 180

# What --mem-queue-size makes of nsqd, and what the tables say of it.
# D is for thousands of channels, each of which takes memory for as many at once.
NSQDS: Final = {"A": 1_000_000, "B": 10_000_000, "C": 0, "D": 1_000}
KINDS: Final = {"A": "as bench.sh", "B": "all in memory", "C": "through its disk queue", "D": "small memory queues"}


class Server(Protocol):
    """One that runs.

    Attributes:
        name: Which of the contenders it is.
        address: Where it listens, as host:port.
        http_address: Where it listens for HTTP; "" where it does not.
        pid: Of its process.
    """

    name: str
    address: str
    http_address: str
    pid: int

    def depth(self, topic: str, channel: str) -> int:
        """Messages that wait in a channel, -1 if there is none."""

    def settle(self) -> None:
        """Wait until what it keeps is where it will stay."""


Start = Callable[[Path], AbstractContextManager[Server]]


class Nsqd:
    """The real one, asked over HTTP."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.address = self._listening(process, log, "TCP")
        self.http_address = self._listening(process, log, "HTTP")

    def depth(self, topic: str, channel: str) -> int:
        """Messages that wait in a channel, -1 if there is none."""
        url = f"http://{self.http_address}/stats?format=json&topic={topic}&channel={channel}&include_clients=false"
        with urllib.request.urlopen(url, timeout=30) as answer:
            topics = json.load(answer)["topics"] or []
        return next((each["depth"] for found in topics for each in found["channels"] or []), -1)

    def settle(self) -> None:
        """Nothing to wait for: its disk queue is read from where it was written."""

    @staticmethod
    def _listening(process: subprocess.Popen[bytes], log: Path, kind: str) -> str:
        """The address that its log tells; it was free to choose the port."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            found = re.search(rf" {kind}: listening on (\S+)\n", log.read_text(encoding="utf-8"))
            if found:
                return found[1]
            time.sleep(0.01)
        raise RuntimeError(f"nsqd does not listen for {kind}:\n{log.read_text(encoding='utf-8')}")


class NodeProcess:
    """Ours, asked over its standard input; see benchmarks.net.node."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self.address, _, self.http_address = self._line().partition(" ")

    def depth(self, topic: str, channel: str) -> int:
        """Messages that wait in a channel, -1 if there is none."""
        return int(self._ask(f"depth {topic} {channel}"))

    def settle(self) -> None:
        """Wait until the journal is in the B-tree, as it is after a quiet second."""
        left = int(self._ask("settle"))
        if left > 1 << 20:
            raise RuntimeError(f"{left:,} bytes of journal do not settle")

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line:
            raise RuntimeError(f"the node ended with {self._process.wait(10)}")
        return line.strip()


def nsqd_name(kind: str) -> str:
    """What an nsqd is called in tables."""
    return f"nsqd {kind}"


def node_name(durability: str, has_uvloop: bool) -> str:
    """What a node is called in tables."""
    return f'"{durability}"' if has_uvloop else f'"{durability}" without uvloop'


def nsqd(kind: str) -> Start:
    """Start an nsqd of this kind: A, B or C."""

    @contextlib.contextmanager
    def start(path: Path) -> Iterator[Server]:
        log = path / "nsqd.log"
        command = [PEERS / "nsqd", f"--data-path={path}", f"--mem-queue-size={NSQDS[kind]}"]
        command += ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]
        with log.open("wb") as stderr, _running(subprocess.Popen(command, stderr=stderr)) as process:
            yield Nsqd(nsqd_name(kind), process, log)

    return start


def node(durability: str, has_uvloop: bool, has_http: bool = False) -> Start:
    """Start a node with a listener, on uvloop or on asyncio's own loop, for HTTP as well or not."""

    @contextlib.contextmanager
    def start(path: Path) -> Iterator[Server]:
        command = [sys.executable, "-m", "benchmarks.net.node", "--durability", durability]
        command += [] if durability == "memory" else ["--path", str(path / "store")]
        command += [] if has_uvloop else ["--no-uvloop"]
        command += ["--http-address=127.0.0.1:0"] if has_http else []
        pipes = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with _running(pipes) as process:
            yield NodeProcess(node_name(durability, has_uvloop), process)

    return start


@contextlib.contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended by itself with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def arrive(server: Server, topic: str, channel: str, count: int) -> None:
    """Wait until as many messages have come through the topic into the channel, which had none.

    Raises:
        RuntimeError: If they have not after three minutes.
    """
    deadline = time.monotonic() + ARRIVE_SECONDS
    while (depth := server.depth(topic, channel)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{depth:,} of {count:,} messages wait in {topic}/{channel}")
        time.sleep(0.1)
    assert depth == count, f"{depth:,} messages wait, {count:,} were published"
