"""nsqlookupd's options, as a table."""

import attrs
import pytest

from nsqlite.daemon.config_file import read_config_file
from nsqlite.daemon.nsqlookupd_options import FLAGS, SETTINGS, lookupd_options
from nsqlite.daemon.settings import Chosen, choose
from nsqlite.errors import InvalidOptionError
from nsqlite.net.lookupd.options import LookupdOptions
from tests.daemon.daemons import ROOT, table


def chosen(*arguments: str) -> Chosen:
    """What these arguments choose."""
    return choose(SETTINGS, FLAGS, arguments, read_config_file)


def test_defaults_are_nsqlookupds() -> None:
    """Everything not given is as nsqlookupd 1.3.0 has it, addresses included."""
    assert lookupd_options(chosen()) == LookupdOptions(tcp_address="0.0.0.0:4160", http_address="0.0.0.0:4161")


def test_every_field_has_its_flag() -> None:
    """All that the library takes can be given to the command."""
    fields = [setting.field for setting in SETTINGS if setting.place == "lookupd"]

    assert sorted(fields) == sorted(attrs.fields_dict(LookupdOptions))


def test_flags_become_options() -> None:
    """With times as seconds."""
    found = lookupd_options(chosen("-inactive-producer-timeout=1m", "--tombstone-lifetime", "500ms"))

    assert (found.inactive_producer_timeout, found.tombstone_lifetime) == (60.0, 0.5)


@pytest.mark.parametrize("flag", ["-tcp-address=x", "-tombstone-lifetime=-1s", "-max-registrations=0"])
def test_option_out_of_range_is_refused(flag: str) -> None:
    """The error names the option, and the table names its flag."""
    found = chosen(flag)

    with pytest.raises(InvalidOptionError) as raised:
        lookupd_options(found)

    assert found.flag_of(raised.value.option) == "-" + flag.partition("=")[0]


def test_document_has_the_table() -> None:
    """docs/commands.md has every option with its default and what it does: NSQ's, then ours."""
    document = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    for origin in ("nsqd", "nsqlite"):
        rows = table([each for each in SETTINGS if each.origin == origin])
        assert "\n".join(["|---|---|---|", *rows, "\n"]) in document
