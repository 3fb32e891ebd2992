"""The real nsqadmin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from tests.interop.cluster.talking import Answer, ask
from tests.interop.servers import LOOPBACK, daemon, peer_command


@attrs.frozen
class Admin:
    """An nsqadmin.

    Attributes:
        address: host:port.
    """

    address: str

    def page(self, path: str) -> Answer:
        """What is answered to a browser."""
        return ask(self.address, path)

    def get(self, path: str) -> Any:
        """What its own API answers.

        Raises:
            AssertionError: If it is no success, or any member gave nsqadmin reason to complain.
        """
        answer = ask(self.address, f"/api{path}").json
        assert answer.pop("message") == "", answer
        return answer

    def do(self, method: str, path: str, **body: str) -> None:
        """Have something done.

        Raises:
            AssertionError: As for `get`.
        """
        answer = ask(self.address, f"/api{path}", method, json.dumps(body).encode())
        assert answer.json["message"] == "", answer


@contextmanager
def nsqadmin(**options: Any) -> Iterator[Admin]:
    """Run one; it is told of nsqlookupds or of nsqds."""
    with daemon(peer_command("nsqadmin"), {"http_address": LOOPBACK} | options) as ports:
        yield Admin(f"127.0.0.1:{ports['HTTP']}")
