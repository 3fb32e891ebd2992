r"""Names in error texts as Go's `%q` writes them; users and their tests match on those texts."""

from __future__ import annotations

from typing import Final

# Where surrogateescape puts a byte that is not UTF-8.
_RAW_LOW: Final = 0xDC80
_RAW_HIGH: Final = 0xDCFF
_SHORT: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(raw: bytes) -> bytes:
    r"""Bytes in double quotes, with whatever does not print escaped.

    Printable Unicode stays. Other ASCII, and bytes that are no UTF-8, become `\xNN`, other
    runes `\uNNNN` or `\UNNNNNNNN`. What prints is decided by Python's Unicode tables, which
    may be a version away from Go's.
    """
    text = raw.decode("utf-8", "surrogateescape")
    return ('"' + "".join(map(_quoted, text)) + '"').encode()


def _quoted(rune: str) -> str:
    short = _SHORT.get(rune)
    if short is not None:
        return short
    if rune.isprintable():  # like Go's IsPrint, which also knows one printable space
        return rune
    number = ord(rune)
    if _RAW_LOW <= number <= _RAW_HIGH:
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
