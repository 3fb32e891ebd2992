"""Layers of compression: whatever the pieces that arrive, the same plain bytes, and never too many at once."""

import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.compression import Deflate, Layer, LayerError, Snappy, snappy_is_available

KIB = 1024
MIB = 1024 * KIB
STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
OK_FRAME = b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
FIRST_SNAPPY_BYTES = bytes.fromhex("ff060000734e61507059010e00002698 2bcf000000060000 00004f4b")


def deflate() -> Layer:
    """Make a layer of deflate at nsqd's level."""
    return Deflate(6)


MAKERS = pytest.mark.parametrize("make", [deflate, Snappy])


def chunk(kind: int, body: bytes) -> bytes:
    """A chunk of the framing format, right or wrong."""
    return bytes([kind]) + len(body).to_bytes(3, "little") + body


def read_all(layer: Layer, limit: int = 64 * KIB) -> bytes:
    """Everything that can be read now."""
    return b"".join(iter(lambda: layer.read(limit), b""))


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut the data at some places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


@MAKERS
@given(
    bodies=st.lists(st.binary(max_size=300) | st.binary(min_size=1, max_size=8).map(lambda each: each * 20_000)),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=20),
    limit=st.integers(1, 100_000),
)
def test_layer_gives_back_what_was_sent(
    make: Callable[[], Layer], bodies: list[bytes], cuts: list[int], limit: int
) -> None:
    """However the bytes are cut on their way, and however much is read at once, they come out whole."""
    sender, receiver = make(), make()
    wire = b"".join(map(sender.encode, bodies))

    got = bytearray()
    for piece in pieces(wire, cuts):
        receiver.feed(piece)
        while plain := receiver.read(limit):
            assert len(plain) <= limit
            got += plain

    assert bytes(got) == b"".join(bodies)
    assert receiver.buffered_bytes == 0


@MAKERS
def test_layer_works_byte_by_byte(make: Callable[[], Layer]) -> None:
    """One byte at a time is as good as all at once."""
    sender, receiver = make(), make()
    got = b""

    for byte in sender.encode(OK_FRAME) + sender.encode(b"x" * 1000):
        receiver.feed(bytes([byte]))
        got += read_all(receiver)

    assert got == OK_FRAME + b"x" * 1000


@MAKERS
def test_encoded_bytes_are_flushed(make: Callable[[], Layer]) -> None:
    """What was encoded can be read at once, without anything that follows."""
    sender, receiver = make(), make()
    for number in range(100):
        receiver.feed(sender.encode(b"%d" % number))

        assert receiver.read(100) == b"%d" % number
        assert receiver.read(100) == b""


@MAKERS
def test_nothing_is_encoded_as_nothing(make: Callable[[], Layer]) -> None:
    """An empty write puts nothing on the wire, first or later."""
    layer = make()

    assert layer.encode(b"") == b""
    assert layer.encode(b"x")
    assert layer.encode(b"") == b""


@MAKERS
def test_bomb_is_inflated_no_further_than_read(make: Callable[[], Layer]) -> None:
    """A peer that compresses 100 MiB of nothing takes no more memory than what is read at once."""
    sender, receiver = make(), make()
    bomb = b"".join(sender.encode(bytes(MIB)) for _ in range(100))
    total = 0
    tracemalloc.start()
    try:
        for at in range(0, len(bomb), 64 * KIB):
            receiver.feed(bomb[at : at + 64 * KIB])
            while plain := receiver.read(4 * KIB):
                total += len(plain)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert total == 100 * MIB
    assert peak < 512 * KIB


@MAKERS
@given(garbage=st.binary(), tail=st.binary(max_size=20))
def test_garbage_is_refused_or_waits(make: Callable[[], Layer], garbage: bytes, tail: bytes) -> None:
    """Any bytes at all are plain ones, a reason to wait, or a LayerError, and once broken it stays broken."""
    layer = make()
    layer.feed(garbage)
    try:
        read_all(layer)
    except LayerError:
        layer.feed(tail)
        with pytest.raises(LayerError):
            layer.read(1)


def test_garbage_in_deflate_is_refused() -> None:
    """Garbage behind good bytes is an error, and no end."""
    sender, receiver = Deflate(6), Deflate(6)
    receiver.feed(sender.encode(OK_FRAME))

    assert receiver.read(100) == OK_FRAME
    receiver.feed(b"\x07" * 100)
    with pytest.raises(LayerError) as caught:
        receiver.read(100)
    assert not caught.value.is_end


def test_what_came_before_garbage_in_snappy_is_read() -> None:
    """Good chunks are given out before a bad one is complained about."""
    sender, receiver = Snappy(), Snappy()
    receiver.feed(sender.encode(OK_FRAME) + b"\x07" * 100)

    assert receiver.read(100) == OK_FRAME
    with pytest.raises(LayerError):
        receiver.read(100)


def test_deflate_is_raw_and_ends_in_a_sync_flush() -> None:
    """The bytes have no header of zlib's, and end as every reader expects."""
    wire = Deflate(6).encode(OK_FRAME)

    assert zlib.decompressobj(-15).decompress(wire) == OK_FRAME
    assert wire.endswith(b"\x00\x00\xff\xff")


def test_deflate_tells_an_end_from_garbage() -> None:
    """A peer that ends its stream properly is read to the end, and what follows that is dropped."""
    layer = Deflate(6)
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    layer.feed(deflater.compress(b"last words") + deflater.flush() + b"more")

    assert layer.read(4) == b"last"
    assert layer.read(100) == b" words"
    layer.feed(b"still more")
    with pytest.raises(LayerError) as caught:
        layer.read(100)
    assert caught.value.is_end
    assert layer.buffered_bytes == 0


def test_deflate_counts_what_waits() -> None:
    """Bytes that were fed count until they are inflated."""
    layer = Deflate(6)
    wire = Deflate(6).encode(bytes(range(256)) * 400)
    layer.feed(wire)

    assert layer.buffered_bytes == len(wire)
    read_all(layer)
    assert layer.buffered_bytes == 0


def test_snappy_is_nsqs_to_the_byte() -> None:
    """The first bytes a client sees are those that nsqd sends."""
    layer = Snappy()

    assert layer.encode(OK_FRAME) == FIRST_SNAPPY_BYTES
    assert layer.encode(OK_FRAME) == FIRST_SNAPPY_BYTES[len(STREAM_IDENTIFIER) :]


def test_snappy_chunks_stay_in_their_limit() -> None:
    """No chunk holds more than 64 KiB in plain, which readers refuse."""
    layer, wire = Snappy(), Snappy().encode(bytes(200_000))
    at, counts = len(STREAM_IDENTIFIER), []
    while at < len(wire):
        end = at + 4 + int.from_bytes(wire[at + 1 : at + 4], "little")
        layer.feed(wire[at:end] if counts else STREAM_IDENTIFIER + wire[at:end])
        counts.append(len(read_all(layer)))
        at = end

    assert counts == [65536, 65536, 65536, 3392]


@pytest.mark.parametrize(
    "wire",
    [
        chunk(1, b"\x00\x00\x00\x00abc"),  # no stream identifier before it
        chunk(0x80, b"abc"),
        chunk(0xFF, b"sNaPpX"),
        chunk(0xFF, b"sNaPp"),
        chunk(0xFF, b"sNaPpY!"),
        STREAM_IDENTIFIER + chunk(1, b"\x00\x00\x00\x00abc"),  # wrong checksum
        STREAM_IDENTIFIER + chunk(1, b"abc"),  # no checksum
        STREAM_IDENTIFIER + chunk(0, b"\x00\x00\x00\x00\xff\xff\xff\xff\x0f0"),  # says it holds 4 GiB
        STREAM_IDENTIFIER + b"\x00\xff\xff\xff",
        STREAM_IDENTIFIER + b"\x00\xef\x2a\x01",  # one byte more than snappy can make of 64 KiB
        STREAM_IDENTIFIER + b"\x01\x05\x00\x01",  # one byte more than 64 KiB and a checksum
        STREAM_IDENTIFIER + b"\x02\x00\x00\x00",  # reserved, and not to be skipped
        STREAM_IDENTIFIER + b"\x7f\x00\x00\x00",
        STREAM_IDENTIFIER + chunk(0xFF, b"SnApPy"),
    ],
)
def test_snappy_refuses_a_bad_chunk(wire: bytes) -> None:
    """A chunk that cannot be is refused as soon as it shows, by its header if that is enough."""
    layer = Snappy()
    layer.feed(wire)

    with pytest.raises(LayerError) as caught:
        layer.read(100)

    assert not caught.value.is_end


def test_snappy_passes_over_what_may_be_skipped() -> None:
    """Padding, unknown chunks that allow it, repeated identifiers and empty chunks change nothing."""
    layer = Snappy()
    data = FIRST_SNAPPY_BYTES[len(STREAM_IDENTIFIER) :]
    empty = chunk(1, b"\xd8\xea\x82\xa2")
    extra = [chunk(0xFE, bytes(1000)), chunk(0x80, b"x"), chunk(0xFD, b""), STREAM_IDENTIFIER, empty]

    layer.feed(STREAM_IDENTIFIER + b"".join(each + data for each in extra))

    assert read_all(layer) == OK_FRAME * len(extra)


def test_snappy_keeps_nothing_of_what_it_skips() -> None:
    """16 MiB of padding are dropped as they arrive."""
    layer = Snappy()
    layer.feed(STREAM_IDENTIFIER + b"\xfe\xff\xff\xff")
    for _ in range(255):
        layer.feed(bytes(64 * KIB))

        assert layer.read(100) == b""
        assert layer.buffered_bytes == 0

    layer.feed(bytes(64 * KIB - 1) + FIRST_SNAPPY_BYTES)
    assert layer.read(100) == OK_FRAME


def test_snappy_is_available_with_its_library() -> None:
    """The tests bring the library, so it is."""
    assert snappy_is_available()
