"""From clear text to what IDENTIFY agreed on: TLS first, then compression inside it, each answered with an OK."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nsqlite.clock import Handle
from nsqlite.net.protocol import wire
from nsqlite.net.protocol.compression import Deflate, LayerError, Snappy
from nsqlite.net.protocol.errors import IdentifyFailedError
from nsqlite.net.tls import TlsLayer
from nsqlite.options import SECOND_NS

if TYPE_CHECKING:
    from nsqlite.net.peer import Peer
    from nsqlite.net.tls import TlsDescription

HANDSHAKE_SECONDS: Final = 5
log: Final = logging.getLogger("nsqlite")


class Upgrade:
    """One connection's change; the peer's commands wait for it."""

    __slots__ = ("_alarm", "_done", "_peer", "_tls")

    def __init__(self, peer: Peer, done: Callable[[TlsDescription | None], None]) -> None:
        self._peer = peer
        self._done = done
        self._tls: TlsLayer | None = None
        self._alarm: Handle | None = None
        peer.hold()
        if peer.agreement.tls:
            assert peer.server.tls is not None, "TLS is not agreed on without a certificate"
            self._tls = TlsLayer(peer.server.tls)
            peer.layers.add(self._tls)
            at_ns = peer.clock.monotonic_ns() + HANDSHAKE_SECONDS * SECOND_NS
            self._alarm = peer.clock.call_at(peer.loop, at_ns, self._late)

    def proceed(self) -> None:
        """Go on with what has arrived."""
        tls = self._tls
        if tls is None:
            self._compress(None)
            return
        try:
            is_done = tls.handshake()
        except LayerError as error:
            self._peer.transport.write(tls.outgoing())  # the alert, for a client that does speak TLS
            self._refuse(str(error))
            return
        if outgoing := tls.outgoing():
            self._peer.transport.write(outgoing)
        if is_done:
            self.stop()
            self._peer.reply(wire.OK)
            self._peer.outgoing.flush()
            self._compress(tls.describe())

    def _compress(self, description: TlsDescription | None) -> None:
        peer = self._peer
        if peer.agreement.snappy or peer.agreement.deflate:
            peer.layers.add(Snappy() if peer.agreement.snappy else Deflate(peer.agreement.deflate_level))
            peer.reply(wire.OK)
            peer.outgoing.flush()
        self._done(description)
        peer.release()

    def _late(self) -> None:
        self._refuse(f"no handshake within {HANDSHAKE_SECONDS} s")

    def _refuse(self, why: str) -> None:
        """In clear text, as nsqd does."""
        log.debug("%s: no TLS: %s", self._peer.remote_address, why, extra={"event": "handshake_failed"})
        self.stop()
        self._peer.layers.clear()
        self._peer.refuse(IdentifyFailedError(f"IDENTIFY failed {why}"))

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
