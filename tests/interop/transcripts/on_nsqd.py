"""A real nsqd as a peer: one process for each kind of server, and its statistics over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.interop.transcripts.auth_server import AuthServer, auth_server
from tests.interop.transcripts.certificates import Certificates
from tests.interop.transcripts.steps import Server
from tests.interop.transcripts.timing import LIMIT_SECONDS, RealTime

NSQD = Path(__file__).resolve().parents[3] / "build" / "peers" / "nsqd"
LISTENING = re.compile(r" (TCP|HTTP|HTTPS): listening on (.+):([0-9]+)$")


class Nsqd:
    """An nsqd that runs. See player.Peer."""

    name = "nsqd"

    def __init__(
        self, process: subprocess.Popen[str], auth: AuthServer | None, certificates: Certificates, awaited: set[str]
    ) -> None:
        self._awaited = awaited
        self.auth = auth
        self.certificates = certificates
        self.time = RealTime()
        self._process = process
        self._listens: dict[str, tuple[str, int]] = {}
        self._is_ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, name="nsqd's log", daemon=True)
        self._reader.start()
        assert self._is_ready.wait(LIMIT_SECONDS), "nsqd does not listen"
        self.address = self._listens["TCP"]
        self.http_address = self._listens["HTTP"]
        self.https_address = self._listens.get("HTTPS")

    def _read_log(self) -> None:
        """Learn where it listens, and keep the pipe from filling."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := LISTENING.search(line):
                self._listens[found[1]] = (found[2], int(found[3]))
                if self._listens.keys() >= self._awaited:
                    self._is_ready.set()

    def stats(self) -> dict[str, Any]:
        """See player.Peer."""
        found: dict[str, Any] = json.loads(self._ask("GET", "/stats?format=json&include_mem=false"))
        return found

    def manage(self, action: str, topic: str, channel: str) -> None:
        """See player.Peer."""
        names = f"topic={quote(topic)}&channel={quote(channel)}" if channel else f"topic={quote(topic)}"
        self._ask("POST", f"/{'channel' if channel else 'topic'}/{action}?{names}")

    def _ask(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(*self.http_address, timeout=LIMIT_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        return body

    def kill(self) -> None:
        """End it at once: it would wait for clients that never sent the magic."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


def flags(server: Server, auth: AuthServer | None, certificates: Certificates) -> Iterator[str]:
    """Say on nsqd's command line what a server must be."""
    for name, value in server.options:
        text = (
            f"{value}s" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
        )
        if isinstance(value, tuple):  # a flag for each, in the singular
            yield from (f"--{name.replace('_', '-').removesuffix('s')}={each}" for each in value)
        else:
            yield f"--{name.replace('_', '-')}={text}"
    if server.has_tls:
        yield f"--tls-cert={certificates.server}"
        yield f"--tls-key={certificates.server_key}"
        yield f"--tls-root-ca-file={certificates.authority}"
    if auth is not None:
        yield f"--auth-http-address={auth.address}"


@contextmanager
def nsqd_peer(server: Server, certificates: Certificates, folder: Path) -> Iterator[Nsqd]:
    """Run an nsqd in an empty folder."""
    assert NSQD.exists(), "nsqd is not built; `make test-interop` does it, or: make peers"
    with auth_server() if server.has_auth else nullcontext() as auth:
        command = [str(NSQD), f"--data-path={folder}", *flags(server, auth, certificates)]
        command += [f"--{listener}-address=127.0.0.1:0" for listener in ("tcp", "http", "https")]
        # It looks for timeouts in so many channels at random ten times a second, and the transcripts leave hundreds.
        command.append("--queue-scan-selection-count=10000")
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace"
        ) as process:
            try:
                awaited = {"TCP", "HTTP"} | ({"HTTPS"} if server.has_tls else set())
                peer = Nsqd(process, auth, certificates, awaited)
            except BaseException:
                process.kill()
                raise
            try:
                yield peer
            finally:
                peer.kill()
