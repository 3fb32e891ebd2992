"""Every option of `nsqlite nsqd`: those of nsqd 1.3.0 with their names and defaults, and ours.

A row is: flag, what it takes, default, where it goes, what it is for.
"""

from __future__ import annotations

from typing import Any, Final

from nsqlite.daemon.flags import FlagSet
from nsqlite.daemon.kinds import (
    BOOL,
    DURATION,
    FLOATS,
    INTEGER,
    LOG_LEVEL,
    LOG_LEVELS,
    MS_NS,
    TEXT,
    TEXTS,
    TLS_REQUIRED,
    TLS_VERSION,
    choice,
    not_empty,
    refused,
)
from nsqlite.daemon.settings import NO_KEY, Chosen, Setting, flag_set
from nsqlite.net.options import ListenerOptions
from nsqlite.options import KIB, MIB, SECOND_NS, Options

MINUTE_NS: Final = 60 * SECOND_NS
PROGRAM: Final = "nsqd"
_NO_DISK_QUEUE: Final = "there is no disk queue: see `--durability`"
_EXACT_TIMES: Final = "there is no scan: timeouts and delays end at their time"
_WOULD_OPEN: Final = "would let everybody in: leave the option out"
_NO_EXPERIMENTS: Final = "consumers of another zone get messages as others do, so do without it"

_COMMAND: Final = (
    Setting("config", TEXT, "", "command", "a TOML file with options", key=NO_KEY),
    Setting("version", BOOL, False, "command", "print the version and end", key=NO_KEY),
    Setting("log-level", LOG_LEVEL, LOG_LEVELS["info"], "command", "log lines from: debug, info, warn, error or fatal"),
    Setting("log-prefix", TEXT, "[nsqd] ", "command", "in front of every log line"),
    Setting(
        "verbose",
        BOOL,
        False,
        "nowhere",
        "deprecated: see -log-level",
        key=NO_KEY,
        note="nsqd has no use for it either",
    ),
    Setting(
        "worker-id",
        BOOL,
        False,
        "nowhere",
        "deprecated: see -node-id",
        key=NO_KEY,
        note="nsqd has no use for it either",
    ),
)
_ADDRESSES: Final = (
    Setting(
        "tcp-address",
        TEXT,
        "0.0.0.0:4150",
        "listener",
        "where clients connect: host:port, or the path of a unix socket",
        note="a path has a `/`",
    ),
    Setting(
        "http-address",
        TEXT,
        "0.0.0.0:4151",
        "listener",
        "where HTTP is served: host:port, or the path of a unix socket; empty for nowhere",
    ),
    Setting(
        "https-address",
        TEXT,
        "0.0.0.0:4152",
        "listener",
        "where HTTPS is served: host:port",
        note="only with a certificate",
    ),
    Setting(
        "broadcast-address",
        TEXT,
        "",
        "listener",
        "under which address others reach this node; the host's name if empty",
    ),
    Setting(
        "broadcast-tcp-port", INTEGER, 0, "listener", "at which port they reach its TCP address; 0 for the bound one"
    ),
    Setting("broadcast-http-port", INTEGER, 0, "listener", "the same for HTTP"),
    Setting(
        "lookupd-tcp-address",
        TEXTS,
        (),
        "listener",
        "host:port of an nsqlookupd to register with; may be repeated",
        key="nsqlookupd_tcp_addresses",
    ),
    Setting(
        "auth-http-address",
        not_empty(TEXTS, f"an empty address {_WOULD_OPEN}"),
        (),
        "listener",
        "host:port or URL of an auth server, which means that clients must AUTH; may be repeated",
        key="auth_http_addresses",
    ),
    Setting(
        "http-client-connect-timeout",
        DURATION,
        2 * SECOND_NS,
        "listener",
        "until connecting to an auth server or nsqlookupd has failed",
    ),
    Setting("http-client-request-timeout", DURATION, 5 * SECOND_NS, "listener", "until a request there has failed"),
)
_QUEUES: Final = (
    Setting(
        "data-path",
        TEXT,
        "",
        "command",
        "the folder of the store; the current one if empty",
        note="must be there; what nsqd left in it is imported",
    ),
    Setting(
        "node-id",
        INTEGER,
        None,
        "node",
        "the upper bits of message ids, from 0 to 1023",
        key="id",
        field="node_id",
        note="default: the store's own, for a new store nsqd's default for this host",
    ),
    Setting(
        "mem-queue-size",
        INTEGER,
        10_000,
        "node",
        "messages that wait in an ephemeral topic or channel",
        note="others wait on disk, any number of them",
    ),
    Setting("max-bytes-per-file", INTEGER, 100 * MIB, "nowhere", "size of a file of a disk queue", note=_NO_DISK_QUEUE),
    Setting("sync-every", INTEGER, 2_500, "nowhere", "messages between syncs of a disk queue", note=_NO_DISK_QUEUE),
    Setting(
        "sync-timeout", DURATION, 2 * SECOND_NS, "nowhere", "time between syncs of a disk queue", note=_NO_DISK_QUEUE
    ),
    Setting("queue-scan-selection-count", INTEGER, 20, "nowhere", "channels looked at in one scan", note=_EXACT_TIMES),
    Setting("queue-scan-worker-pool-max", INTEGER, 4, "nowhere", "workers that scan", note=_EXACT_TIMES),
)
_MESSAGES: Final = (
    Setting(
        "msg-timeout",
        DURATION,
        MINUTE_NS,
        "node",
        "until an unanswered message is delivered again",
        note="raises `--max-msg-timeout` if it is longer",
    ),
    Setting(
        "max-msg-timeout", DURATION, 15 * MINUTE_NS, "node", "the longest timeout a client may ask for, TOUCH included"
    ),
    Setting("max-msg-size", INTEGER, MIB, "node", "bytes of one message"),
    Setting("max-req-timeout", DURATION, 60 * MINUTE_NS, "node", "the longest delay a client may ask for"),
    Setting("max-body-size", INTEGER, 5 * MIB, "node", "bytes of one command's body"),
)
_CLIENTS: Final = (
    Setting(
        "max-heartbeat-interval", DURATION, MINUTE_NS, "listener", "the longest heartbeat interval a client may ask for"
    ),
    Setting("max-rdy-count", INTEGER, 2_500, "node", "the highest RDY"),
    Setting(
        "max-output-buffer-size",
        INTEGER,
        64 * KIB,
        "listener",
        "the largest output buffer a client may ask for, in bytes",
    ),
    Setting(
        "max-output-buffer-timeout",
        DURATION,
        30 * SECOND_NS,
        "listener",
        "the longest time in it that a client may ask for",
    ),
    Setting("min-output-buffer-timeout", DURATION, 25 * MS_NS, "listener", "the shortest"),
    Setting(
        "output-buffer-timeout",
        DURATION,
        250 * MS_NS,
        "listener",
        "how long messages wait in it if the client does not ask",
    ),
    Setting("max-channel-consumers", INTEGER, 0, "node", "consumers on one channel; 0 for any number"),
)
_STATSD: Final = (
    Setting("statsd-address", TEXT, "", "listener", "host:port (UDP) of a statsd to push to"),
    Setting("statsd-interval", DURATION, MINUTE_NS, "listener", "time between pushes, more than a second"),
    Setting("statsd-mem-stats", BOOL, True, "listener", "push figures of the process's memory, too"),
    Setting("statsd-prefix", TEXT, "nsq.%s", "listener", "in front of every name; %s becomes address and port"),
    Setting("statsd-udp-packet-size", INTEGER, 508, "listener", "bytes of one datagram"),
    Setting("statsd-exclude-ephemeral", BOOL, False, "listener", "leave ephemeral topics and channels out"),
    Setting(
        "e2e-processing-latency-percentile",
        FLOATS,
        (),
        "node",
        "percentiles of the time from publish to finish, as 1.0,0.99; may be repeated",
        key="e2e_processing_latency_percentiles",
    ),
    Setting("e2e-processing-latency-window-time", DURATION, 10 * MINUTE_NS, "node", "how far back they look"),
)
_TLS: Final = (
    Setting("tls-cert", TEXT, "", "listener", "file of the certificate, PEM"),
    Setting("tls-key", TEXT, "", "listener", "file of its key, PEM"),
    Setting(
        "tls-client-auth-policy",
        TEXT,
        "",
        "listener",
        "require, or require-verify, a client's certificate",
        note="`require` verifies, too",
    ),
    Setting("tls-root-ca-file", TEXT, "", "listener", "file of the authorities that may have signed it, PEM"),
    Setting(
        "tls-required",
        TLS_REQUIRED,
        False,
        "listener",
        "whether clients have to use TLS: true, false, or tcp-https",
        note="a value needs the form with `=`",
    ),
    Setting(
        "tls-min-version",
        TLS_VERSION,
        "tls1.2",
        "listener",
        "oldest TLS spoken: tls1.0, tls1.1, tls1.2 or tls1.3",
        note="nsqd's default is tls1.0, which is broken; nsqd's help has ssl3.0, which nsqd refuses, too",
    ),
    Setting("deflate", BOOL, True, "listener", "offer deflate"),
    Setting("max-deflate-level", INTEGER, 6, "listener", "the highest level a client gets, from 1 to 9"),
    Setting("snappy", BOOL, True, "listener", "offer snappy"),
)
_LATER: Final = (
    Setting(
        "auth-http-request-method",
        choice("get", "post"),
        "get",
        "listener",
        "how auth servers are asked: get or post",
        origin="later",
    ),
    Setting("topology-region", TEXT, "", "listener", "where this node is, told to clients", origin="later"),
    Setting("topology-zone", TEXT, "", "listener", "the same, within the region", origin="later"),
    Setting(
        "enable-experiment",
        refused(_NO_EXPERIMENTS),
        None,
        "nowhere",
        "an experiment of later versions of nsqd",
        key=NO_KEY,
        origin="later",
        note=f"refused: {_NO_EXPERIMENTS}",
    ),
)
_OURS: Final = (
    Setting(
        "durability",
        choice("fsync", "commit", "memory"),
        "fsync",
        "command",
        "what an answer to PUB promises: fsync, commit or memory",
        origin="nsqlite",
        note="at `memory` no store is opened",
    ),
    Setting("sync-interval", DURATION, 200 * MS_NS, "node", "time between syncs at commit", origin="nsqlite"),
    Setting(
        "max-store-bytes",
        INTEGER,
        None,
        "node",
        "bytes that the store may take",
        origin="nsqlite",
        note="default: any number",
    ),
    Setting(
        "max-journal-bytes", INTEGER, 256 * MIB, "node", "bytes of journal at which publishing waits", origin="nsqlite"
    ),
    Setting(
        "cache-bytes", INTEGER, 32 * MIB, "node", "bytes of settled messages that stay in memory", origin="nsqlite"
    ),
    Setting(
        "full-timeout",
        DURATION,
        10 * SECOND_NS,
        "node",
        "how long publishing waits for room in a full store",
        origin="nsqlite",
    ),
    Setting(
        "allow-network-filesystem",
        BOOL,
        False,
        "node",
        "open a store where locks and syncs cannot be trusted",
        origin="nsqlite",
    ),
    Setting(
        "http-token",
        not_empty(TEXT, f"an empty token {_WOULD_OPEN}"),
        "",
        "listener",
        "who uses HTTP shows it as a bearer token",
        origin="nsqlite",
        note="better in the config file: command lines are seen by all users",
    ),
    Setting(
        "http-allowed-host",
        TEXTS,
        (),
        "listener",
        "a name under which browsers may change something; may be repeated",
        origin="nsqlite",
        key="http_allowed_hosts",
    ),
    Setting(
        "http-page",
        choice("off", "read-only", "read-write"),
        "read-only",
        "listener",
        "the page for people: off, read-only or read-write",
        origin="nsqlite",
    ),
    Setting("http-metrics", BOOL, True, "listener", "serve /metrics for Prometheus", origin="nsqlite"),
    Setting(
        "max-connections", INTEGER, 0, "listener", "TCP connections open at once; 0 for any number", origin="nsqlite"
    ),
    Setting("max-http-connections", INTEGER, 1_000, "listener", "the same for HTTP", origin="nsqlite"),
)

SETTINGS: Final = (*_COMMAND, *_ADDRESSES, *_QUEUES, *_MESSAGES, *_CLIENTS, *_STATSD, *_TLS, *_LATER, *_OURS)
FLAGS: Final[FlagSet] = flag_set(PROGRAM, SETTINGS)


def node_options(chosen: Chosen) -> Options:
    """What the node is opened with.

    nsqd lets a message's default timeout be longer than the longest that may be asked for,
    so that is raised to it.

    Raises:
        InvalidOptionError: A value is out of its range.
    """
    fields = chosen.options_of("node")
    fields["max_msg_timeout"] = max(fields["max_msg_timeout"], fields["msg_timeout"])
    return Options(durability=chosen["durability"], **fields)


def listener_options(chosen: Chosen) -> ListenerOptions:
    """What the listener is opened with; HTTPS only with a certificate, as nsqd.

    Raises:
        InvalidOptionError: A value is out of its range.
    """
    fields: dict[str, Any] = chosen.options_of("listener")
    if not fields["tls_cert"]:
        fields["https_address"] = ""
    return ListenerOptions(**fields)


def command_config(chosen: Chosen) -> dict[str, Any]:
    """What `GET /config` answers for what neither node nor listener knows, by nsqd's names."""
    return {**chosen.config(), "https_address": chosen["https-address"]}
