"""Listeners: a node's servers in a thread of its own, or in a running loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Any

from nsqlite import aio
from nsqlite.errors import InvalidOptionError
from nsqlite.net.nsqd import Nsqd
from nsqlite.net.options import ListenerOptions
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


def serve(node: Node | aio.Node, *, options: ListenerOptions | None = None, **fields: Any) -> Serving:
    """As `listen`, in the running loop: ``async with nsqlite.net.serve(node) as listener``."""
    given: object = node._node if isinstance(node, aio.Node) else node
    if not isinstance(given, Node):
        raise InvalidOptionError("node", given, "give an open node, of nsqlite.open or of nsqlite.aio.open")
    return Serving(given, _merged(options, fields))


class Listener:
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
        self._errors: list[BaseException] = []
        self._is_started = threading.Event()
        self._loop = new_loop(options)
        self._loop.set_exception_handler(Complaints().hear)
        self._is_stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="nsqlite-listener", daemon=True)
        try:
            self._thread.start()
            self._is_started.wait()
        except BaseException:  # interrupted: nobody will have this object to close it
            self.close()
            raise
        for error in self._errors:
            self._thread.join()
            raise error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            nsqd = Nsqd(self._engine, self.options)
            await nsqd.start()
            self.tcp_address = nsqd.tcp.address
            self.http_address, self.https_address = nsqd.http_address, nsqd.https_address
        except BaseException as error:  # noqa: BLE001  # raised again by whoever made the listener
            self._errors.append(error)
            return
        finally:
            self._is_started.set()
        await self._is_stopped.wait()
        await nsqd.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Listener {self.tcp_address}>"

    def close(self) -> None:
        """End it: what was read is carried out and answered, then every connection closes. Twice is fine."""
        try:
            self._loop.call_soon_threadsafe(self._is_stopped.set)
        except RuntimeError:
            pass  # closed already
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()


class Serving:
    """A listener in the running loop; await it, or enter it."""

    def __init__(self, node: Node, options: ListenerOptions) -> None:
        self._node = node
        self._options = options
        self._listener: LoopListener | None = None

    def __await__(self) -> Generator[Any, None, LoopListener]:
        return self._start().__await__()

    async def _start(self) -> LoopListener:
        nsqd = Nsqd(self._node.engine, self._options)
        await nsqd.start()
        self._listener = LoopListener(nsqd)
        return self._listener

    async def __aenter__(self) -> LoopListener:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            await self._listener.close()


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
        """See Listener.close."""
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
