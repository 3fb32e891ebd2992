"""The programs that put the load on a server, and what they tell; and the one command Python sends itself."""

import json
import re
import socket
import subprocess
from typing import Final

from benchmarks.net.servers import PEERS, Server

GRACE_SECONDS: Final = 300

# The defaults of bench_writer and bench_reader, as upstream's bench.sh creates them.
TOPIC: Final = "sub_bench"
CHANNEL: Final = "ch"
OK: Final = b"\x00\x00\x00\x06\x00\x00\x00\x00OK"


def subscribe_once(server: Server, topic: str, channel: str) -> None:
    """Create a topic and a channel the one way that every server has: by subscribing, and going away.

    Raises:
        RuntimeError: If the answer is not OK.
    """
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"  V2SUB {topic} {channel}\n".encode())
        answer = b""
        while len(answer) < len(OK) and (read := connection.recv(64)):
            answer += read
    if answer != OK:
        raise RuntimeError(f"SUB was answered with {answer!r}")


def bench_writer(server: Server, seconds: float, *, batch: int = 200) -> float:
    """Messages published a second, by NSQ's own program."""
    return _own_program("bench_writer", server, seconds, f"--batch-size={batch}")


def bench_reader(server: Server, seconds: float) -> float:
    """Messages read and finished a second, by NSQ's own program."""
    return _own_program("bench_reader", server, seconds)


def _own_program(name: str, server: Server, seconds: float, *flags: str) -> float:
    command = [str(PEERS / name), f"--nsqd-tcp-address={server.address}", f"--runfor={seconds}s", *flags]
    told = _run(command, seconds).stderr
    found = re.search(r" ([\d.]+)ops/s ", told)
    if found is None:
        raise RuntimeError(f"{name} told no rate: {told}")
    return float(found[1])


def loadgen(mode: str, server: Server, *, seconds: float = 0, **flags: object) -> dict[str, float]:
    """What our own program tells; see tests/interop/go/loadgen for the modes and their flags."""
    command = [*loadgen_command(mode, server), f"-seconds={seconds}"]
    command += [f"-{name}={value}" for name, value in flags.items()]
    return json.loads(_run(command, seconds).stdout)


def loadgen_command(mode: str, server: Server) -> list[str]:
    """How to call it, for who wants to talk to it while it runs."""
    return [str(PEERS / "loadgen"), mode, f"-address={server.address}"]


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + GRACE_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done
