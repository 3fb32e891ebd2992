"""JSON is read and written as Go's encoding/json does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.go_json import JsonError

VALID = [
    (b"null", None),
    (b' {"a" : [1, -0, true]}\r\n\t', (("a", [1, 0, True]),)),
    (b'{"a":1,"a":2}', (("a", 1), ("a", 2))),
    (b'{"a":{}}', (("a", ()),)),
    (b"1.5e3", 1500.0),
    (b"1" * 5000, math.inf),
    (b"-9223372036854775808", -(1 << 63)),
]
INVALID = [
    b"",
    b" ",
    b"{",
    b'{"a":1,}',
    b"{} {}",
    b"{}x",
    b"{}\x00",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b'{"a":Infinity}',
    b"[-Infinity]",
    b"01",
    b"+1",
    b".5",
    b"'a'",
    b'"\n"',
    b'"\\x"',
    b'"\\u12g4"',
    "\u0661".encode(),
    b"\xff{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
]


@pytest.mark.parametrize("body,value", VALID)
def test_decode_reads_one_document(body: bytes, value: object) -> None:
    """An object keeps its pairs and their order, and a huge integer costs nothing."""
    assert go_json.decode(body) == value


@pytest.mark.parametrize("body", INVALID, ids=lambda body: repr(body[:12]))
def test_decode_refuses_what_go_refuses(body: bytes) -> None:
    """What is no JSON to Go is none here, however deep or odd."""
    with pytest.raises(ValueError):
        go_json.decode(body)


@given(st.binary())
def test_decode_raises_one_error(body: bytes) -> None:
    """Whatever comes in, it is a value or a ValueError."""
    try:
        go_json.decode(body)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "raw,text",
    [
        (b'"a\xff\xfeb"', "a\ufffd\ufffdb"),
        (b'"\\ud800"', "\ufffd"),
        (b'"\\ud800\\u0041"', "\ufffdA"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\u0000"', "\0"),
    ],
)
def test_text_is_always_well_formed(raw: bytes, text: str) -> None:
    """Each byte that is no UTF-8, and each half of a pair, becomes U+FFFD."""
    assert go_json.text(go_json.decode(raw)) == text


@pytest.mark.parametrize("key", ["sample_rate", "SAMPLE_RATE", "Sample_Rate", "\u017fample_rate"])
def test_keys_match_in_any_case(key: str) -> None:
    """Folding is Go's, which counts the long s in."""
    assert go_json.read_fields(((key, 1),), {"sample_rate": go_json.int32}) == {"sample_rate": 1}


def test_keys_fold_by_letter_only() -> None:
    """A ligature is no two letters, as it is not in Go."""
    assert go_json.read_fields((("de\ufb02ate", True),), {"deflate": go_json.flag}) == {}


def test_fields_pass_over_null_and_the_unknown() -> None:
    """Null is as good as absent, the later of two counts, and other keys are nobody's business."""
    document = (("a", 1), ("b", "x"), ("a", 2), ("a", None))

    assert go_json.read_fields(document, {"a": go_json.int64, "c": go_json.text}) == {"a": 2}
    assert go_json.read_fields(None, {"a": go_json.int64}) == {}


def test_fields_check_also_what_is_overridden() -> None:
    """A wrong value is wrong though a right one follows."""
    with pytest.raises(JsonError):
        go_json.read_fields((("a", "1"), ("a", 1)), {"a": go_json.int64})


@pytest.mark.parametrize("document", [[], "a", 1, True, 1.5])
def test_fields_come_from_an_object(document: go_json.Value) -> None:
    """No other value has fields."""
    with pytest.raises(JsonError):
        go_json.read_fields(document, {})


@pytest.mark.parametrize(
    "reader,wrong",
    [
        (go_json.text, 1),
        (go_json.text, True),
        (go_json.flag, 1),
        (go_json.flag, "true"),
        (go_json.int64, True),
        (go_json.int64, 1.0),
        (go_json.int64, "1"),
        (go_json.int64, 1 << 63),
        (go_json.int64, math.inf),
        (go_json.int32, 1 << 31),
        (go_json.int32, -(1 << 31) - 1),
    ],
)
def test_readers_take_one_type(reader: go_json.Reader, wrong: go_json.Value) -> None:
    """Nothing is converted, and an integer has its width."""
    with pytest.raises(JsonError):
        reader(wrong)


def test_encode_is_compact_and_escapes_as_go_does() -> None:
    """No blanks, keys in order, and what would end a script in a page is escaped."""
    value = {"b": 1, "a": "<&> \u2028\u2029 ü\n\x1f\ud800", "c": [True, None]}

    told = go_json.encode(value)

    assert told == (
        b'{"b":1,"a":"\\u003c\\u0026\\u003e \\u2028\\u2029 \xc3\xbc\\n\\u001f\xef\xbf\xbd","c":[true,null]}'
    )
