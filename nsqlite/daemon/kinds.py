"""What an option's value can be: on a command line, in a config file, for the library; pure."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import attrs

from nsqlite.daemon.flags import Kind
from nsqlite.net.protocol.go_duration import format_duration, parse_duration
from nsqlite.net.protocol.quoting import quote
from nsqlite.options import SECOND_NS

MS_NS: Final = 1_000_000
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")
_INTEGER: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_INT64: Final = range(-(1 << 63), 1 << 63)
_MAX_DIGITS: Final = 100  # more would be counted at leisure
LOG_LEVELS: Final = {"debug": 1, "info": 2, "warn": 3, "error": 4, "fatal": 5}
LEVEL_NAMES: Final = {1: "DEBUG", 2: "INFO", 3: "WARNING", 4: "ERROR", 5: "FATAL"}
TLS_VERSIONS: Final = ("tls1.0", "tls1.1", "tls1.2", "tls1.3")


# -- from the command line: ValueError in Go's words ---------------------------------------


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def _parse_integer(text: str) -> int:
    """As Go's ParseInt with base 0: hexadecimal, octal and binary with their prefixes, digits with _ between."""
    found = _INTEGER.fullmatch(text)
    digits = found[2] if found else ""
    if found is None or "__" in digits or digits.endswith("_"):
        raise ValueError("parse error")
    if len(digits) > _MAX_DIGITS:
        raise ValueError("value out of range")
    is_old_octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    number = int(digits, 8 if is_old_octal else 0)
    number = -number if found[1] == "-" else number
    if number not in _INT64:
        raise ValueError("value out of range")
    return number


def _parse_duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError("parse error") from error  # Go's flag package does not tell more


def _parse_float(text: str) -> float:
    number = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"could not parse: {text}")
    return number


def _parse_floats(text: str) -> tuple[float, ...]:
    return tuple(_parse_float(each.strip()) for each in text.split(","))


def parse_log_level(text: str) -> int:
    """nsqd's number of a log level, whichever case its word is in.

    Raises:
        ValueError: In nsqd's words.
    """
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"invalid log level '{text}' (debug, info, warn, error, fatal)")
    return LOG_LEVELS[text.lower()]


def _parse_tls_required(text: str) -> bool | str:
    if text.lower() == "tcp-https":
        return "tcp-https"
    try:
        return _parse_bool(text.lower())
    except ValueError as error:
        raise ValueError(f"strconv.ParseBool: parsing {_quoted(text.lower())}: invalid syntax") from error


def _parse_tls_version(text: str) -> str:
    lowered = text.lower()
    if lowered == "":
        return "tls1.2"
    if lowered not in TLS_VERSIONS:
        raise ValueError(f"unknown tlsVersionOption {_quoted(lowered)}")
    return lowered


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape")).decode()


# -- from a config file: TypeError, or ValueError for what is of the right type ------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("give a string")
    return value


def _bool(value: object) -> bool:
    if isinstance(value, str):
        return _parse_bool(value)
    if not isinstance(value, bool):  # nsqd takes 0 for true
        raise TypeError("give true or false")
    return value


def _integer(value: object) -> int:
    if isinstance(value, str):
        return _parse_integer(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise TypeError("give an integer")
    return value


def _duration(value: object) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError('give a string with a unit, as "60s", or an integer of milliseconds')
    if value * MS_NS not in _INT64:
        raise ValueError("value out of range")
    return value * MS_NS


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split(","))
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("give an array of strings")
    return tuple(value)


def _floats(value: object) -> tuple[float, ...]:
    if isinstance(value, str):
        return _parse_floats(value)
    if not isinstance(value, list) or not all(type(each) in (int, float) for each in value):
        raise TypeError("give an array of floats")
    return tuple(float(each) for each in value)


def _tls_required(value: object) -> bool | str:
    return value if isinstance(value, bool) else _parse_tls_required(str(value))


# -- the kinds -----------------------------------------------------------------------------


def choice(*words: str) -> Kind:
    """A kind: one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("give one of " + ", ".join(words))
        return text

    return Kind("string", parse, lambda value: parse(_text(value)), _quoted)


def refused(why: str) -> Kind:
    """A kind that takes nothing, for a flag that is known and cannot be had."""

    def parse(_: object) -> str:
        raise ValueError(why)

    return Kind("string", parse, parse, _quoted)


def not_empty(kind: Kind, why: str) -> Kind:
    """A kind, without the empty text: for what would be off by mistake where a variable is empty."""

    def checked(value: Any) -> Any:
        if "" in (value, *(value if kind.is_list else ())):
            raise ValueError(why)
        return value

    return attrs.evolve(
        kind, parse=lambda text: checked(kind.parse(text)), coerce=lambda value: checked(kind.coerce(value))
    )


def _lower(value: bool | str) -> str:
    return str(value).lower()


def _joined(values: tuple[Any, ...]) -> str:
    return ",".join(map(str, values))


def _descending(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(values, reverse=True))


def _seconds(ns: int) -> float:
    return ns / SECOND_NS


TEXT: Final = Kind("string", str, _text, _quoted)
BOOL: Final = Kind("", _parse_bool, _bool, _lower, zero=False)
INTEGER: Final = Kind("int", _parse_integer, _integer, zero=0)
DURATION: Final = Kind("duration", _parse_duration, _duration, format_duration, as_option=_seconds, zero=0)
TEXTS: Final = Kind("value", lambda text: (text,), _texts, _joined, zero=(), is_list=True)
FLOATS: Final = Kind("value", _parse_floats, _floats, _joined, as_option=_descending, zero=(), is_list=True)
LOG_LEVEL: Final = Kind(
    "value", parse_log_level, lambda value: parse_log_level(str(value)), lambda level: LEVEL_NAMES[level], zero=0
)
TLS_REQUIRED: Final = Kind("", _parse_tls_required, _tls_required, _lower, zero=False)
TLS_VERSION: Final = Kind("value", _parse_tls_version, lambda value: _parse_tls_version(str(value)))
