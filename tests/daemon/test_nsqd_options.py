"""nsqd's options, as a table."""

import attrs
import pytest

from nsqlite.daemon.config_file import read_config_file
from nsqlite.daemon.nsqd_options import FLAGS, SETTINGS, command_config, listener_options, node_options
from nsqlite.daemon.settings import Chosen, choose
from nsqlite.errors import InvalidOptionError
from nsqlite.net.options import ListenerOptions
from nsqlite.options import Options
from tests.daemon.daemons import ROOT, table

# Fields that no flag sets, and why.
WITHOUT_FLAG = {
    "durability": "given beside the others, since it decides whether there is a store",
    "max_batch_bytes": "for publish_many in the process; the wire has max_body_size",
    "settle_interval": "nobody has had to change it",
    "settle_bytes": "the same",
    "journal_writes": "the same",
    "uvloop": "the command has a loop of its own",
}
CERTIFICATE = ("-tls-cert=c", "-tls-key=k")


def chosen(*arguments: str) -> Chosen:
    """What these arguments choose."""
    return choose(SETTINGS, FLAGS, arguments, read_config_file)


def test_defaults_are_nsqds() -> None:
    """Everything not given is as nsqd 1.3.0 has it, addresses included; HTTPS waits for a certificate."""
    node, listener = node_options(chosen()), listener_options(chosen())

    assert node == Options(durability="fsync")
    assert listener == ListenerOptions(tcp_address="0.0.0.0:4150", http_address="0.0.0.0:4151")


def test_https_comes_with_a_certificate() -> None:
    """Its address is nsqd's, or what is given."""
    assert listener_options(chosen("-https-address=h:1")).https_address == ""
    assert listener_options(chosen(*CERTIFICATE)).https_address == "0.0.0.0:4152"
    assert listener_options(chosen(*CERTIFICATE, "-https-address=")).https_address == ""


@pytest.mark.parametrize("flag", [setting for setting in SETTINGS if setting.place in ("node", "listener")])
def test_flags_reach_fields(flag: object) -> None:
    """Each goes to a field that is there."""
    kind = {"node": Options, "listener": ListenerOptions}[flag.place]

    assert flag.field in attrs.fields_dict(kind)


def test_fields_have_flags() -> None:
    """Every option of the library can be given to the command, but for a few, each with its reason."""
    fields = {field.name for kind in (Options, ListenerOptions) for field in attrs.fields(kind)}

    assert fields - {setting.field for setting in SETTINGS if setting.place in ("node", "listener")} == {*WITHOUT_FLAG}


def test_flags_become_options() -> None:
    """With times as seconds, lists as tuples, and percentiles from the highest on."""
    found = chosen(
        "-node-id=7",
        "-msg-timeout=1m30s",
        "-e2e-processing-latency-percentile=0.5",
        "-e2e-processing-latency-percentile=1.0,0.99",
        "-lookupd-tcp-address=a:1",
        "--lookupd-tcp-address",
        "b:2",
        "-tls-required=tcp-https",
        "-durability=commit",
        *CERTIFICATE,
    )

    node, listener = node_options(found), listener_options(found)
    assert (node.durability, node.node_id, node.msg_timeout) == ("commit", 7, 90.0)
    assert node.e2e_processing_latency_percentiles == (1.0, 0.99, 0.5)
    assert listener.nsqlookupd_tcp_addresses == ("a:1", "b:2")
    assert listener.tls_required == "tcp-https"


def test_longer_msg_timeout_raises_the_longest() -> None:
    """nsqd does not compare the two, so a deployment may have them so."""
    node = node_options(chosen("-msg-timeout=1h"))

    assert (node.msg_timeout, node.max_msg_timeout) == (3600.0, 3600.0)


@pytest.mark.parametrize(
    "flag",
    [
        "-max-msg-size=0",
        "-msg-timeout=0",
        "-msg-timeout=-1s",
        "-node-id=1024",
        "-max-store-bytes=1",
        "-e2e-processing-latency-percentile=1.5",
    ],
)
def test_node_option_out_of_range_is_refused(flag: str) -> None:
    """The error names the option, and the table names its flag."""
    found = chosen(flag)

    with pytest.raises(InvalidOptionError) as raised:
        node_options(found)

    assert found.flag_of(raised.value.option) == "-" + flag.partition("=")[0]


@pytest.mark.parametrize(
    "flag",
    [
        "-max-deflate-level=0",
        "-statsd-interval=1s",
        "-lookupd-tcp-address=nonesuch",
        "-broadcast-tcp-port=65536",
        "-tls-client-auth-policy=maybe",
        "-http-token=a b",
        "-tcp-address=4150",
    ],
)
def test_listener_option_out_of_range_is_refused(flag: str) -> None:
    """The same, for what goes to the listener."""
    found = chosen(flag)

    with pytest.raises(InvalidOptionError) as raised:
        listener_options(found)

    assert found.flag_of(raised.value.option) == "-" + flag.partition("=")[0]


def test_config_has_what_only_the_command_knows() -> None:
    """In nsqd's units, and as it was given."""
    assert command_config(chosen("-data-path=x", "-sync-timeout=3s")) == {
        "log_prefix": "[nsqd] ",
        "https_address": "0.0.0.0:4152",
        "data_path": "x",
        "max_bytes_per_file": 104_857_600,
        "sync_every": 2500,
        "sync_timeout": 3_000_000_000,
        "queue_scan_selection_count": 20,
        "queue_scan_worker_pool_max": 4,
    }


def test_names_are_unique() -> None:
    """No flag, and no key, is there twice."""
    names = [setting.name for setting in SETTINGS]
    keys = [setting.key for setting in SETTINGS if setting.has_key]

    assert (len({*names}), len({*keys})) == (len(names), len(keys))


def test_document_has_the_table() -> None:
    """docs/commands.md has every option with its default and what it does: with effect, without, later, ours."""
    document = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    groups = [
        [each for each in SETTINGS if each.origin == "nsqd" and each.place != "nowhere"],
        [each for each in SETTINGS if each.origin == "nsqd" and each.place == "nowhere"],
        [each for each in SETTINGS if each.origin == "later"],
        [each for each in SETTINGS if each.origin == "nsqlite"],
    ]

    for group in groups:
        assert "\n".join(["|---|---|---|", *table(group), "\n"]) in document
