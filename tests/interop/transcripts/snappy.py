"""Snappy's framing format, as short as it can be: for clients in tests, never for speed.

What is sent is not compressed, only framed; what is received may be compressed.
"""

from __future__ import annotations

import struct

STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
COMPRESSED, UNCOMPRESSED, IDENTIFIER = 0x00, 0x01, 0xFF
CRC32C_POLYNOMIAL = 0x82F63B78
MAX_CHUNK_BYTES = 65536


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (CRC32C_POLYNOMIAL if value & 1 else 0)  # noqa: PLW2901  # it is shifted out
        table.append(value)
    return table


CRC32C_TABLE = _table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C, rotated and shifted as the framing format wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: bytes) -> tuple[int, int]:
    """Read a little-endian base-128 number: itself, and where it ends."""
    value = at = 0
    while True:
        value |= (data[at] & 0x7F) << (7 * at)
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def uncompress(block: bytes) -> bytes:
    """Undo raw Snappy: literals, and copies from what is there already."""
    size, at = _varint(block)
    out = bytearray()
    while at < len(block):
        tag, kind = block[at], block[at] & 3
        at += 1
        if kind == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(block[at : at + extra], "little")
                at += extra
            out += block[at : at + length + 1]
            at += length + 1
            continue
        width = (1, 2, 4)[kind - 1]
        length = 4 + (tag >> 2 & 7) if kind == 1 else 1 + (tag >> 2)
        offset = int.from_bytes(block[at : at + width], "little") | (tag >> 5 << 8 if kind == 1 else 0)
        at += width
        for _ in range(length):
            out.append(out[-offset])
    assert len(out) == size, "a block does not have the size that it tells"
    return bytes(out)


class SnappyEncoder:
    """Frames bytes, each call into chunks of their own."""

    def __init__(self) -> None:
        self._has_begun = False

    def encode(self, data: bytes) -> bytes:
        """Frame bytes, after the stream identifier if they are the first."""
        out = b"" if self._has_begun else STREAM_IDENTIFIER
        self._has_begun = True
        for start in range(0, len(data), MAX_CHUNK_BYTES):
            chunk = data[start : start + MAX_CHUNK_BYTES]
            head = struct.pack("<I", UNCOMPRESSED | (len(chunk) + 4) << 8)
            out += head + struct.pack("<I", masked_crc32c(chunk)) + chunk
        return out


class SnappyDecoder:
    """Undoes framing and compression of bytes that arrive in any pieces."""

    def __init__(self) -> None:
        self._buffer = b""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes complete."""
        self._buffer += data
        out = b""
        while len(self._buffer) >= 4:
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:4], "little")
            if len(self._buffer) < 4 + size:
                break
            chunk, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
            if kind == IDENTIFIER:
                assert chunk == STREAM_IDENTIFIER[4:]
                continue
            assert kind in {COMPRESSED, UNCOMPRESSED}, f"a chunk of unknown kind {kind}"
            plain = uncompress(chunk[4:]) if kind == COMPRESSED else chunk[4:]
            assert struct.unpack("<I", chunk[:4])[0] == masked_crc32c(plain), "a chunk's checksum is wrong"
            out += plain
        return out
