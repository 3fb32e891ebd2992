"""The program that sends HTTP requests, and what it tells."""

import contextlib
import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.net.servers import Server

SCRIPT: Final = Path(__file__).with_name("load.lua")
GRACE_SECONDS: Final = 60

Told = dict[str, float]


def require_wrk() -> None:
    """End the program if there is no wrk.

    Raises:
        SystemExit: It says how to get it.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("there is no command 'wrk' here; install it (Debian and Ubuntu: apt-get install wrk)")


def post(server: Server, target: str, body: bytes, *, connections: int, seconds: float) -> Told:
    """POST one body again and again: requests that were answered, in how many seconds."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        with _running(server, target, connections, seconds, file.name) as ended:
            return ended()


@contextlib.contextmanager
def getting(server: Server, target: str, *, seconds: float) -> Iterator[Callable[[], Told]]:
    """GET on one connection again and again while the context lasts; what it yields waits for the end and tells."""
    with _running(server, target, 1, seconds) as ended:
        yield ended


@contextlib.contextmanager
def _running(
    server: Server, target: str, connections: int, seconds: float, *arguments: str
) -> Iterator[Callable[[], Told]]:
    """Whole seconds: wrk knows no others."""
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={math.ceil(seconds)}s"]
    command += ["--timeout=30s", f"--script={SCRIPT}", f"http://{server.http_address}{target}", "--", *arguments]

    def ended() -> Told:
        text, _ = process.communicate(timeout=seconds + GRACE_SECONDS)
        told: Told = json.loads(text.splitlines()[-1]) if process.returncode == 0 else {"failed": 1}
        if told["failed"]:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
        return told

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield ended
        finally:
            process.kill()
