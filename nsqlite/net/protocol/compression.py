"""Deflate and snappy as layers: bytes from the socket in, plain bytes out, and the other way round.

Pure. A layer never makes more plain bytes than it is asked for (snappy: than one chunk of
64 KiB), so a peer's bomb costs it time on the wire and nobody memory. `nsqlite.net.tls` has
the third layer.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections import deque
from typing import Final, Protocol

from nsqlite.errors import NsqliteError

RAW_WINDOW_BITS: Final = -15  # deflate without the header and checksum of zlib
# Input goes to zlib in pieces, since it copies what it does not use of a piece at each read.
PIECE_BYTES: Final = 16 * 1024

# Snappy's framing format: one byte of type, three of length (little-endian), then the chunk.
STREAM_IDENTIFIER: Final = b"\xff\x06\x00\x00sNaPpY"
HEADER_BYTES: Final = 4
CHECKSUM_BYTES: Final = 4
COMPRESSED: Final = 0x00
UNCOMPRESSED: Final = 0x01
FIRST_SKIPPABLE: Final = 0x80
IDENTIFIER: Final = 0xFF
MAX_PLAIN_BYTES: Final = 64 * 1024
MAX_COMPRESSED_BYTES: Final = 32 + MAX_PLAIN_BYTES + MAX_PLAIN_BYTES // 6  # what snappy can make of that at worst


class LayerError(NsqliteError):
    """What arrived is not what the layer speaks, or the peer has ended it.

    Nothing more can be read; what was read before stands.

    Attributes:
        is_end: Whether the peer ended the layer as it should be ended.
    """

    def __init__(self, why: str, *, is_end: bool = False) -> None:
        self.is_end = is_end
        super().__init__(why)


class Layer(Protocol):
    """What lies between a socket and the protocol. Belongs to one connection and one thread."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed, or made of what was fed, and not read."""

    def feed(self, data: bytes) -> None:
        """Take what arrived. Keeps it until it is read: who feeds without reading holds it all."""

    def read(self, limit: int) -> bytes:
        """From 1 up to `limit` plain bytes; b"" when more must arrive.

        Raises:
            LayerError: Garbage, or the end.
        """

    def encode(self, data: bytes) -> bytes:
        """What is to be sent for these plain bytes, flushed: the peer can read all of them."""


class Deflate:
    """Raw deflate, with a sync flush behind everything that is sent.

    Holds some 300 KiB for zlib's windows and tables, beside what was fed and not read.
    """

    def __init__(self, level: int) -> None:
        """Take a level from 1, fast, to 9, small."""
        self._deflater = zlib.compressobj(level, zlib.DEFLATED, RAW_WINDOW_BITS)
        self._inflater = zlib.decompressobj(RAW_WINDOW_BITS)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._may_hold_more = False  # zlib stopped at a limit, perhaps with plain bytes still inside

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and not inflated."""
        return self._waiting_bytes

    def feed(self, data: bytes) -> None:
        """Take what arrived; nothing behind the end of the stream."""
        if self._inflater.eof:
            return
        for at in range(0, len(data), PIECE_BYTES):
            self._waiting.append(data[at : at + PIECE_BYTES])
        self._waiting_bytes += len(data)

    def read(self, limit: int) -> bytes:
        """Up to `limit` plain bytes; b"" when more must arrive.

        Raises:
            LayerError: It is no deflate, or the peer has ended its stream. zlib keeps back
                what came shortly before garbage.
        """
        assert limit > 0, "zlib takes 0 for no limit"
        while self._waiting or self._may_hold_more:
            if plain := self._inflate(limit):
                return plain
        if self._inflater.eof:
            raise LayerError("the peer has ended the deflate stream", is_end=True)
        return b""

    def _inflate(self, limit: int) -> bytes:
        inflater = self._inflater
        piece = self._waiting.popleft() if self._waiting else b""
        try:
            plain = inflater.decompress(piece, limit)
        except zlib.error as error:
            self._waiting.appendleft(piece)  # the next read fails, too
            raise LayerError(f"not deflate: {error}") from error
        rest = inflater.unconsumed_tail
        self._waiting_bytes -= len(piece) - len(rest)
        self._may_hold_more = len(plain) == limit
        if rest:
            self._waiting.appendleft(rest)
        if inflater.eof:
            self._waiting.clear()
            self._waiting_bytes, self._may_hold_more = 0, False
        return plain

    def encode(self, data: bytes) -> bytes:
        """Compress and flush; nothing for nothing."""
        if not data:
            return b""
        return self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)


class Snappy:
    """Snappy's framing format. Holds at most one chunk of input and one of output beside what was fed.

    Chunks are cut out here, because the library would wait for 16 MiB if a header says so;
    it then reads each of them, sizes and checksum included. Stateless calls cost 2.7 us more
    for a small chunk than the library's compressor objects, which keep 140 KiB for each connection.
    """

    def __init__(self) -> None:
        """Load the library.

        Raises:
            ImportError: It is not installed; see `snappy_is_available`.
        """
        from cramjam import DecompressionError, snappy

        self._library = snappy
        self._library_error = DecompressionError
        self._arrived = bytearray()
        self._skipping_bytes = 0  # of a chunk that nobody needs, still to come
        self._plain = b""
        self._plain_at = 0
        self._is_begun = False
        self._is_answered = False

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and not decoded, and plain ones that were not read."""
        return len(self._arrived) + len(self._plain) - self._plain_at

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._arrived += data

    def read(self, limit: int) -> bytes:
        """Up to `limit` plain bytes; b"" when more must arrive.

        Raises:
            LayerError: It is not the framing format, or a checksum is wrong.
        """
        assert limit > 0, "nothing was asked for"
        while self._plain_at == len(self._plain):
            chunk = self._next_chunk()
            if chunk is None:
                return b""
            self._plain, self._plain_at = self._decoded(chunk), 0
        data = self._plain[self._plain_at : self._plain_at + limit]
        self._plain_at += len(data)
        if self._plain_at == len(self._plain):
            self._plain, self._plain_at = b"", 0
        return data

    def _next_chunk(self) -> bytes | None:
        """Cut out a whole chunk of data, past all others; None if it is not all here."""
        arrived = self._arrived
        while self._skip() and len(arrived) >= HEADER_BYTES:
            kind = arrived[0]
            size_bytes = int.from_bytes(arrived[1:HEADER_BYTES], "little")
            self._check(kind, size_bytes)
            if FIRST_SKIPPABLE <= kind < IDENTIFIER:
                self._skipping_bytes = HEADER_BYTES + size_bytes
                continue
            end = HEADER_BYTES + size_bytes
            if len(arrived) < end:
                return None
            chunk = bytes(arrived[:end])
            del arrived[:end]
            if kind != IDENTIFIER:
                return chunk
            if chunk != STREAM_IDENTIFIER:
                raise LayerError("not snappy: another stream identifier")
            self._is_begun = True
        return None

    def _skip(self) -> bool:
        """Drop what is here of a chunk to be skipped; whether that was all of it."""
        dropped = min(self._skipping_bytes, len(self._arrived))
        del self._arrived[:dropped]
        self._skipping_bytes -= dropped
        return not self._skipping_bytes

    def _check(self, kind: int, size_bytes: int) -> None:
        """Refuse a chunk by its header, before a byte of it is waited for."""
        if not self._is_begun and kind != IDENTIFIER:
            raise LayerError("not snappy: no stream identifier")
        if UNCOMPRESSED < kind < FIRST_SKIPPABLE:
            raise LayerError(f"not snappy: reserved chunk type {kind}")
        limit = {
            COMPRESSED: CHECKSUM_BYTES + MAX_COMPRESSED_BYTES,
            UNCOMPRESSED: CHECKSUM_BYTES + MAX_PLAIN_BYTES,
            IDENTIFIER: len(STREAM_IDENTIFIER) - HEADER_BYTES,
        }.get(kind)
        if limit is not None and size_bytes > limit:
            raise LayerError(f"not snappy: a chunk of {size_bytes} bytes")

    def _decoded(self, chunk: bytes) -> bytes:
        try:
            return bytes(self._library.decompress(STREAM_IDENTIFIER + chunk))
        except self._library_error as error:
            raise LayerError(f"not snappy: {error}") from error

    def encode(self, data: bytes) -> bytes:
        """Compress into chunks of up to 64 KiB, behind the stream identifier the first time; nothing for nothing."""
        if not data:
            return b""
        framed = bytes(self._library.compress(data))
        if not self._is_answered:
            self._is_answered = True
            return framed
        return framed[len(STREAM_IDENTIFIER) :]


def snappy_is_available() -> bool:
    """Whether the library for `Snappy` is installed."""
    return importlib.util.find_spec("cramjam") is not None
