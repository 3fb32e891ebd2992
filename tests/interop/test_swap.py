"""An nsqd is stopped, `nsqlite nsqd` is started with its options on its data path, and nobody misses a message."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.daemon.daemons import ANY_PORTS, COMMAND, Daemon
from tests.interop.servers import PEERS

COUNT = 500
CONFIG = """
mem_queue_size = 10
max_bytes_per_file = 4096
sync_every = 7
sync_timeout = "1s"
msg_timeout = "30s"
"""


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[Daemon]:
    """Either program with the options of one unit file."""
    flags = ["--config=nsqd.cfg", "--data-path", ".", "-log-level=info", "--statsd-mem-stats=false", *ANY_PORTS]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()


def post(port: int, path: str, body: bytes = b"") -> None:
    """Ask over HTTP."""
    with urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method="POST")
    ) as answer:
        answer.read()


def drain(port: int, count: int) -> list[bytes]:
    """Bodies of that many messages of orders/billing, each finished."""
    bodies = []
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as answers:
        client.sendall(b"  V2SUB orders billing\nRDY 100\n")
        while len(bodies) < count:
            size, kind = struct.unpack(">ii", answers.read(8))
            frame = answers.read(size - 4)
            if kind == 2:
                bodies.append(frame[26:])
                client.sendall(b"FIN " + frame[10:26] + b"\n")
            else:
                assert (kind, frame) == (0, b"OK")
    return bodies


def test_binary_is_swapped(tmp_path: Path) -> None:
    """Topics, channels, pauses and a backlog in memory and on disk are there from the first moment on."""
    (tmp_path / "nsqd.cfg").write_text(CONFIG)
    bodies = [b"order %d" % number for number in range(COUNT)]
    with running([str(PEERS / "nsqd")], tmp_path) as nsqd:
        http = nsqd.port("HTTP")
        post(http, "/topic/create?topic=orders")
        post(http, "/channel/create?topic=orders&channel=billing")
        post(http, "/topic/create?topic=idle")
        post(http, "/topic/pause?topic=idle")
        post(http, "/mpub?topic=orders", b"\n".join(bodies))
        post(http, "/pub?topic=idle", b"waits")
        assert nsqd.end(signal.SIGTERM) == 0

    with running([*COMMAND, "nsqd"], tmp_path) as ours:
        tcp, http = ours.port("TCP"), ours.port("HTTP")
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/stats?format=json") as answer:
            topics = {each["topic_name"]: each for each in json.load(answer)["topics"]}
        got = drain(tcp, COUNT)
        assert ours.end(signal.SIGTERM) == 0

    assert (topics["idle"]["paused"], topics["idle"]["depth"]) == (True, 1)
    assert topics["orders"]["channels"][0]["depth"] == COUNT
    assert sorted(got) == sorted(bodies)
    assert not (tmp_path / "nsqd.dat").exists()


def test_nsqd_and_ours_exclude_each_other(tmp_path: Path) -> None:
    """Whichever runs first on a data path, the other is refused in the same words."""
    (tmp_path / "nsqd.cfg").write_text(CONFIG)
    commands = ([str(PEERS / "nsqd")], [*COMMAND, "nsqd"])

    for first, second in (commands, commands[::-1]):
        with running(first, tmp_path) as holder:
            holder.port("HTTP")
            with running(second, tmp_path) as refused:
                refused.says(r"FATAL: failed to instantiate nsqd - failed to lock data-path: cannot flock directory")
                assert refused.process.wait() == 1
            assert holder.end(signal.SIGTERM) == 0
