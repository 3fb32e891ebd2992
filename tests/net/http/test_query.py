"""Tests of queries, against what Go's url.ParseQuery makes of them."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.http.query import parse_query

PIECES = st.lists(st.sampled_from(["a", "b", "=", "&", "+", "%20", "%3D", "%26", "%C3%A9", "%FF", "%", ";", "é", "/"]))


@pytest.mark.parametrize(
    "text,params",
    [
        ("", {}),
        ("&&", {}),
        ("topic=a", {"topic": "a"}),
        ("topic=a&channel=b", {"topic": "a", "channel": "b"}),
        ("topic", {"topic": ""}),
        ("topic=", {"topic": ""}),
        ("=", {"": ""}),
        ("=x", {"": "x"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1&a=2", {"a": "1"}),
        ("a&a=2", {"a": ""}),
        ("a+b=c+d", {"a b": "c d"}),
        ("a%2Bb=%20", {"a+b": " "}),
        ("a=%26%3d%3D", {"a": "&=="}),
        ("A=1&a=2", {"A": "1", "a": "2"}),
        ("a=%C3%A9", {"a": "é"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a=%3B", {"a": ";"}),
        ("?a=1", {"?a": "1"}),
    ],
)
def test_query_is_read_as_go_reads_it(text: str, params: dict[str, str]) -> None:
    """Plus is a blank, the first of a name wins, and what is empty is no parameter."""
    assert parse_query(text) == params


@pytest.mark.parametrize("text", [";", "a=1;b=2", "a=1&b;=2", "%", "a=%", "a=%2", "a=%2g", "a=%g2", "%z=1", "a&b=%%20"])
def test_query_that_is_none_is_refused(text: str) -> None:
    """A semicolon, or a percent sign without two hex digits, spoils all of it."""
    with pytest.raises(ValueError):
        parse_query(text)


@pytest.mark.parametrize("digits", ["%٣0", "%0٣", "%²2"])
def test_hex_digits_are_those_of_ascii(digits: str) -> None:
    """Digits of other scripts are none."""
    with pytest.raises(ValueError):
        parse_query(f"a={digits}")


@given(params=st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_encoded_comes_back(params: dict[str, str]) -> None:
    """Any names and values survive."""
    assert parse_query(urlencode(params)) == params


@given(pieces=PIECES)
def test_query_is_refused_or_is_what_python_reads(pieces: list[str]) -> None:
    """Where Go takes it, both languages agree, but for which of a name's values counts."""
    text = "".join(pieces)

    try:
        found = parse_query(text)
    except ValueError:
        assert ";" in text or "%" in text
        return

    expected: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        expected.setdefault(name, value)
    assert found == expected


@pytest.mark.parametrize("value", ["t", "t" * 300])
def test_what_is_read_is_the_callers(value: str) -> None:
    """Who changes it changes it for nobody else who reads the same."""
    parse_query(f"topic={value}").clear()

    assert parse_query(f"topic={value}") == {"topic": value}


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else comes of it."""
    try:
        assert all(isinstance(each, str) for pair in parse_query(text).items() for each in pair)
    except ValueError:
        pass
