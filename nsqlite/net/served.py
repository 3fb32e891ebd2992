"""Servers in a thread and a loop of their own, or in a running loop: how they begin and how they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class Servers(Protocol):
    """What is made, begun and ended in one loop."""

    async def start(self) -> None:
        """Bind and serve; nothing is left open if that fails."""

    async def close(self) -> None:
        """End it."""


class Closes(Protocol):
    """What serves in a loop."""

    async def close(self) -> None:
        """End it."""


S = TypeVar("S", bound=Servers)
L = TypeVar("L", bound=Closes)


class ServedInThread(Generic[S]):
    """Servers in a thread of their own. Close them, or use this as a context manager."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """Return once they serve.

        Raises:
            BaseException: What `_make`, or its `start`, raised.
        """
        self._errors: list[BaseException] = []
        self._is_started = threading.Event()
        self._loop = loop
        self._is_stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
            self._is_started.wait()
        except BaseException:  # interrupted: nobody will have this object to close it
            self.close()
            raise
        for error in self._errors:
            self._thread.join()
            raise error

    def _make(self) -> S:
        """Make the servers, in the loop."""
        raise NotImplementedError

    def _take(self, servers: S) -> None:
        """Note what they are bound to."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            servers = self._make()
            await servers.start()
            self._take(servers)
        except BaseException as error:  # noqa: BLE001  # raised again by whoever made this
            self._errors.append(error)
            return
        finally:
            self._is_started.set()
        await self._is_stopped.wait()
        await servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it: what was read is carried out and answered, then every connection closes. Twice is fine."""
        try:
            self._loop.call_soon_threadsafe(self._is_stopped.set)
        except RuntimeError:
            pass  # closed already
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()


class ServedInLoop(Generic[L]):
    """What is served in the running loop; await it, or enter it."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, L]]) -> None:
        self._start = start
        self._served: L | None = None

    def __await__(self) -> Generator[Any, None, L]:
        return self._start().__await__()

    async def __aenter__(self) -> L:
        self._served = await self._start()
        return self._served

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._served is not None:
            await self._served.close()
