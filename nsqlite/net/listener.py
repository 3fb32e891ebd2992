"""Listeners: a node's servers in a thread of its own, or in a running loop."""

from __future__ import annotations

import asyncio
from typing import Any

from nsqlite import aio
from nsqlite.errors import InvalidOptionError
from nsqlite.net.nsqd import Nsqd
from nsqlite.net.options import ListenerOptions
from nsqlite.net.served import ServedInLoop, ServedInThread
from nsqlite.node import Node
from nsqlite.options import merged


def listen(node: Node, *, options: ListenerOptions | None = None, **fields: Any) -> Listener:
    """Let clients connect to a node, as to an nsqd; served by a thread and a loop of its own.

    Args:
        node: An open node. It stays open when the listener is closed; close the listener first.
        options: All options at once.
        fields: Single options, over those in `options`; see nsqlite.net.ListenerOptions.

    Raises:
        InvalidOptionError: An option is unknown or out of its range.
        ListenError: The address cannot be had.
        NodeClosedError, NodeFailedError: The node is closed, or broken.

    Example:
        >>> import nsqlite, nsqlite.net
        >>> with nsqlite.open() as node:
        ...     with nsqlite.net.listen(node, tcp_address="127.0.0.1:0") as listener:
        ...         host, port = listener.tcp_address
    """
    given: object = node
    if not isinstance(given, Node):
        raise InvalidOptionError("node", given, "give the node of nsqlite.open; in a loop use nsqlite.net.serve")
    return Listener(given, _merged(options, fields))


def serve(
    node: Node | aio.Node, *, options: ListenerOptions | None = None, **fields: Any
) -> ServedInLoop[LoopListener]:
    """As `listen`, in the running loop: ``async with nsqlite.net.serve(node) as listener``."""
    given: object = node._node if isinstance(node, aio.Node) else node
    if not isinstance(given, Node):
        raise InvalidOptionError("node", given, "give an open node, of nsqlite.open or of nsqlite.aio.open")
    chosen = _merged(options, fields)

    async def start() -> LoopListener:
        nsqd = Nsqd(given.engine, chosen)
        await nsqd.start()
        return LoopListener(nsqd)

    return ServedInLoop(start)


class Listener(ServedInThread[Nsqd]):
    """A node's servers in a thread of its own. Close it, or use it as a context manager.

    Attributes:
        options: What it was made with.
        tcp_address: (host, real port); the path of a unix socket.
        http_address: The same for HTTP; "" where it is not served.
        https_address: The same for HTTPS.
    """

    def __init__(self, node: Node, options: ListenerOptions) -> None:
        self.options = options
        self.tcp_address: Any = ""
        self.http_address: Any = ""
        self.https_address: Any = ""
        self._engine = node.engine
        loop = new_loop(options)
        loop.set_exception_handler(Complaints().hear)
        super().__init__(loop, "nsqlite-listener")

    def _make(self) -> Nsqd:
        return Nsqd(self._engine, self.options)

    def _take(self, servers: Nsqd) -> None:
        self.tcp_address = servers.tcp.address
        self.http_address, self.https_address = servers.http_address, servers.https_address

    def __repr__(self) -> str:
        return f"<Listener {self.tcp_address}>"


class LoopListener:
    """A node's servers in the loop it was made in.

    Attributes:
        options: What it was made with.
        tcp_address: (host, real port); the path of a unix socket.
        http_address: The same for HTTP; "" where it is not served.
        https_address: The same for HTTPS.
    """

    def __init__(self, nsqd: Nsqd) -> None:
        self._nsqd = nsqd
        self.options = nsqd.options
        self.tcp_address: Any = nsqd.tcp.address
        self.http_address: Any = nsqd.http_address
        self.https_address: Any = nsqd.https_address

    def __repr__(self) -> str:
        return f"<LoopListener {self.tcp_address}>"

    async def close(self) -> None:
        """End it: what was read is carried out and answered, then every connection closes. Twice is fine."""
        await asyncio.shield(self._nsqd.close())


class Complaints:
    """What a listener's own loop has to say of itself, each kind once: without descriptors it says so for ever."""

    def __init__(self) -> None:
        self._heard: set[str] = set()

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See loop.set_exception_handler."""
        message = str(context.get("message"))
        if message not in self._heard:
            self._heard.add(message)
            loop.default_exception_handler(context)


def _merged(options: ListenerOptions | None, fields: dict[str, Any]) -> ListenerOptions:
    return merged(ListenerOptions, options, fields, name="nsqlite.net.ListenerOptions")


def new_loop(options: ListenerOptions) -> asyncio.AbstractEventLoop:
    """A loop as the options want it.

    Raises:
        InvalidOptionError: uvloop is asked for, and not installed.
    """
    if options.uvloop is False:
        return asyncio.new_event_loop()
    try:
        import uvloop
    except ImportError as error:
        if options.uvloop:
            raise InvalidOptionError("uvloop", True, "install nsqlite[net], or give None") from error
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
