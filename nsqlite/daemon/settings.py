"""The options of a daemon as a table: how each is called, what it takes, and where it goes.

The tables are nsqd_options and nsqlookupd_options; the command line, the config file, `GET
/config` and docs/commands.md are all read off them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from nsqlite.daemon.flags import Flag, FlagSet, Kind
from nsqlite.errors import InvalidOptionError

# Whose the option is: NSQ 1.3.0's, one that came to NSQ later, or this package's own.
Origin = Literal["nsqd", "later", "nsqlite"]
# Who uses it: Options, ListenerOptions, LookupdOptions, the command itself, or nobody.
Place = Literal["node", "listener", "lookupd", "command", "nowhere"]
NO_KEY: Final = "-"


def _key(setting: Setting) -> str:
    return setting.name.replace("-", "_")


@attrs.frozen
class Setting:
    """One option.

    Attributes:
        name: Of its flag, without dashes.
        kind: What it takes.
        default: None where the library's own, or the host's, is taken.
        place: Who uses it.
        usage: What it is for.
        note: What is to be known beside: why it is without effect, or how it differs from NSQ's.
        key: In the config file and `GET /config`; `NO_KEY` for none.
        field: Of the options class that it goes to.
        origin: Whose it is.
    """

    name: str
    kind: Kind
    default: Any
    place: Place
    usage: str
    note: str = attrs.field(default="", kw_only=True)
    key: str = attrs.field(default=attrs.Factory(_key, takes_self=True), kw_only=True)
    field: str = attrs.field(default=attrs.Factory(lambda setting: setting.key, takes_self=True), kw_only=True)
    origin: Origin = attrs.field(default="nsqd", kw_only=True)

    @property
    def has_key(self) -> bool:
        """Whether a config file may have it."""
        return self.key != NO_KEY


@attrs.frozen
class Chosen:
    """All options with the values they were given, or their defaults.

    Attributes:
        settings: The table.
        values: By flag name.
        rest: Arguments behind the flags, which mean nothing.
        unknown_keys: Of the config file.
        given: Names of the flags that stood on the command line.
        empty: Flags of lists that were given without a value, and so count as not given.
    """

    settings: tuple[Setting, ...]
    values: dict[str, Any]
    rest: tuple[str, ...] = ()
    unknown_keys: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    empty: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def options_of(self, place: Place) -> dict[str, Any]:
        """The fields of one options class; what is None is left to it."""
        return {
            setting.field: setting.kind.as_option(self.values[setting.name])
            for setting in self.settings
            if setting.place == place and self.values[setting.name] is not None
        }

    def config(self) -> dict[str, Any]:
        """What `GET /config` is to answer, by key, for what goes to no options class; times are nanoseconds.

        The log level is not in it, since that can change.
        """
        return {
            setting.key: self.values[setting.name]
            for setting in self.settings
            if setting.has_key
            and setting.origin == "nsqd"
            and setting.place in ("command", "nowhere")
            and setting.name != "log-level"
        }

    def flag_of(self, field: str) -> str:
        """The flag, with its dashes, whose value an options class got under this name."""
        for setting in self.settings:
            if setting.field == field and setting.place != "nowhere":
                return f"--{setting.name}"
        return field

    def refusal(self, error: InvalidOptionError) -> str:
        """Why an options class does not take a value, for who gave it to the flag or the config file."""
        flag, told = self.flag_of(error.option), str(error)
        if flag.removeprefix("--") in self.given:
            told = told.replace(", as a list", ", by repeating the option")
        return f"{flag}: {told}"


def flag_set(program: str, settings: Sequence[Setting]) -> FlagSet:
    """The flags of a table."""
    return FlagSet(program, [Flag(each.name, each.kind, each.default, each.usage) for each in settings])


def choose(
    settings: Sequence[Setting],
    flags: FlagSet,
    arguments: Sequence[str],
    read_config: Callable[[str, Sequence[Setting]], tuple[Mapping[str, Any], Sequence[str]]],
) -> Chosen:
    """What the command line says, or the config file that it names, or the defaults, in this order.

    Args:
        read_config: Values by flag name, and the keys that are no option's; see config_file.

    Raises:
        FlagError, HelpAskedError: See FlagSet.parse.
        ConfigFileError: See config_file.
    """
    parsed = flags.parse(arguments)
    path = parsed.values.get("config", "")
    of_file, unknown = read_config(path, settings) if path and not parsed.values.get("version") else ({}, ())
    values = {setting.name: setting.default for setting in settings}
    empty = []
    for name, value in (*of_file.items(), *parsed.values.items()):
        if not flags.flags[name].kind.is_list or "" not in value:
            values[name] = value
            continue
        empty.append(name)  # a unit file with a variable that is empty
        values[name] = tuple(filter(None, value)) or values[name]
    return Chosen(
        tuple(settings), values, parsed.rest, tuple(unknown), frozenset(parsed.values), tuple(dict.fromkeys(empty))
    )
