"""The body of an MPUB, found message by message as it arrives.

    u32 count, then for each message: u32 size, body

As in nsqd the sizes inside decide where it ends, not the one in front.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from nsqlite.net.protocol.commands import Limits
from nsqlite.net.protocol.errors import BadBodyError, BadMessageError
from nsqlite.run import has_stride

_COUNT: Final = struct.Struct(">i")
_SIZE_BYTES: Final = 4
BLOCK: Final = 256
WORTH_COMPARING: Final = 6  # fewer messages are read sooner than they are found to be alike


@lru_cache(maxsize=32)
def _block(size: int, count: int) -> struct.Struct:
    """So many messages of one size. Clients send the same again and again, and making it costs as much as using it."""
    return struct.Struct(f"4x{size}s" * count)


class Batch:
    """One MPUB on its way in. Holds nothing of it, so that half a batch costs its bytes and no more.

    Attributes:
        size_bytes: What it took, once it is complete.
    """

    __slots__ = ("_alike", "_is_mixed", "_limits", "_position", "_seen", "count", "size_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.count = 0
        self.size_bytes = 0
        self._position = _SIZE_BYTES  # of the next message's size
        self._seen = 0  # messages in front of that
        self._alike = 0  # messages at the front that are found to be alike
        self._is_mixed = False

    def read(self, data: bytes | bytearray, start: int) -> list[bytes] | None:
        """The bodies, if all of the batch is in `data` from `start` on; None if more must arrive.

        May be called again with the same bytes and more behind them; what was looked at
        is not looked at again. Costs 40 ns a message when all are alike (benchmarks/net).

        Raises:
            BadBodyError, BadMessageError: As soon as the bytes that show it are there.
        """
        if not self.count and not self._read_count(data, start):
            return None
        if not self._is_mixed and self.count >= WORTH_COMPARING:
            stride = self._stride(data, start)
            if stride:
                return self._cut(data, start, stride)
            if stride is None:
                return None
            self._is_mixed = True
        return self._read_each(data, start)

    def _read_count(self, data: bytes | bytearray, start: int) -> bool:
        if len(data) - start < _SIZE_BYTES:
            return False
        (count,) = _COUNT.unpack_from(data, start)
        if count <= 0 or count > (self._limits.max_body_size - _SIZE_BYTES) // (_SIZE_BYTES + 1):
            raise BadBodyError(f"MPUB invalid message count {count}")
        self.count = count
        return True

    def _stride(self, data: bytes | bytearray, start: int) -> int | None:
        """Bytes from message to message if all that is here are alike; 0 if not, None if more must arrive."""
        at = start + _SIZE_BYTES
        here = len(data) - at
        if here < _SIZE_BYTES:
            return None
        size = self._size(data, at, 0)
        stride = size + _SIZE_BYTES
        whole = min(self.count, here // stride)
        if self.count * stride + _SIZE_BYTES > self._limits.max_body_size:
            return 0
        if not has_stride(data, stride, whole - self._alike, at + self._alike * stride):
            return 0
        self._alike = whole
        if whole == self.count:
            return stride
        return None if self._next_is_alike(data, at + whole * stride, size) else 0

    def _next_is_alike(self, data: bytes | bytearray, at: int, size: int) -> bool:
        """Whether the message that is not whole yet may be as large as those before it."""
        return len(data) - at < _SIZE_BYTES or _COUNT.unpack_from(data, at)[0] == size

    def _cut(self, data: bytes | bytearray, start: int, stride: int) -> list[bytes]:
        """Bodies that are all alike: C cuts out BLOCK of them at a time."""
        at = start + _SIZE_BYTES
        self.size_bytes = _SIZE_BYTES + self.count * stride
        bodies: list[bytes] = []
        for first in range(0, self.count, BLOCK):
            count = min(BLOCK, self.count - first)
            bodies += _block(stride - _SIZE_BYTES, count).unpack_from(data, at + first * stride)
        return bodies

    def _read_each(self, data: bytes | bytearray, start: int) -> list[bytes] | None:
        is_first_look = not self._seen
        bodies: list[bytes] = []
        end = len(data)
        while self._seen < self.count:
            at = start + self._position
            if end - at < _SIZE_BYTES:
                return None
            size = self._size(data, at, self._seen)
            if end - at - _SIZE_BYTES < size:
                return None
            body = data[at + _SIZE_BYTES : at + _SIZE_BYTES + size]
            bodies.append(body if type(body) is bytes else bytes(body))
            self._position += _SIZE_BYTES + size
            self._seen += 1
        self.size_bytes = self._position
        return bodies if is_first_look else self._cut_each(data, start)

    def _cut_each(self, data: bytes | bytearray, start: int) -> list[bytes]:
        """Bodies of all sizes, which were looked at when they came."""
        view = memoryview(data)
        bodies: list[bytes] = []
        at = start + _SIZE_BYTES
        for _ in range(self.count):
            size = _COUNT.unpack_from(data, at)[0]
            bodies.append(bytes(view[at + _SIZE_BYTES : at + _SIZE_BYTES + size]))
            at += _SIZE_BYTES + size
        return bodies

    def _size(self, data: bytes | bytearray, at: int, index: int) -> int:
        """The size of message `index`, checked before a byte of it is waited for."""
        (size,) = _COUNT.unpack_from(data, at)
        if size <= 0:
            raise BadMessageError(f"MPUB invalid message({index}) body size {size}")
        if size > self._limits.max_msg_size:
            raise BadMessageError(f"MPUB message too big {size} > {self._limits.max_msg_size}")
        limit = self._limits.max_body_size
        if self._position + _SIZE_BYTES + size > limit:  # nsqd would go on for ever: count times max_msg_size
            raise BadBodyError(f"MPUB body too big {self._position + _SIZE_BYTES + size} > {limit}")
        return int(size)

    def missing(self, data: bytes | bytearray, start: int) -> BadBodyError | BadMessageError:
        """What to say when nothing more will arrive."""
        if not self.count:
            return BadBodyError("MPUB failed to read message count")
        self._read_each(data, start)
        index = self._seen
        if len(data) - start - self._position < _SIZE_BYTES:
            return BadMessageError(f"MPUB failed to read message({index}) body size")
        return BadMessageError("MPUB failed to read message body")
