"""A node's listener as a test has it: the product's own, in a thread, that meets faults and can be killed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from nsqlite.engine import Engine
from nsqlite.net.listener import new_loop
from nsqlite.net.nsqd import Nsqd
from nsqlite.net.options import ListenerOptions
from nsqlite.testing.addresses import Address
from nsqlite.testing.faults import Faults
from nsqlite.testing.faulty_peer import ANSWER_SECONDS, FaultyPeer, sever
from nsqlite.testing.loop_thread import LoopThread

if TYPE_CHECKING:
    from nsqlite.net.http_api.servers import HttpServers


class FaultyNsqd(Nsqd):
    """A listener whose clients meet faults."""

    def __init__(self, engine: Engine, options: ListenerOptions, faults: Faults) -> None:
        super().__init__(engine, options)
        self._faults = faults
        self.tcp.peer_type = partial(FaultyPeer, faults)

    def _make_http_servers(self) -> HttpServers:
        from nsqlite.testing.faulty_http import FaultyHttpServers  # brings aiohttp

        return FaultyHttpServers(self, self._faults)

    def peers(self) -> list[FaultyPeer]:
        """All connections of NSQ's protocol."""
        return [each for each in self.tcp._peers if isinstance(each, FaultyPeer)]

    def reset_all(self) -> None:
        """End all connections by resets."""
        for peer in self.peers():
            peer.reset()
        for server in (self.http, self.https):
            for each in [] if server is None else list(server._connections):
                sever(each.transport)

    def cut_all(self) -> None:
        """Let go of all connections as the system does for a process that is gone.

        What was not sent is not sent any more, and the client reads the end; a reset if it had sent something that
        was not read.
        """
        for peer in self.peers():
            peer.give_up()
        for server in (self.http, self.https):
            for each in [] if server is None else list(server._connections):
                if each.transport is not None:
                    each.transport.abort()

    def revive_all(self) -> None:
        """Let all connections begin anew to wait for signs of life."""
        for peer in self.peers():
            peer.revive()

    async def stop(self) -> None:
        """End as a daemon that is told to: what was read is carried out and answered."""
        self._faults.end_pauses(goes_on=True)
        await self.close()

    async def kill(self) -> None:
        """End as a daemon that is killed: nothing more is carried out, every connection is gone."""
        self.tcp._is_closing = True  # who connects at this moment is let go
        self._faults.end_pauses(goes_on=False)
        self.cut_all()
        await self.close()


class Server:
    """A running listener.

    Attributes:
        thread: Where it runs.
        nsqd: It; touched in that thread only.
        tcp_address: Where clients connect.
        http_address: Where the HTTP API is.
        https_address: The same over TLS.
    """

    def __init__(self, engine: Engine, options: ListenerOptions, faults: Faults) -> None:
        """Serve.

        Raises:
            InvalidOptionError: A certificate cannot be used, or a library is missing.
            ListenError: An address cannot be had.
        """
        self.thread = LoopThread(new_loop(options), "nsqlite-testing-nsqd")
        try:
            self.nsqd = self.thread.run(_start(engine, options, faults))
        except BaseException:
            self.thread.close()
            raise
        self.tcp_address = Address.of(self.nsqd.tcp.address)
        self.http_address = Address.of(self.nsqd.http_address)
        self.https_address = Address.of(self.nsqd.https_address)

    def reset(self, client: str | int | None = None) -> None:
        """End connections of NSQ's protocol by resets: all, and those of HTTP; or those of one client."""

        def work() -> None:
            if client is None:
                self.nsqd.reset_all()
            for peer in self.nsqd.peers():
                if client in (peer.agreement.client_id, peer.number):
                    peer.reset()

        self.thread.call(work)

    def wait_for_answers(self, in_ns: int) -> None:
        """Before time jumps so far: give clients that owe an answer to a heartbeat, and would die, a moment for it."""
        self.thread.run(self._wait_for_answers(in_ns))

    async def _wait_for_answers(self, in_ns: int) -> None:
        answers = [each.answer() for each in self.nsqd.peers() if each.would_die(in_ns)]
        if answers:
            await asyncio.wait(answers, timeout=ANSWER_SECONDS)

    def spare(self, in_ns: int, turned_at: float) -> None:
        """The same for who cannot wait: clients that had no such moment yet live on. See FaultyPeer.spare."""

        def work() -> None:
            for each in self.nsqd.peers():
                each.spare(in_ns, turned_at)

        self.thread.call(work)

    def revive(self) -> None:
        """Let all connections begin anew to wait for signs of life."""
        self.thread.call(self.nsqd.revive_all)

    def stop(self, *, is_killed: bool) -> None:
        """End it, and its thread."""
        try:
            self.thread.run(self.nsqd.kill() if is_killed else self.nsqd.stop())
        finally:
            self.thread.close()


async def _start(engine: Engine, options: ListenerOptions, faults: Faults) -> FaultyNsqd:
    nsqd = FaultyNsqd(engine, options, faults)
    await nsqd.start()
    return nsqd
