"""A real HTTP server for AUTH, on loopback, that answers what it was told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class AuthServer(ThreadingHTTPServer):
    """An auth server.

    Attributes:
        status: What it answers with; 0 to hang up instead.
        body: What it answers.
        lines: Request lines that have arrived, without the protocol's version.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reset()

    def reset(self) -> None:
        """Forget what was asked, and answer nothing good."""
        self.status = 500
        self.body = b""
        self.lines: list[str] = []

    @property
    def address(self) -> str:
        """Host and port."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request as the server was told to."""

    server: AuthServer

    def do_GET(self) -> None:  # the standard library's name
        """Note the request, and answer."""
        self.server.lines.append(f"{self.command} {self.path}")
        self.close_connection = True
        if self.server.status:
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the standard library's name
        """Say nothing."""


@contextmanager
def auth_server() -> Iterator[AuthServer]:
    """Run an auth server in a thread of its own."""
    with AuthServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, name="auth")
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
