"""Where what was wanted and what was found differ first, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any, Final

from nsqlite.testing.table import BODY_CHARACTERS, shown_body

MAX_DIFFERENCES: Final = 100  # that are counted to tell which value is the nearest
_BEFORE: Final = 12
_BEHIND: Final = 24
_VALUE_CHARACTERS: Final = 200
_NOTHING: Final = object()


def common(one: bytes | str, other: bytes | str) -> int:
    """How much two of a kind have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def likeness(one: bytes, other: bytes) -> int:
    """How much two bodies have in common at both ends."""
    return common(one, other) + common(one[::-1], other[::-1])


def of_bytes(wanted: bytes, found: bytes) -> str:
    """Of two bodies: the first byte, and what is around it."""
    at = common(wanted, found)
    if max(len(repr(wanted)), len(repr(found))) <= BODY_CHARACTERS:
        return f"at byte {at}: {shown_body(wanted)} is wanted, {shown_body(found)} is found"
    return f"at byte {at}: {_piece(wanted, at)} is wanted, {_piece(found, at)} is found"


def of_bodies(wanted: Sequence[bytes], found: Sequence[bytes]) -> str:
    """Of two rows of bodies that are not the same: the first index."""
    index, one, other = next(
        (index, one, other) for index, (one, other) in enumerate(zip_longest(wanted, found)) if one != other
    )
    if one is not None and other is not None:
        return f"at index {index}, {of_bytes(one, other)}"
    return f"at index {index}: {_body_or_nothing(one)} is wanted, {_body_or_nothing(other)} is found"


def of_json(wanted: Any, found: Any) -> list[str]:
    """Of two JSON values: every place, by its keys and indexes, up to a hundred."""
    return list(islice(_of_values(wanted, found, ""), MAX_DIFFERENCES))


def _of_values(wanted: Any, found: Any, path: str) -> Iterator[str]:
    if wanted == found:
        return
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*wanted, *found]):
            yield from _of_values(wanted.get(key, _NOTHING), found.get(key, _NOTHING), f"{path}[{key!r}]")
    elif isinstance(wanted, list) and isinstance(found, list):
        for index, (one, other) in enumerate(zip_longest(wanted, found, fillvalue=_NOTHING)):
            yield from _of_values(one, other, f"{path}[{index}]")
    else:
        yield f"at {path or 'its root'}{_told(wanted, found)}"


def _told(wanted: Any, found: Any) -> str:
    if isinstance(wanted, str) and isinstance(found, str) and max(len(wanted), len(found)) > BODY_CHARACTERS:
        at = common(wanted, found)
        return f", character {at}: {_piece(wanted, at)} is wanted, {_piece(found, at)} is found"
    return f": {_value(wanted)} is wanted, {_value(found)} is found"


def _value(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}..."


def _body_or_nothing(body: bytes | None) -> str:
    return "nothing" if body is None else shown_body(body)


def _piece(value: bytes | str, at: int) -> str:
    """What is around a place."""
    if at == len(value):
        return "the end"
    begin, end = max(0, at - _BEFORE), at + _BEHIND
    text = repr(value[begin:end]).removeprefix("b")
    return f"{'...' if begin else ''}{text}{'...' if end < len(value) else ''}"
