"""A node in memory as a peer: its listener on real sockets, its time virtual."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

import nsqlite
import nsqlite.net
from tests.interop.transcripts.auth_server import AuthServer, auth_server
from tests.interop.transcripts.certificates import Certificates
from tests.interop.transcripts.steps import Server
from tests.interop.transcripts.timing import LIMIT_SECONDS, VirtualTime

LOOPBACK = "127.0.0.1:0"
NODE_OPTIONS = {field.name for field in attrs.fields(nsqlite.Options)}
# The answer to a wrong magic, from which no option keeps a server.
WRONG_MAGIC, BAD_PROTOCOL = b"  ??", b"\x00\x00\x00\x12\x00\x00\x00\x01E_BAD_PROTOCOL"


class NodePeer:
    """A node and its listener. See player.Peer."""

    name = "node"

    def __init__(
        self,
        node: nsqlite.Node,
        listener: nsqlite.net.Listener,
        clock: nsqlite.VirtualClock,
        auth: AuthServer | None,
        certificates: Certificates,
    ) -> None:
        self.address = listener.tcp_address
        self.http_address: tuple[str, int] = listener.http_address
        self.https_address: tuple[str, int] | None = listener.https_address or None
        self.time = VirtualTime(clock, self.settle)
        self.auth = auth
        self.certificates = certificates
        self._node = node

    def stats(self) -> dict[str, Any]:
        """See player.Peer."""
        found: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self._node.stats())))  # lists, as in JSON
        return found

    def manage(self, action: str, topic: str, channel: str) -> None:
        """See player.Peer."""
        if action != "delete":
            of_node = self._node.topic(topic)
            getattr(of_node.channel(channel) if channel else of_node, action)()
        elif channel:
            self._node.topic(topic).delete_channel(channel)
        else:
            self._node.delete_topic(topic)

    def settle(self) -> None:
        """Return when the node has handled what it was sent before.

        It answers connections in the order in which they speak, within one round of its loop;
        a second round is for what the first one set off, a third for good measure.
        """
        for _ in range(3):
            with socket.create_connection(self.address, timeout=LIMIT_SECONDS) as probe:
                probe.sendall(WRONG_MAGIC)
                answer = b""
                while data := probe.recv(64):
                    answer += data
            assert answer == BAD_PROTOCOL


@contextmanager
def node_peer(server: Server, certificates: Certificates) -> Iterator[NodePeer]:
    """Open a node in memory, and listen."""
    clock = nsqlite.VirtualClock()
    node_options = {name: value for name, value in server.options if name in NODE_OPTIONS}
    options = {name: value for name, value in server.options if name not in NODE_OPTIONS}
    options |= {"tcp_address": LOOPBACK, "http_address": LOOPBACK}
    with ExitStack() as stack:
        auth = stack.enter_context(auth_server()) if server.has_auth else None
        if auth is not None:
            options["auth_http_addresses"] = (auth.address,)
        if server.has_tls:
            options["tls_cert"], options["tls_key"] = certificates.server, certificates.server_key
            options["tls_root_ca_file"] = certificates.authority
            options["https_address"] = LOOPBACK
        node = stack.enter_context(nsqlite.open(None, clock=clock, **node_options))
        listener = stack.enter_context(nsqlite.net.listen(node, **options))
        yield NodePeer(node, listener, clock, auth, certificates)
        node.check()
