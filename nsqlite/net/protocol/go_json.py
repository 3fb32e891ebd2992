"""JSON as Go's encoding/json reads and writes it, since clients and auth servers were written against that.

Reading: keys match in any case, null is the same as absent, an integer is an integer, and
bytes that are no UTF-8 become U+FFFD. Writing: compact, with what HTML would mind escaped.
Pure; `negotiation` and `permissions` say which fields there are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

# An object is a tuple of pairs, so that it differs from an array and keeps its duplicates.
Value = None | bool | int | float | str | list[Any] | tuple[Any, ...]
Reader = Callable[[Value], Any]

MAX_INT64_DIGITS: Final = 20
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


class JsonError(ValueError):
    """A document, or a value in it, that is not what was wanted."""


def decode(body: bytes) -> Value:
    """One JSON document and nothing behind it.

    An object comes as a tuple of pairs. An integer of more than 64 bits comes as infinity,
    which no integer field takes and an unknown one may hold. Nesting of some hundred levels
    is refused, where Go stops at 10,000.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        # surrogateescape: each bad byte becomes one character, as in Go; `text` replaces them.
        decoded: Value = json.loads(
            body.decode("utf-8", "surrogateescape"),
            object_pairs_hook=tuple,
            parse_int=_integer,
            parse_constant=_refuse,
        )
    except RecursionError as error:
        raise JsonError("the document is nested too deep") from error
    return decoded


def encode(value: Mapping[str, object]) -> bytes:
    """An object in the order of its keys, as compact as Go's and escaped like it."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Those five only occur inside strings, so the whole text may be translated.
    return _SURROGATE.sub("\ufffd", plain).translate(_ESCAPED).encode()


def read_fields(document: Value, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """What an object holds of the named fields; the later of two with the same name wins.

    Raises:
        JsonError: If it is no object, or a reader refused a value.
    """
    if document is None:
        return {}
    if not isinstance(document, tuple):
        raise JsonError("not an object")
    found = {}
    for key, value in document:
        name = _folded(key)
        if value is not None and name in readers:
            found[name] = readers[name](value)
    return found


def text(value: Value) -> str:
    """Read a string.

    Raises:
        JsonError: For anything else.
    """
    if not isinstance(value, str):
        raise JsonError("not a string")
    return _SURROGATE.sub("\ufffd", value)


def flag(value: Value) -> bool:
    """Read true or false.

    Raises:
        JsonError: For anything else.
    """
    if not isinstance(value, bool):
        raise JsonError("neither true nor false")
    return value


def int32(value: Value) -> int:
    """Read an integer of 32 bits.

    Raises:
        JsonError: For anything else.
    """
    return _bounded(value, 1 << 31)


def int64(value: Value) -> int:
    """Read an integer of 64 bits.

    Raises:
        JsonError: For anything else.
    """
    return _bounded(value, 1 << 63)


def _bounded(value: Value, bound: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -bound <= value < bound:
        raise JsonError("not an integer of that width")
    return value


def _folded(key: str) -> str:
    """A key as Go compares it: simple case folding, which knows two letters beyond ASCII that fold into it."""
    return key.lower().replace("\u017f", "s")  # lower() has done the other, the Kelvin sign


def _integer(literal: str) -> float:
    """An int, but never the quadratic work of one with a million digits."""
    return int(literal) if len(literal) <= MAX_INT64_DIGITS else math.inf


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is no JSON")
