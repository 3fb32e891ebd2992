"""Which of an option's values counts, and where it goes."""

from typing import Any

import pytest

from nsqlite.daemon.flags import FlagError
from nsqlite.daemon.kinds import BOOL, DURATION, INTEGER, LOG_LEVEL, TEXT, TEXTS
from nsqlite.daemon.settings import NO_KEY, Chosen, Setting, choose, flag_set
from nsqlite.errors import InvalidOptionError

SETTINGS = (
    Setting("config", TEXT, "", "command", "a file", key=NO_KEY),
    Setting("version", BOOL, False, "command", "the version", key=NO_KEY),
    Setting("log-level", LOG_LEVEL, 2, "command", "how much is said"),
    Setting("data-path", TEXT, "", "command", "where"),
    Setting("node-id", INTEGER, None, "node", "who", key="id", field="node_id"),
    Setting("msg-timeout", DURATION, 60_000_000_000, "node", "how long"),
    Setting("lookupd-tcp-address", TEXTS, (), "listener", "peers", key="nsqlookupd_tcp_addresses"),
    Setting("sync-every", INTEGER, 2500, "nowhere", "nothing"),
    Setting("durability", TEXT, "fsync", "command", "how safe", origin="nsqlite"),
)
FILE: dict[str, Any] = {"msg-timeout": 1_000_000_000, "lookupd-tcp-address": ("c:1",)}


def chosen(*arguments: str) -> Chosen:
    """What these arguments choose, beside a file that is named `file`."""

    def read(path: str, _: object) -> tuple[dict[str, Any], list[str]]:
        assert path == "file"
        return FILE, ["odd"]

    return choose(SETTINGS, flag_set("prog", SETTINGS), arguments, read)


def test_command_line_comes_before_file_and_default() -> None:
    """The command line counts, then the file, then the default."""
    assert chosen()["msg-timeout"] == 60_000_000_000
    assert chosen("-config=file")["msg-timeout"] == 1_000_000_000
    assert chosen("-config=file", "-msg-timeout=2s")["msg-timeout"] == 2_000_000_000


def test_lists_are_not_mixed() -> None:
    """Flags replace the file's list, they do not add to it."""
    assert chosen("-config=file", "-lookupd-tcp-address=a:1")["lookupd-tcp-address"] == ("a:1",)


def test_version_reads_no_file() -> None:
    """Whoever asks for the version gets it, whatever the file is like."""
    assert chosen("-version", "-config=nonesuch")["version"] is True


def test_options_go_where_they_belong() -> None:
    """Under the names and in the units of the options class; what is None is left out."""
    assert chosen().options_of("node") == {"msg_timeout": 60.0}
    assert chosen("-node-id=5").options_of("node") == {"msg_timeout": 60.0, "node_id": 5}
    assert chosen("-lookupd-tcp-address=a:1").options_of("listener") == {"nsqlookupd_tcp_addresses": ("a:1",)}


def test_config_has_what_no_options_class_has() -> None:
    """What only the command knows, by nsqd's names; not what is ours, and not the log level."""
    assert chosen("-data-path=x").config() == {"data_path": "x", "sync_every": 2500}


def test_flag_of_a_field_is_told() -> None:
    """An error about a field is told with the flag that gave it."""
    assert chosen().flag_of("node_id") == "--node-id"
    assert chosen().flag_of("nonesuch") == "nonesuch"


def test_empty_list_counts_as_not_given() -> None:
    """A unit file's variable may be empty; the file and the default hold, and it is told."""
    empty = chosen("-config=file", "-lookupd-tcp-address=")
    both = chosen("-lookupd-tcp-address=", "-lookupd-tcp-address=a:1")

    assert (empty["lookupd-tcp-address"], empty.empty) == (("c:1",), ("lookupd-tcp-address",))
    assert (both["lookupd-tcp-address"], both.empty) == (("a:1",), ("lookupd-tcp-address",))
    assert (chosen("-lookupd-tcp-address=")["lookupd-tcp-address"], chosen().empty) == ((), ())


def test_refusal_is_told_to_who_gave_the_value() -> None:
    """On a command line a list is an option that is repeated; in a file it is a list."""
    error = InvalidOptionError("nsqlookupd_tcp_addresses", ("a",), "give several of host:port, as a list")
    told = "--lookupd-tcp-address: option nsqlookupd_tcp_addresses=('a',) is not valid: give several of host:port, "

    assert chosen("-lookupd-tcp-address=a").refusal(error) == told + "by repeating the option"
    assert chosen("-config=file").refusal(error) == told + "as a list"
    assert chosen().refusal(InvalidOptionError("nonesuch", 1, "no")).startswith("nonesuch: option nonesuch=1 is not")


def test_leftovers_are_handed_back() -> None:
    """Arguments behind the flags, and keys that are no option's."""
    found = chosen("-config=file", "more", "-x")

    assert (found.rest, found.unknown_keys) == (("more", "-x"), ("odd",))


def test_wrong_command_line_is_refused() -> None:
    """See FlagSet.parse."""
    with pytest.raises(FlagError):
        chosen("-nope")
