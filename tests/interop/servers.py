"""The servers that other people's clients talk to: the real nsqd and nsqlookupd, and a node, each in its own process.

Options have the names of nsqlite's, which are nsqd's with underscores; durations are floats, in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import attrs
import trustme

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / "build" / "peers"
PATIENCE_SECONDS: Final = 30.0
LOOPBACK: Final = "127.0.0.1:0"
OUR_COMMAND: Final = (sys.executable, "-W", "error", "-m", "nsqlite")
_LISTENING: Final = re.compile(rb" (TCP|HTTP|HTTPS): listening on (\S+)")


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE_SECONDS) -> Any:
    """Ask again and again until the answer is true, and return it.

    Raises:
        TimeoutError: If it does not become true.
    """
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience} s: {what}")
        time.sleep(0.01)
    return answer


@attrs.frozen
class Server:
    """A server that can be talked to.

    Attributes:
        kind: "nsqd" or "node".
        host: Where it listens.
        port: The same, for TCP; 0 if that is a unix socket.
        stats: Asks for its statistics, under the names that nsqd and nsqlite share.
        http_port: Where its HTTP API is, 0 for nowhere.
        https_port: The same over TLS.
    """

    kind: str
    host: str
    port: int
    stats: Callable[[], dict[str, Any]]
    http_port: int = 0
    https_port: int = 0

    @property
    def tcp_address(self) -> str:
        """As clients are told it."""
        return f"{self.host}:{self.port}"

    @property
    def http_address(self) -> str:
        """As nsqadmin is told it."""
        return f"{self.host}:{self.http_port}"

    def channel(self, topic: str, channel: str) -> dict[str, Any]:
        """The statistics of one channel, or nothing if there is no such channel."""
        for each in self.stats()["topics"] or ():
            for of_channel in each["channels"] if each["topic_name"] == topic else ():
                if of_channel["channel_name"] == channel:
                    return dict(of_channel)
        return {}


class LineReader:
    """Lines from a process's output, each awaited for a limited time."""

    def __init__(self, process: subprocess.Popen[bytes], output: Any) -> None:
        self._process, self._output = process, output
        self._got = b""

    def line(self, patience: float = PATIENCE_SECONDS) -> bytes:
        """The next line; empty when the process has closed its output.

        Raises:
            TimeoutError: If there is none for so many seconds.
        """
        deadline = time.monotonic() + patience
        while b"\n" not in self._got:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._output], [], [], left)[0]:
                raise TimeoutError(f"{self._process.args} said nothing for {patience} s; before: {self._got!r}")
            got = os.read(self._output.fileno(), 65_536)
            if not got:
                return b""
            self._got += got
        line, _, self._got = self._got.partition(b"\n")
        return line


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that ends when its standard input is closed, or is made to."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=ROOT, bufsize=-1
        )
        try:
            yield process
            process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, f"{command} ended with {process.returncode}"
        except BaseException as error:
            process.kill()
            complaints.seek(0)
            error.add_note(f"{command[:3]} said: {complaints.read().decode(errors='replace')[-3000:]}")
            raise
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@attrs.frozen
class Lookupd:
    """An nsqlookupd that can be talked to.

    Attributes:
        tcp_port: Where nsqds register.
        http_port: Where its HTTP API is.
        host: Where both are.
    """

    tcp_port: int
    http_port: int
    host: str = "127.0.0.1"

    @property
    def tcp_address(self) -> str:
        """As an nsqd is told it."""
        return f"{self.host}:{self.tcp_port}"

    @property
    def http_address(self) -> str:
        """As clients and nsqadmin are told it."""
        return f"{self.host}:{self.http_port}"

    def ask(self, path: str) -> Any:
        """The JSON that it answers to GET.

        Raises:
            urllib.error.HTTPError: If it answers something else than 200.
        """
        with urllib.request.urlopen(f"http://{self.http_address}{path}", timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)


def _addresses(options: dict[str, Any]) -> dict[str, Any]:
    """Options with which a server listens on free ports of loopback, unless it is told otherwise."""
    own = {"tcp_address": LOOPBACK, "http_address": LOOPBACK, "broadcast_address": "127.0.0.1"}
    return own | ({"https_address": LOOPBACK} if "tls_cert" in options else {}) | options


@contextlib.contextmanager
def node(path: Path | None = None, **options: Any) -> Iterator[Server]:
    """A node with a listener; in memory, unless it has a path. With `tls_cert` there is https, too."""
    arguments = [str(path or "-"), json.dumps(_addresses(options))]
    with started([sys.executable, "-m", "tests.interop.serve_node", *arguments]) as process:
        reader = LineReader(process, process.stdout)
        first = reader.line()
        assert first, "the node did not come up"
        asking = threading.Lock()

        def stats() -> dict[str, Any]:
            assert process.stdin is not None
            with asking:
                process.stdin.write(b"stats\n")
                process.stdin.flush()
                return dict(json.loads(reader.line()))

        yield Server("node", stats=stats, **json.loads(first))


def nsqd(**options: Any) -> contextlib.AbstractContextManager[Server]:
    """The real nsqd, on a folder of its own unless it has a `data_path`. With `tls_cert` there is https, too."""
    return _nsqd("nsqd", peer_command("nsqd"), options)


def node_daemon(**options: Any) -> contextlib.AbstractContextManager[Server]:
    """The same for `nsqlite nsqd`: a node with a store, in the foreground, which is killed at the end."""
    return _nsqd("node", [*OUR_COMMAND, "nsqd"], options)


@contextlib.contextmanager
def _nsqd(kind: str, command: list[str], options: dict[str, Any]) -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="nsqlite-nsqd-") as folder,
        daemon(command, {"https_address": ""} | _addresses({"data_path": folder} | options)) as ports,
    ):
        url = f"http://127.0.0.1:{ports.get('HTTP')}/stats?format=json"

        def stats() -> dict[str, Any]:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return dict(json.load(answer))

        yield Server(kind, "127.0.0.1", ports["TCP"], stats, ports.get("HTTP", 0), ports.get("HTTPS", 0))


@contextlib.contextmanager
def nsqlookupd(**options: Any) -> Iterator[Lookupd]:
    """The real nsqlookupd."""
    with daemon(peer_command("nsqlookupd"), _addresses(options)) as ports:
        yield Lookupd(ports["TCP"], ports["HTTP"])


@contextlib.contextmanager
def our_nsqlookupd(**options: Any) -> Iterator[Lookupd]:
    """`nsqlite nsqlookupd`."""
    with daemon([*OUR_COMMAND, "nsqlookupd"], _addresses(options)) as ports:
        yield Lookupd(ports["TCP"], ports["HTTP"])


def peer_command(program: str) -> list[str]:
    """One of NSQ's own programs, as a command."""
    assert (PEERS / program).exists(), f"{program} is not built; `make test-interop` does it, or: make peers"
    return [str(PEERS / program)]


@contextlib.contextmanager
def daemon(command: list[str], options: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Run a server that logs as NSQ's do, and kill it; what it listens for, and on which ports (0: a unix socket)."""
    awaited = {kind.upper() for kind in ("tcp", "http", "https") if options.get(f"{kind}_address")}
    process = subprocess.Popen([*command, *flags_of(options)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said: list[bytes] = []
    try:
        reader, ports = LineReader(process, process.stderr), dict[str, int]()
        while not awaited <= ports.keys():
            said.append(reader.line())
            assert said[-1], b"\n".join(said).decode()
            for kind, address in _LISTENING.findall(said[-1]):
                port = address.rpartition(b":")[2]
                ports[kind.decode()] = int(port) if port.isdigit() else 0
        threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
        yield ports
    finally:
        process.kill()  # a client that went without the magic would keep an nsqd from ending by itself
        process.wait()


def flags_of(options: dict[str, Any]) -> Iterator[str]:
    """NSQ's spelling of options: a float is a duration, a tuple a flag for each of its elements."""
    for name, value in options.items():
        flag = "--" + name.removeprefix("nsq" if name.startswith("nsqlookupd") else "").replace("_", "-")
        if isinstance(value, tuple | list):
            flag = flag.removesuffix("es" if flag.endswith("addresses") else "s")
            yield from (f"{flag}={each}" for each in value)
        elif isinstance(value, bool):
            yield f"{flag}={'true' if value else 'false'}"
        else:
            yield f"{flag}={round(value * 1000)}ms" if isinstance(value, float) else f"{flag}={value}"


def _drain(output: Any) -> None:
    """Read on, so that the process is never held up by its log."""
    with output, contextlib.suppress(ValueError):
        while os.read(output.fileno(), 65_536):
            pass


SERVERS: Final = {"nsqd": nsqd, "node": node}
DAEMONS: Final = {"nsqd": nsqd, "node": node_daemon}
LOOKUPDS: Final = {"real": nsqlookupd, "ours": our_nsqlookupd}


@attrs.frozen
class Certificate:
    """A certificate for 127.0.0.1 and localhost.

    Attributes:
        options: What a server is told to offer TLS with it.
        authority: A file with the authority that signed it, for clients.
    """

    options: dict[str, str]
    authority: str


def make_certificate(folder: Path) -> Certificate:
    """Make an authority and let it sign a server's certificate."""
    authority = trustme.CA()
    signed = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: str(folder / f"{name}.pem") for name in ("authority", "tls_cert", "tls_key")}
    authority.cert_pem.write_to_path(files["authority"])
    signed.private_key_pem.write_to_path(files["tls_key"])
    for number, pem in enumerate(signed.cert_chain_pems):
        pem.write_to_path(files["tls_cert"], append=number > 0)
    return Certificate({name: files[name] for name in ("tls_cert", "tls_key")}, files["authority"])


@attrs.frozen
class AuthServer:
    """An HTTP server that answers what a secret may do.

    Attributes:
        address: host:port, as a server is told it.
        asked: The parameters of every request so far.
    """

    address: str
    asked: list[dict[str, str]]


@contextlib.contextmanager
def auth_server(answers: dict[str, dict[str, Any]]) -> Iterator[AuthServer]:
    """Answer GET /auth by secret; a secret that is not there is refused with 403."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            asked.append({name: values[0] for name, values in query.items()})
            answer = answers.get(asked[-1].get("secret", ""))
            body = json.dumps(answer or {"message": "FORBIDDEN"}).encode()
            self.send_response(200 if answer else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield AuthServer(f"127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
