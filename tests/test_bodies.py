"""What a caller hands in is checked before anything happens, and the error says what to do."""

import array
import math

import pytest

from nsqlite.bodies import check_bodies, check_body, delay_to_ns, timeout_to_ns
from nsqlite.errors import InvalidBodyError, InvalidDelayError, MessageTooBigError
from nsqlite.options import Options

OPTIONS = Options(max_msg_size=10, max_batch_bytes=25)


@pytest.mark.parametrize("body", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"xabcx")[1:4]])
def test_bytes_like_body_becomes_bytes(body: object) -> None:
    """bytes, bytearray and memoryview are bodies, and become bytes of their own."""
    checked = check_body(body, 10)

    assert checked == b"abc"
    assert type(checked) is bytes


def test_body_is_copied_from_what_may_change() -> None:
    """Changing a bytearray after it was published changes nothing."""
    body = bytearray(b"abc")

    checked = check_body(body, 10)
    body[0] = 0

    assert checked == b"abc"


def test_memoryview_of_items_counts_its_bytes() -> None:
    """A view of wider items is as long as its bytes are, not its items."""
    view = memoryview(array.array("I", [1, 2, 3]))

    assert len(check_body(view, 12)) == 12
    with pytest.raises(MessageTooBigError):
        check_body(view, 11)


@pytest.mark.parametrize(
    "body, told",
    [
        ("text", r"encode it first, for example body\.encode\(\)"),
        (5, "int, not bytes-like: serialise it first"),
        (None, "NoneType, not bytes-like"),
        ({"a": 1}, r"json\.dumps\(body\)\.encode\(\)"),
        ([1, 2], "list, not bytes-like"),
        (b"", "empty: NSQ messages have at least one byte"),
        (bytearray(), "empty"),
        (memoryview(b""), "empty"),
    ],
)
def test_body_that_is_none_says_what_to_do(body: object, told: str) -> None:
    """A body that is not bytes-like, or empty, raises what both callers may expect."""
    with pytest.raises(InvalidBodyError, match=told) as caught:
        check_body(body, 10)

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


def test_body_above_its_limit_is_refused() -> None:
    """max_msg_size bytes are taken, one more is refused with both numbers."""
    assert check_body(b"x" * 10, 10) == b"x" * 10
    with pytest.raises(MessageTooBigError, match="raise max_msg_size") as caught:
        check_body(b"x" * 11, 10)

    assert (caught.value.size_bytes, caught.value.limit_bytes, caught.value.option) == (11, 10, "max_msg_size")


def test_batch_is_checked_as_its_bodies_are() -> None:
    """A batch is any iterable of bodies, of any bytes-like kind."""
    batch = check_bodies(iter([b"a", bytearray(b"b"), memoryview(b"c")]), OPTIONS)

    assert batch == [b"a", b"b", b"c"]
    assert set(map(type, batch)) == {bytes}
    assert check_bodies([], OPTIONS) == []


@pytest.mark.parametrize("bad", ["text", b"", 5, b"x" * 11])
def test_batch_names_the_body_that_is_wrong(bad: object) -> None:
    """One bad body refuses the batch; a wrong kind is named by its index."""
    with pytest.raises((InvalidBodyError, MessageTooBigError)) as caught:
        check_bodies([b"a", b"b", bad], OPTIONS)

    if isinstance(caught.value, InvalidBodyError):
        assert "at index 2 of the batch" in str(caught.value)


@pytest.mark.parametrize("batch", ["text", b"bytes", bytearray(b"x"), memoryview(b"x")])
def test_one_body_is_no_batch(batch: object) -> None:
    """A string or one body where a batch belongs is refused, not taken apart."""
    with pytest.raises(InvalidBodyError):
        check_bodies(batch, OPTIONS)


def test_batch_above_its_limit_is_refused() -> None:
    """max_batch_bytes bounds the bodies together."""
    assert len(check_bodies([b"x" * 10, b"x" * 10, b"x" * 5], OPTIONS)) == 3
    with pytest.raises(MessageTooBigError, match="max_batch_bytes") as caught:
        check_bodies([b"x" * 10, b"x" * 10, b"x" * 6], OPTIONS)

    assert (caught.value.size_bytes, caught.value.limit_bytes) == (26, 25)


def test_no_delay_and_no_timeout_are_told_apart() -> None:
    """No delay is none; no timeout is for ever."""
    assert delay_to_ns(None) == 0
    assert timeout_to_ns(None) is None
    assert (delay_to_ns(2.5), timeout_to_ns(0)) == (2_500_000_000, 0)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "soon"])
def test_delay_or_timeout_that_is_no_time_is_refused(bad: object) -> None:
    """Negative, NaN, infinite or no number: InvalidDelayError, with what was given."""
    for check in (delay_to_ns, timeout_to_ns):
        with pytest.raises(InvalidDelayError) as caught:
            check(bad)

        assert caught.value.delay is bad
