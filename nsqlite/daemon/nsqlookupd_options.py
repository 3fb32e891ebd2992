"""Every option of `nsqlite nsqlookupd`: those of nsqlookupd 1.3.0 with their names and defaults, and ours.

A row is: flag, what it takes, default, where it goes, what it is for.
"""

from __future__ import annotations

from typing import Final

from nsqlite.daemon.flags import FlagSet
from nsqlite.daemon.kinds import BOOL, DURATION, INTEGER, LOG_LEVEL, LOG_LEVELS, TEXT, TEXTS
from nsqlite.daemon.settings import NO_KEY, Chosen, Setting, flag_set
from nsqlite.net.lookupd.options import LookupdOptions
from nsqlite.options import SECOND_NS

PROGRAM: Final = "nsqlookupd"

SETTINGS: Final = (
    Setting("config", TEXT, "", "command", "a TOML file with options", key=NO_KEY),
    Setting("version", BOOL, False, "command", "print the version and end", key=NO_KEY),
    Setting("log-level", LOG_LEVEL, LOG_LEVELS["info"], "command", "log lines from: debug, info, warn, error or fatal"),
    Setting("log-prefix", TEXT, "[nsqlookupd] ", "command", "in front of every log line"),
    Setting(
        "verbose",
        BOOL,
        False,
        "nowhere",
        "deprecated: see -log-level",
        key=NO_KEY,
        note="nsqlookupd has no use for it either",
    ),
    Setting("tcp-address", TEXT, "0.0.0.0:4160", "lookupd", "where nsqds register: host:port"),
    Setting("http-address", TEXT, "0.0.0.0:4161", "lookupd", "where consumers and nsqadmin ask: host:port"),
    Setting(
        "broadcast-address", TEXT, "", "lookupd", "under which address nsqds reach this one; the host's name if empty"
    ),
    Setting(
        "inactive-producer-timeout",
        DURATION,
        300 * SECOND_NS,
        "lookupd",
        "time without a PING after which an nsqd is hidden",
    ),
    Setting("tombstone-lifetime", DURATION, 45 * SECOND_NS, "lookupd", "how long a tombstoned nsqd is hidden"),
    Setting(
        "max-connections",
        INTEGER,
        10_000,
        "lookupd",
        "TCP connections open at once; 0 for any number",
        origin="nsqlite",
    ),
    Setting("max-http-connections", INTEGER, 1_000, "lookupd", "the same for HTTP", origin="nsqlite"),
    Setting(
        "max-registrations",
        INTEGER,
        1_000_000,
        "lookupd",
        "topics, channels, and nsqds at each, all together",
        origin="nsqlite",
    ),
    Setting(
        "max-producer-registrations", INTEGER, 100_000, "lookupd", "topics and channels of one nsqd", origin="nsqlite"
    ),
    Setting(
        "http-allowed-host",
        TEXTS,
        (),
        "lookupd",
        "a name under which browsers may change something; may be repeated",
        origin="nsqlite",
        key="http_allowed_hosts",
    ),
)
FLAGS: Final[FlagSet] = flag_set(PROGRAM, SETTINGS)


def lookupd_options(chosen: Chosen) -> LookupdOptions:
    """What the nsqlookupd is opened with.

    Raises:
        InvalidOptionError: A value is out of its range.
    """
    return LookupdOptions(**chosen.options_of("lookupd"))
