"""A URL's query as Go's url.ParseQuery reads it: stricter than Python's about `;` and `%`. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

_BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def parse_query(text: str) -> dict[str, str]:
    """Names and values. Of a name that is repeated the first value wins; bytes that are no UTF-8 become U+FFFD.

    Raises:
        ValueError: There is a `;`, or a `%` without two hex digits.
    """
    params: dict[str, str] = {}
    for pair in text.split("&"):
        if ";" in pair or _BAD_ESCAPE.search(pair):
            raise ValueError("a bad escape, or a semicolon, in the query")
        if pair:
            name, _, value = pair.partition("=")
            params.setdefault(unquote_plus(name), unquote_plus(value))
    return params
