"""An nsqd inside a test: the real node and its own listener, on free ports, for any NSQ client."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn

import attrs

from nsqlite.bodies import BytesLike, Seconds
from nsqlite.clock import Clock, SystemClock
from nsqlite.errors import MisuseError
from nsqlite.net.options import ListenerOptions
from nsqlite.node import Node
from nsqlite.options import merged
from nsqlite.testing.addresses import LOOPBACK, Ports
from nsqlite.testing.block import Block
from nsqlite.testing.clock import Clock as TestClock
from nsqlite.testing.events import History
from nsqlite.testing.faults import Faults
from nsqlite.testing.mishaps import Mishaps
from nsqlite.testing.nsq import make_topics
from nsqlite.testing.server import Server
from nsqlite.testing.subject import Durability, Subject

_ANY_PORT: Final = f"{LOOPBACK}:0"
# Free ports, and nothing that a test does not look at and would wait for.
_DEFAULTS: Final[dict[str, Any]] = {
    "tcp_address": _ANY_PORT,
    "http_address": _ANY_PORT,
    "broadcast_address": LOOPBACK,
    "http_metrics": False,
    "http_page": "off",
    "uvloop": False,
}
_ADDRESSES: Final = ("tcp_address", "http_address", "https_address")
_LISTENER_OPTIONS: Final = frozenset(attrs.fields_dict(ListenerOptions))


class MachineClock(SystemClock):
    """The machine's time, for a test that has asked for no other; who would move it is told whom to ask."""

    def _refuse(self, *arguments: Any, **fields: Any) -> NoReturn:
        raise MisuseError(
            "this runs on the machine's clock, which nobody moves: ask for the fixture nsq_clock, too, "
            "or give clock=nsqlite.testing.Clock()"
        )

    advance = advance_to_next = sleep = asleep = step_wall = _refuse


class Nsqd(Mishaps):
    r"""A node that clients reach as an nsqd, over TCP and HTTP.

    Attributes:
        clock: Its time.
        history: What happened to its messages, also before a crash.
        tcp_address: Where clients connect, "127.0.0.1:41234"; has `host` and `port`.
        http_address: The same for the HTTP API; "" if it is off.
        https_address: The same over TLS.

    Example:
        >>> import socket
        >>> from nsqlite.testing import nsqd
        >>> with nsqd(topics=["orders:billing"]) as server:
        ...     with socket.create_connection((server.tcp_address.host, server.tcp_address.port)) as client:
        ...         client.sendall(b"  V2PUB orders\n\x00\x00\x00\x017")
        ...         server.wait_for("orders").body
        ...     server.assert_published("orders", body=b"7", count=1)
        b'7'
    """

    def __init__(
        self,
        durability: Durability = "fsync",
        clock: Clock | None = None,
        seed: int = 0,
        *,
        topics: str | Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Open it, and serve.

        Args:
            durability: What a crash leaves; see Subject.
            clock: Its time, which deferrals, timeouts and heartbeats follow; the machine's unless given.
            seed: Of faults that are a matter of chance.
            topics: Names of topics that are there, or "topic:channel" for a channel, too; a str is one of them.
            options: Of the node and of its listener; see nsqlite.Options and nsqlite.net.ListenerOptions. Unless they
                say something else, there are free ports on loopback, no metrics and no page. `http_address=""` is
                without HTTP.

        Raises:
            InvalidOptionError: An option is unknown or out of its range.
            ListenError: An address cannot be had.
        """
        of_listener = {name: options.pop(name) for name in list(options) if name in _LISTENER_OPTIONS}
        self._server: Server | None = None
        self._ports = Ports()
        self._turned_at = 0.0
        self._subject = Subject(durability, MachineClock() if clock is None else clock, **options)
        try:
            self.history: History = self._subject.history
            self.clock = self._subject.clock
            self._faults = Faults(self.clock, seed, self.history.tell)
            if isinstance(self.clock, TestClock):
                self.clock.before.insert(0, self._let_arrive)
            make_topics(self.node, topics)
            self._options = self._made(of_listener)
            self._serve()
        except BaseException:
            self.close()
            raise

    def _made(self, given: dict[str, Any]) -> ListenerOptions:
        fields = _DEFAULTS | given
        for name in _ADDRESSES:
            if fields.get(name) == _ANY_PORT:
                fields[name] = str(self._ports.take())
        return merged(ListenerOptions, None, fields, name="nsqlite.net.ListenerOptions")

    def _serve(self) -> None:
        self._server = server = Server(self._subject.engine, self._options, self._faults)
        self.tcp_address, self.http_address = server.tcp_address, server.http_address
        self.https_address = server.https_address
        addresses: dict[str, Any] = {name: str(getattr(server, name)) for name in _ADDRESSES}
        self._options = attrs.evolve(self._options, **addresses)  # the same ports again, whichever they are

    def __enter__(self) -> Nsqd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Nsqd {self.tcp_address}>"

    @property
    def node(self) -> Node:
        """The node, for who is in the same process. After a crash or a restart it is another one."""
        return self._subject.node

    @property
    def is_serving(self) -> bool:
        """Whether it runs: not between `stop` and `start`."""
        return self._server is not None

    def publish(self, topic: str, body: BytesLike, delay: Seconds | None = None) -> bytes:
        """Publish one message, as somebody in the process; return its id. See nsqlite.Node.publish."""
        return self.node.publish(topic, body, delay)

    def publish_many(self, topic: str, bodies: Iterable[BytesLike], delay: Seconds | None = None) -> list[bytes]:
        """Publish a batch; return the ids. See nsqlite.Node.publish_many."""
        return self.node.publish_many(topic, bodies, delay)

    def settle(self) -> None:
        """Let what clients have sent by now be carried out, and what is due move to where it is."""
        self._let_arrive()
        super().settle()

    def _let_arrive(self, in_ns: int = 0) -> None:
        if self._server is not None:
            self._server.thread.settle()
            if in_ns:
                self._let_answer(self._server, in_ns)

    def _let_answer(self, server: Server, in_ns: int) -> None:
        """Before time jumps: a client may be in the loop that calls this, which then is not to wait for it."""
        loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):
            loop = asyncio.get_running_loop()
        if loop is None:
            server.wait_for_answers(in_ns)
        else:
            server.spare(in_ns, self._turned_at)
            self._turned_at = math.inf
            loop.call_soon(self._turned)

    def _turned(self) -> None:
        self._turned_at = min(self._turned_at, time.monotonic())

    # -- the whole going down -------------------------------------------------------------

    def drop_connections(self, client: str | int | None = None) -> None:
        """Reset all connections, of HTTP too, without a frame; or those of one client, see Mishaps."""
        if self._server is not None:
            self._server.reset(client)

    def crash_and_restart(self) -> None:
        """End it as if its process were killed, and start it again, on the same ports and on what its store kept.

        Clients read the end of their connections; a reset, if they had sent something that was not read.
        Handles that code in this process has of the node raise NodeFailedError from then on.
        """
        self._go_down(is_killed=True)
        self._subject.crash()
        self._serve()

    def stop(self) -> None:
        """Stop serving, as a daemon that is told to: what was read is carried out and answered. Twice is fine."""
        if self._server is not None:
            self._go_down(is_killed=False)
            self._subject.engine.journal_progress()

    def start(self) -> None:
        """Serve again, on the same ports, after `stop`: what was in flight then is ready again. Twice is fine."""
        if self._server is None:
            self._subject.crash()
            self._serve()

    def _go_down(self, *, is_killed: bool) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop(is_killed=is_killed)

    # -- the end --------------------------------------------------------------------------

    def check(self) -> None:
        """Check every invariant of the node, once what has arrived is done; a test ends with it."""
        self._let_arrive()
        self._subject.check()

    def close(self) -> None:
        """End it. Twice is fine."""
        if isinstance(self._subject.clock, TestClock) and self._let_arrive in self._subject.clock.before:
            self._subject.clock.before.remove(self._let_arrive)
        self._go_down(is_killed=True)
        self._ports.close()
        self._subject.close()


def nsqd(durability: Durability = "fsync", clock: Clock | None = None, seed: int = 0, **options: Any) -> Block[Nsqd]:
    """An Nsqd for a block: for unittest, asyncio, or any other runner. See Nsqd for the arguments.

    Raises:
        AssertionError: At the end of the block, if the node is not sound.
    """
    return Block("nsqd", partial(Nsqd, durability, clock, seed, **options))
