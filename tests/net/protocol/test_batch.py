"""The body of an MPUB: found message by message, checked before it is waited for."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.batch import Batch
from nsqlite.net.protocol.errors import ProtocolError
from tests.net.protocol.conversations import LIMITS, batch, hear, payload


def read(body: bytes, pieces: int = 1) -> tuple[list[bytes] | None, Batch]:
    """Read a body that comes in so many pieces, one more visible at a time."""
    made = Batch(LIMITS)
    bodies = None
    for piece in range(1, pieces + 1):
        bodies = made.read(b"12" + body[: len(body) * piece // pieces], 2)
        if bodies is not None:
            break
    return bodies, made


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=20), st.integers(1, 40))
def test_bodies_come_out_as_they_went_in(bodies: list[bytes], pieces: int) -> None:
    """Alike or not, whole or in pieces."""
    found, made = read(batch(bodies)[4:], pieces)

    assert found == bodies
    assert made.size_bytes == len(batch(bodies)) - 4


def test_bodies_that_look_alike_at_first_are_told_apart() -> None:
    """A batch whose last message is shorter ends there, though the first ones promised more."""
    bodies = [b"abc"] * 5 + [b"d"]

    for pieces in range(1, len(batch(bodies))):
        assert read(batch(bodies)[4:], pieces)[0] == bodies


@pytest.mark.parametrize("count", [0, -1, 200])
def test_count_is_checked(count: int) -> None:
    """A count of nothing, or of more than could fit in, is refused at once."""
    with pytest.raises(ProtocolError, match=f"E_BAD_BODY MPUB invalid message count {count}"):
        read(struct.pack(">i", count))


@pytest.mark.parametrize("size,words", [(0, "invalid message(1) body size 0"), (101, "message too big 101 > 100")])
def test_inner_size_is_checked_before_the_body_comes(size: int, words: str) -> None:
    """The message is named by its index, before a byte of it has come."""
    body = struct.pack(">II", 2, 1) + b"x" + struct.pack(">i", size)

    assert payload(hear([b"MPUB t\n" + struct.pack(">I", 50) + body])) == f"E_BAD_MESSAGE MPUB {words}".encode()


def test_sizes_may_not_add_up_to_more_than_a_body() -> None:
    """Where nsqd would read on for count times max_msg_size, max_body_size is the end."""
    alike, mixed = [b"y" * 100] * 20, [b"x", *[b"y" * 100] * 19]

    for bodies in (alike, mixed):
        with pytest.raises(ProtocolError, match="E_BAD_BODY MPUB body too big"):
            Batch(LIMITS).read(batch(bodies)[4:], 0)


@pytest.mark.parametrize(
    "body,words",
    [
        (b"\x00\x00", b"E_BAD_BODY MPUB failed to read message count"),
        (struct.pack(">I", 2), b"E_BAD_MESSAGE MPUB failed to read message(0) body size"),
        (struct.pack(">II", 2, 3) + b"ab", b"E_BAD_MESSAGE MPUB failed to read message body"),
        (struct.pack(">II", 2, 3) + b"abc", b"E_BAD_MESSAGE MPUB failed to read message(1) body size"),
        (struct.pack(">II", 2, 3) + b"abc\x00\x00\x00\x03", b"E_BAD_MESSAGE MPUB failed to read message body"),
    ],
)
def test_end_of_stream_says_what_was_missing(body: bytes, words: bytes) -> None:
    """Half a batch is an error that names the half."""
    assert payload(hear([b"MPUB t\n" + struct.pack(">I", 50) + body], is_ended=True)) == words
