"""Command lines as Go's flag package reads them."""

import pytest

from nsqlite.daemon.flags import Flag, FlagError, FlagSet, HelpAskedError
from nsqlite.daemon.kinds import BOOL, DURATION, INTEGER, TEXT, TEXTS

FLAGS = FlagSet(
    "prog",
    [
        Flag("name", TEXT, "x y", "its name"),
        Flag("path", TEXT, "", "a path"),
        Flag("count", INTEGER, 3, "how many"),
        Flag("wait", DURATION, 90_000_000_000, "how long"),
        Flag("deflate", BOOL, True, "squeeze"),
        Flag("peer", TEXTS, (), "may be repeated"),
    ],
)
USAGE = """Usage of prog:
  -count int
    \thow many (default 3)
  -deflate
    \tsqueeze (default true)
  -name string
    \tits name (default "x y")
  -path string
    \ta path
  -peer value
    \tmay be repeated
  -wait duration
    \thow long (default 1m30s)
"""


@pytest.mark.parametrize(
    "arguments, values",
    [
        ("-count=5", {"count": 5}),
        ("--count=5", {"count": 5}),
        ("-count 5", {"count": 5}),
        ("--count 5 -name a=b", {"count": 5, "name": "a=b"}),
        ("-count=1 -count=2", {"count": 2}),
        ("-path=", {"path": ""}),
        ("-path -count", {"path": "-count"}),
        ("-deflate", {"deflate": True}),
        ("--deflate=F", {"deflate": False}),
        ("-peer a -peer=b --peer c", {"peer": ("a", "b", "c")}),
    ],
)
def test_flags_take_every_form_of_go(arguments: str, values: dict[str, object]) -> None:
    """One dash or two, the value behind = or next; the last one counts, but for lists."""
    assert FLAGS.parse(arguments.split()).values == values


@pytest.mark.parametrize(
    "arguments, rest",
    [
        ("-deflate false -count=1", ("false", "-count=1")),
        ("-deflate -- -count=1", ("-count=1",)),
        ("-deflate - -count=1", ("-", "-count=1")),
    ],
)
def test_flags_end_at_the_first_argument_that_is_none(arguments: str, rest: tuple[str, ...]) -> None:
    """What stands behind is handed back as it is."""
    parsed = FLAGS.parse(arguments.split())

    assert (parsed.values, parsed.rest) == ({"deflate": True}, rest)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("-nope", "flag provided but not defined: -nope"),
        ("--nope=3", "flag provided but not defined: -nope"),
        ("---count", "bad flag syntax: ---count"),
        ("-=3", "bad flag syntax: -=3"),
        ("-count", "flag needs an argument: -count"),
        ("-count=x", 'invalid value "x" for flag -count: parse error'),
        ("-count=99999999999999999999", 'invalid value "99999999999999999999" for flag -count: value out of range'),
        ("-wait=60", 'invalid value "60" for flag -wait: parse error'),
        ("-deflate=maybe", 'invalid boolean value "maybe" for -deflate: parse error'),
        ('-wait="\n', 'invalid value "\\"" for flag -wait: parse error'),
    ],
)
def test_wrong_flags_are_refused_in_gos_words(arguments: str, words: str) -> None:
    """An unknown flag, a missing value and a bad one are named."""
    with pytest.raises(FlagError) as raised:
        FLAGS.parse(arguments.split())

    assert str(raised.value) == words


@pytest.mark.parametrize("argument", ["-h", "--help", "-help", "--h"])
def test_help_is_no_mistake(argument: str) -> None:
    """Help is asked for in four ways, none of them an error of its caller."""
    with pytest.raises(HelpAskedError):
        FLAGS.parse([argument])


def test_usage_is_laid_out_as_gos() -> None:
    """In order of the names, with the value's kind and the default, unless that is nothing."""
    assert FLAGS.usage() == USAGE
