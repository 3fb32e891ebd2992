"""Values of options, from the command line and from a config file."""

from typing import Any

import pytest

from nsqlite.daemon.flags import Kind
from nsqlite.daemon.kinds import (
    BOOL,
    DURATION,
    FLOATS,
    INTEGER,
    LOG_LEVEL,
    TEXT,
    TEXTS,
    TLS_REQUIRED,
    TLS_VERSION,
    choice,
    not_empty,
    refused,
)

COLOURS = choice("red", "blue")


@pytest.mark.parametrize(
    "kind, text, value",
    [
        (INTEGER, "-12", -12),
        (INTEGER, "+0x1F", 31),
        (INTEGER, "0b101", 5),
        (INTEGER, "0o17", 15),
        (INTEGER, "017", 15),
        (INTEGER, "0", 0),
        (INTEGER, "1_000", 1000),
        (INTEGER, str(2**63 - 1), 2**63 - 1),
        (BOOL, "T", True),
        (BOOL, "0", False),
        (DURATION, "1m", 60_000_000_000),
        (TEXT, "", ""),
        (TEXTS, "a,b", ("a,b",)),
        (FLOATS, "0.5, 1.0,.25", (0.5, 1.0, 0.25)),
        (LOG_LEVEL, "WARN", 3),
        (TLS_REQUIRED, "TCP-HTTPS", "tcp-https"),
        (TLS_REQUIRED, "True", True),
        (TLS_REQUIRED, "0", False),
        (TLS_VERSION, "TLS1.3", "tls1.3"),
        (TLS_VERSION, "", "tls1.2"),
        (COLOURS, "red", "red"),
    ],
)
def test_kind_reads_the_command_line(kind: Kind, text: str, value: Any) -> None:
    """As Go and nsqd read it."""
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    "kind, text, words",
    [
        (INTEGER, "", "parse error"),
        (INTEGER, "1.5", "parse error"),
        (INTEGER, "08", "parse error"),
        (INTEGER, "1__0", "parse error"),
        (INTEGER, "10_", "parse error"),
        (INTEGER, "\N{ARABIC-INDIC DIGIT ONE}", "parse error"),
        (INTEGER, str(2**63), "value out of range"),
        (INTEGER, "9" * 10_000, "value out of range"),
        (BOOL, "yes", "parse error"),
        (DURATION, "60", "parse error"),
        (FLOATS, "0.5,x", "could not parse: x"),
        (FLOATS, "nan", "could not parse: nan"),
        (LOG_LEVEL, "loud", "invalid log level 'loud' (debug, info, warn, error, fatal)"),
        (TLS_REQUIRED, "foo", 'strconv.ParseBool: parsing "foo": invalid syntax'),
        (TLS_VERSION, "ssl3.0", 'unknown tlsVersionOption "ssl3.0"'),
        (COLOURS, "green", "give one of red, blue"),
        (refused("it is gone"), "x", "it is gone"),
    ],
)
def test_kind_refuses_the_command_line(kind: Kind, text: str, words: str) -> None:
    """In the words of Go and nsqd."""
    with pytest.raises(ValueError) as raised:
        kind.parse(text)

    assert str(raised.value) == words


@pytest.mark.parametrize(
    "kind, raw, value",
    [
        (INTEGER, 5, 5),
        (INTEGER, "5", 5),
        (BOOL, True, True),
        (BOOL, "false", False),
        (DURATION, "1.5s", 1_500_000_000),
        (DURATION, 250, 250_000_000),
        (TEXT, "a", "a"),
        (TEXTS, ["a", "b"], ("a", "b")),
        (TEXTS, "a,b", ("a", "b")),
        (FLOATS, [1.0, 0.99, 1], (1.0, 0.99, 1.0)),
        (FLOATS, "1.0, 0.99", (1.0, 0.99)),
        (LOG_LEVEL, "Debug", 1),
        (TLS_REQUIRED, True, True),
        (TLS_REQUIRED, "tcp-https", "tcp-https"),
        (TLS_VERSION, "", "tls1.2"),
        (COLOURS, "blue", "blue"),
    ],
)
def test_kind_reads_a_config_file(kind: Kind, raw: object, value: Any) -> None:
    """Integers are milliseconds where a duration belongs; a list may be one string."""
    assert kind.coerce(raw) == value


@pytest.mark.parametrize(
    "kind, raw",
    [
        (INTEGER, True),
        (INTEGER, 1.0),
        (INTEGER, "x"),
        (INTEGER, 2**63),
        (BOOL, 0),
        (DURATION, 1.5),
        (DURATION, "60"),
        (DURATION, 2**62),
        (TEXT, 5),
        (TEXTS, [1]),
        (TEXTS, 1),
        (FLOATS, ["1.0"]),
        (FLOATS, 1.0),
        (LOG_LEVEL, 3),
        (TLS_REQUIRED, 2),
        (TLS_VERSION, 771),
        (COLOURS, 1),
        (refused("it is gone"), "x"),
    ],
)
def test_kind_refuses_what_a_config_file_cannot_mean(kind: Kind, raw: object) -> None:
    """A value of the wrong type is refused and not guessed at; nsqd takes 0 for true."""
    with pytest.raises((TypeError, ValueError)):
        kind.coerce(raw)


def test_kind_gives_the_library_what_it_takes() -> None:
    """Times are seconds there, and percentiles in nsqd's order."""
    assert DURATION.as_option(1_500_000_000) == 1.5
    assert FLOATS.as_option((0.5, 1.0, 0.99)) == (1.0, 0.99, 0.5)
    assert INTEGER.as_option(5) == 5


def test_kind_shows_defaults_as_go() -> None:
    """The usage has them so."""
    assert BOOL.show(True) == "true"
    assert TEXT.show("a b") == '"a b"'
    assert DURATION.show(60_000_000_000) == "1m0s"
    assert TEXTS.show(("a", "b")) == "a,b"
    assert LOG_LEVEL.show(2) == "INFO"
    assert TLS_REQUIRED.show("tcp-https") == "tcp-https"


@pytest.mark.parametrize("kind", [not_empty(TEXT, "that is open"), not_empty(TEXTS, "that is open")])
def test_not_empty_takes_all_but_nothing(kind: Kind) -> None:
    """An empty text is refused with the reason, from either place."""
    assert kind.parse("a") == kind.coerce("a") or kind.parse("a") == ("a",)

    for read in (kind.parse, kind.coerce):
        with pytest.raises(ValueError, match="that is open"):
            read("")
