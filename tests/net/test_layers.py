"""Layers lie on one another: what goes in at the top comes out at the top of the other side."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsqlite.net.layers import Layers
from nsqlite.net.protocol.compression import Deflate, LayerError, Snappy

STACKS = {
    "deflate": (lambda: Deflate(6),),
    "snappy": (Snappy,),
    "snappy in deflate": (lambda: Deflate(6), Snappy),
    "deflate in snappy": (Snappy, lambda: Deflate(6)),
}


def stacked(name: str) -> Layers:
    """Layers of a stack, the one next to the socket first."""
    layers = Layers()
    for make in STACKS[name]:
        layers.add(make())
    return layers


def read_all(layers: Layers, limit: int = 1 << 16) -> bytes:
    """All plain bytes that are there."""
    found = b""
    while data := layers.read(limit):
        assert len(data) <= max(limit, 1 << 16)
        found += data
    return found


def test_layers_begin_with_none() -> None:
    """Without a layer there is nothing in between, and nothing held."""
    layers = Layers()

    assert not layers
    assert layers.buffered_bytes == 0
    assert layers.encode(b"plain") == b"plain"


@pytest.mark.parametrize("name", STACKS)
def test_layers_carry_bytes_both_ways(name: str) -> None:
    """Either side reads what the other one wrote, again and again."""
    one, other = stacked(name), stacked(name)

    for body in (b"a", b"b" * 300_000, bytes(range(256)) * 100):
        other.feed(one.encode(body))
        one.feed(other.encode(body[::-1]))

        assert read_all(other) == body
        assert read_all(one) == body[::-1]


def test_last_layer_added_is_encoded_first() -> None:
    """What is next to the socket wraps what was added later."""
    body = b"x" * 1000

    encoded = stacked("snappy in deflate").encode(body)

    assert encoded == Deflate(6).encode(Snappy().encode(body))


@pytest.mark.parametrize("name", STACKS)
@settings(max_examples=40)
@given(data=st.data(), body=st.binary(min_size=1, max_size=2000), limit=st.integers(1, 300))
def test_layers_do_not_mind_how_bytes_are_cut(name: str, data: st.DataObject, body: bytes, limit: int) -> None:
    """Whatever pieces arrive and however little is read at once, the bytes are the same."""
    encoded, layers = stacked(name).encode(body), stacked(name)
    found = b""
    while encoded:
        size = data.draw(st.integers(1, len(encoded)))
        layers.feed(encoded[:size])
        encoded = encoded[size:]

        found += read_all(layers, limit)

    assert found == body


@pytest.mark.parametrize("name", STACKS)
def test_read_makes_no_more_than_it_is_asked_for(name: str) -> None:
    """What unpacks to much does so as it is read, and counts as little until then."""
    layers = stacked(name)
    encoded = stacked(name).encode(b"\0" * 10_000_000)
    layers.feed(encoded)

    first = layers.read(1000)

    assert 0 < len(first) <= 64 * 1024
    assert layers.buffered_bytes <= len(encoded) + 64 * 1024


def test_buffered_bytes_are_those_of_all_layers() -> None:
    """What arrived and was not read is known, whichever layer has it, and is nothing once all was read."""
    layers = stacked("deflate in snappy")
    layers.feed(stacked("deflate in snappy").encode(b"x" * 100_000))

    assert layers.buffered_bytes > 0
    assert len(read_all(layers)) == 100_000
    assert layers.buffered_bytes == 0


def test_half_of_what_is_needed_reads_as_nothing() -> None:
    """A layer below that has nothing yet is no end."""
    layers = stacked("snappy in deflate")
    encoded = stacked("snappy in deflate").encode(b"x")
    layers.feed(encoded[:3])

    assert layers.read(100) == b""
    layers.feed(encoded[3:])
    assert layers.read(100) == b"x"


@pytest.mark.parametrize("name", STACKS)
def test_garbage_is_an_error(name: str) -> None:
    """What is not of the agreed kind is refused, in whichever layer it shows."""
    layers = stacked(name)
    layers.feed(b"PUB t\n\xff\xff\xff\xff" * 100)

    with pytest.raises(LayerError):
        read_all(layers)


def test_cleared_layers_speak_in_clear() -> None:
    """After a failed upgrade the client is told why in words it can read."""
    layers = stacked("snappy in deflate")

    layers.clear()

    assert not layers
    assert layers.encode(b"E_IDENTIFY_FAILED") == b"E_IDENTIFY_FAILED"
