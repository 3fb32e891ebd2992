"""Running NSQ's own tools."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs

from tests.interop.servers import PATIENCE_SECONDS, LineReader, peer_command


class Tool:
    """A tool that runs.

    Attributes:
        process: The process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._reader = LineReader(process, process.stdout)

    def lines(self, count: int) -> list[bytes]:
        """The next lines it prints."""
        return [self._reader.line() for _ in range(count)]

    def type(self, text: bytes) -> None:
        """Give it its whole input."""
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(text)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self, code: int = 0) -> None:
        """Return when it has ended by itself, with this exit code."""
        assert self.process.wait(PATIENCE_SECONDS) == code

    def stop(self) -> None:
        """Have it end in order, with all that it has begun done."""
        self.signal(signal.SIGTERM)
        self.ends()


@contextlib.contextmanager
def tool(program: str, *flags: str) -> Iterator[Tool]:
    """Run one; it is killed if it has not ended, and what it logged is told of a failure."""
    with tempfile.TemporaryFile() as log:
        command = [*peer_command(program), *flags]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process:
            try:
                yield Tool(process)
            except BaseException as error:
                log.seek(0)
                error.add_note(f"{program} said: {log.read().decode(errors='replace')[-3000:]}")
                raise
            finally:
                process.kill()


@attrs.frozen
class Request:
    """What a web server was sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@attrs.frozen
class WebServer:
    """A web server.

    Attributes:
        url: Where it is.
        requests: All that it was sent.
    """

    url: str
    requests: list[Request]


@contextlib.contextmanager
def web_server(status: Callable[[Request, int], int] = lambda _request, _number: 200) -> Iterator[WebServer]:
    """Take every request, and answer it with a status that may depend on it and on how many came before."""
    requests: list[Request] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            with lock:
                number = len(requests)
                requests.append(request)
            self.send_response(status(request, number))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True  # which a client may keep waiting

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield WebServer(f"http://127.0.0.1:{server.server_port}", requests)
        finally:
            server.shutdown()
