"""A node that registers at scripted nsqlookupds, in the test's own loop and on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

import nsqlite
from nsqlite.net.lookup import LookupPeers
from nsqlite.net.options import ListenerOptions
from nsqlite.net.tcp_server import TcpServer
from tests.fakes.lookupd import Conversation, ScriptedLookupd, settle


@attrs.define
class LookupRig:
    """A node, its TCP server, and its registration.

    Attributes:
        lookup: As a listener has it.
    """

    node: nsqlite.Node
    clock: nsqlite.VirtualClock
    server: TcpServer
    lookup: LookupPeers

    async def meet(self, lookupd: ScriptedLookupd, *lines: str) -> Conversation:
        """Its next connection at an nsqlookupd, where it identifies itself and says these lines."""
        conversation = await lookupd.identified()
        await conversation.hear(*lines)
        return conversation


@asynccontextmanager
async def registered(
    *lookupds: ScriptedLookupd, node: nsqlite.Node | None = None, http_port: int = 4151, **options: Any
) -> AsyncIterator[LookupRig]:
    """Let a node, in memory unless there is one, register, and end sound."""
    made = node or nsqlite.open(clock=nsqlite.VirtualClock())
    clock = made.engine.clock
    assert isinstance(clock, nsqlite.VirtualClock)
    addresses = [lookupd.address for lookupd in lookupds]
    told = {"nsqlookupd_tcp_addresses": addresses, "http_address": "127.0.0.1:0"}  # which nobody binds here
    given = ListenerOptions(tcp_address="127.0.0.1:0", **told | options)
    server = TcpServer(made.engine, given)
    await server.start()
    assert isinstance(server.address, tuple)
    lookup = LookupPeers(made.engine, server.door, given, tcp_port=server.address[1], http_port=http_port)
    server.topics.lookup = lookup
    lookup.start()
    try:
        yield LookupRig(made, clock, server, lookup)
        if made.engine.state.value == "open":
            made.check()
    finally:
        await lookup.close()
        await lookup.close()
        await server.close()
        await settle()
        assert made.engine.watchers == []
        made.close()
