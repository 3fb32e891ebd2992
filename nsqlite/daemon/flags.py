"""A command line as Go's `flag` package reads it: `-x`, `--x`, `-x=v`, `-x v`, and a boolean's bare `-x`; pure.

Reading stops at the first argument that is no flag, or behind `--`. What is wrong is said in
Go's words, since scripts and their tests know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from nsqlite.errors import InvalidInputError
from nsqlite.net.protocol.quoting import quote

HELP: Final = frozenset(["h", "help"])


class FlagError(InvalidInputError):
    """A command line that is none; the words are Go's."""


class HelpAskedError(InvalidInputError):
    """No mistake: `-h` or `-help` was given."""

    def __init__(self) -> None:
        super().__init__("flag: help requested")


@attrs.frozen
class Kind:
    """What a flag's value is, and in which forms it is met.

    Attributes:
        name: What the usage calls it; "" for what may stand alone, as booleans do.
        parse: From the command line; raises ValueError in Go's words.
        coerce: From a config file's value; the same, or TypeError.
        show: For the usage.
        as_option: For the library, whose times are seconds.
        zero: What the usage does not show for a default.
        is_list: Whether each further flag adds to those before; values are tuples.
    """

    name: str
    parse: Callable[[str], Any]
    coerce: Callable[[object], Any]
    show: Callable[[Any], str] = str
    as_option: Callable[[Any], Any] = lambda value: value
    zero: Any = ""
    is_list: bool = False

    @property
    def may_stand_alone(self) -> bool:
        """Whether the flag alone means true, so that a value needs the form with `=`."""
        return not self.name


@attrs.frozen
class Flag:
    """One flag: its name without dashes, its default, and what the usage says of it."""

    name: str
    kind: Kind
    default: Any
    usage: str


@attrs.frozen
class Parsed:
    """What a command line said.

    Attributes:
        values: Of the flags that were given, by name.
        rest: What stands behind the flags.
    """

    values: dict[str, Any]
    rest: tuple[str, ...]


class FlagSet:
    """The flags of one program."""

    def __init__(self, program: str, flags: Sequence[Flag]) -> None:
        self.program = program
        self.flags: Final = {flag.name: flag for flag in sorted(flags, key=lambda flag: flag.name)}

    def parse(self, arguments: Sequence[str]) -> Parsed:
        """Read a command line without the program's name.

        Raises:
            FlagError: A flag is unknown, has no value, or has one that is none.
            HelpAskedError: It asks for help.
        """
        values: dict[str, Any] = {}
        left = list(arguments)
        while left and len(left[0]) >= 2 and left[0].startswith("-"):
            argument = left.pop(0)
            if argument == "--":
                break
            self._parse_one(argument, left, values)
        return Parsed(values, tuple(left))

    def _parse_one(self, argument: str, left: list[str], values: dict[str, Any]) -> None:
        name = argument.removeprefix("-").removeprefix("-")
        if not name or name.startswith(("-", "=")):
            raise FlagError(f"bad flag syntax: {argument}")
        name, equals, text = name.partition("=")
        flag = self.flags.get(name)
        if flag is None:
            if name in HELP:
                raise HelpAskedError
            raise FlagError(f"flag provided but not defined: -{name}")
        if flag.kind.may_stand_alone:
            text = text if equals else "true"
            told = f"invalid boolean value {_quoted(text)} for -{name}"
        else:
            if not equals:
                if not left:
                    raise FlagError(f"flag needs an argument: -{name}")
                text = left.pop(0)
            told = f"invalid value {_quoted(text)} for flag -{name}"
        try:
            value = flag.kind.parse(text)
        except ValueError as error:
            raise FlagError(f"{told}: {error}") from error
        values[name] = values.get(name, ()) + value if flag.kind.is_list else value

    def usage(self) -> str:
        """All flags with their defaults, as Go lays them out."""
        lines = [f"Usage of {self.program}:"]
        for flag in self.flags.values():
            lines.append(f"  -{flag.name} {flag.kind.name}".rstrip())
            told = flag.usage
            if flag.default not in (None, flag.kind.zero):
                told += f" (default {flag.kind.show(flag.default)})"
            lines.append(f"    \t{told}")
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape")).decode()
