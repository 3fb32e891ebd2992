"""A client that a transcript directs: a socket, what it was upgraded to, and frames.

It knows no command and answers nothing by itself.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
import warnings
import zlib
from typing import Protocol

from tests.interop.transcripts.snappy import SnappyDecoder, SnappyEncoder

# Versions below 1.2 need the weak algorithms that OpenSSL's default level forbids.
OLD_ALGORITHMS = "DEFAULT:@SECLEVEL=0"
RECEIVE_BYTES = 65536


class Encoder(Protocol):
    """Turns what is sent into what goes over the wire."""

    def encode(self, data: bytes) -> bytes:
        """Compress, and flush."""


class Decoder(Protocol):
    """Turns what comes over the wire into what was sent."""

    def decode(self, data: bytes) -> bytes:
        """Decompress what is complete."""


class DeflateEncoder:
    """Raw deflate, flushed after each call."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def encode(self, data: bytes) -> bytes:
        """Compress, and flush."""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class DeflateDecoder:
    """Raw deflate."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    def decode(self, data: bytes) -> bytes:
        """Decompress what is complete."""
        return self._stream.decompress(data)


CODECS: dict[str, tuple[type[Encoder], type[Decoder]]] = {
    "snappy": (SnappyEncoder, SnappyDecoder),
    "deflate": (DeflateEncoder, DeflateDecoder),
}


def client_context(authority: str, certificate: str = "", newest: str = "") -> ssl.SSLContext:
    """What a client makes its TLS handshake with: PEM files, and the newest version it knows."""
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False  # nsqd's clients connect to addresses
    if certificate:
        context.load_cert_chain(certificate)
    if newest:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # an old version is what is wanted
            context.minimum_version = ssl.TLSVersion.TLSv1_1 if newest == "1.1" else ssl.TLSVersion.TLSv1_2
            context.maximum_version = context.minimum_version
        context.set_ciphers(OLD_ALGORITHMS)
    return context


class Connection:
    """One connection to a server, as the client sees it."""

    def __init__(self, address: tuple[str, int], limit: float) -> None:
        self._socket = socket.create_connection(address, timeout=limit)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encoder: Encoder | None = None
        self._decoder: Decoder | None = None
        self._raw = b""
        self._plain = b""
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}"

    def close(self) -> None:
        """Close, whatever is still on its way."""
        self._socket.close()

    def half_close(self) -> None:
        """Send nothing more."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Send all of these bytes; a server that hangs up meanwhile is found out by who reads."""
        try:
            self._socket.sendall(self._encoder.encode(data) if self._encoder else data)
        except ConnectionError:
            pass

    def start_tls(self, context: ssl.SSLContext, limit: float) -> None:
        """Make the handshake."""
        assert not self._raw, "bytes came before the handshake"
        self._socket.settimeout(limit)
        self._socket = context.wrap_socket(self._socket)

    def start_compression(self, method: str) -> None:
        """Compress what is sent and decompress what is received, from here on."""
        encoder, decoder = CODECS[method]
        self._encoder, self._decoder = encoder(), decoder()

    def read_bytes(self, size: int, deadline: float) -> bytes:
        """Read so many bytes before decompression, or the fewer that came before an end."""
        while len(self._raw) < size and self._receive(deadline):
            pass
        data, self._raw = self._raw[:size], self._raw[size:]
        return data

    def read_until(self, marker: bytes, deadline: float) -> bytes:
        """Read to the end of a marker, or what came before an end."""
        while marker not in self._raw and self._receive(deadline):
            pass
        before, found, self._raw = self._raw.partition(marker)
        return before + found

    def read_frame(self, deadline: float) -> tuple[int, bytes] | None:
        """Read a frame's type and data, None at the end of the connection.

        Raises:
            TimeoutError: If neither has come by then.
        """
        head = self._read_plain(8, deadline)
        if not head:
            return None
        assert len(head) == 8, f"the connection ends in the head of a frame: {head!r}"
        size, frame_type = struct.unpack(">II", head)
        data = self._read_plain(size - 4, deadline)
        assert len(data) == size - 4, f"the connection ends in a frame: {head + data!r}"
        return frame_type, data

    def is_silent(self, deadline: float) -> bool:
        """Tell whether nothing comes until then: no frame, no bytes, no end."""
        while not self._raw and not self._plain:
            if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                return False
            readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return True
            if not isinstance(self._socket, ssl.SSLSocket):
                return False
            self._socket.settimeout(0.0)
            try:
                self._raw += self._socket.recv(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                continue  # only TLS spoke, to itself
            except OSError:
                return False
            return False  # bytes, or the end
        return False

    def _read_plain(self, size: int, deadline: float) -> bytes:
        if self._decoder is None:
            return self.read_bytes(size, deadline)
        while True:
            self._plain += self._decoder.decode(self._raw)
            self._raw = b""
            if len(self._plain) >= size or not self._receive(deadline):
                break
        data, self._plain = self._plain[:size], self._plain[size:]
        return data

    def _receive(self, deadline: float) -> bool:
        """Wait for more, and tell whether there is more."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("nothing came")
        self._socket.settimeout(remaining)
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except (ConnectionResetError, ssl.SSLEOFError):
            return False  # closed while we sent, or without TLS's farewell: nsqd does both
        self._raw += data
        return bool(data)
