"""Names in errors are quoted as Go quotes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.quoting import quote


@pytest.mark.parametrize(
    "raw,quoted",
    [
        (b"", b'""'),
        (b"a b", b'"a b"'),
        (b'say "hi" \\', b'"say \\"hi\\" \\\\"'),
        (b"\a\b\f\n\r\t\v", b'"\\a\\b\\f\\n\\r\\t\\v"'),
        (b"\x00\x1f\x7f", b'"\\x00\\x1f\\x7f"'),
        (b"\xff\xc3", b'"\\xff\\xc3"'),
        (b"\xe2\x82x", b'"\\xe2\\x82x"'),
        (b"\xed\xa0\x80", b'"\\xed\\xa0\\x80"'),  # an encoded surrogate
        ("grün 日本 \U0001f600".encode(), '"grün 日本 \U0001f600"'.encode()),
        ("\x85\xa0\u2028\u3000".encode(), b'"\\u0085\\u00a0\\u2028\\u3000"'),
        ("\ufffd".encode(), '"\ufffd"'.encode()),
        ("\ufeff\ue000".encode(), b'"\\ufeff\\ue000"'),
        ("\U000e0001\U0010ffff".encode(), b'"\\U000e0001\\U0010ffff"'),
    ],
)
def test_quote_is_gos(raw: bytes, quoted: bytes) -> None:
    """What Go's %q prints for the same bytes."""
    assert quote(raw) == quoted


@given(st.binary())
def test_quote_stays_on_one_line(raw: bytes) -> None:
    """Whatever a client sends as a name, the error text is UTF-8 that prints."""
    assert quote(raw).decode().isprintable()
