"""nsqd's config file."""

from pathlib import Path

import pytest

from nsqlite.daemon.config_file import ConfigFileError, read_config_file
from nsqlite.daemon.nsqd_options import SETTINGS

# Every form of value that nsqd's example of a config file has.
EXAMPLE = """
log_level = "warn"
id = 515
tcp_address = "0.0.0.0:4150"
nsqlookupd_tcp_addresses = [
    "127.0.0.1:4160",
    "127.0.0.1:4162"
]
http_client_connect_timeout = "2s"
max_req_timeout = 5000
mem_queue_size = 10000
statsd_mem_stats = true
e2e_processing_latency_percentiles = [
    1.0,
    0.99
]
tls_cert = ""
tls_required = false
tls_min_version = ""
colour = "red"

[section]
msg_timeout = "1s"
"""


def read(path: Path, text: str) -> tuple[dict[str, object], list[str]]:
    """Write a config file, and read it."""
    file = path / "nsqd.cfg"
    file.write_text(text)
    return read_config_file(str(file), SETTINGS)


def test_config_file_is_nsqds(tmp_path: Path) -> None:
    """Keys are the flags with underscores, but for four; values come as from the command line."""
    values, unknown = read(tmp_path, EXAMPLE)

    assert values == {
        "log-level": 3,
        "node-id": 515,
        "tcp-address": "0.0.0.0:4150",
        "lookupd-tcp-address": ("127.0.0.1:4160", "127.0.0.1:4162"),
        "http-client-connect-timeout": 2_000_000_000,
        "max-req-timeout": 5_000_000_000,
        "mem-queue-size": 10_000,
        "statsd-mem-stats": True,
        "e2e-processing-latency-percentile": (1.0, 0.99),
        "tls-cert": "",
        "tls-required": False,
        "tls-min-version": "tls1.2",
    }
    assert unknown == ["colour", "section"]


@pytest.mark.parametrize("key", ["node_id", "lookupd_tcp_address", "config", "version", "verbose", "-"])
def test_config_file_has_no_other_keys(tmp_path: Path, key: str) -> None:
    """A flag's own name is no key where the key is another, or where there is none."""
    assert read(tmp_path, f'"{key}" = "x"') == ({}, [key])


@pytest.mark.parametrize(
    "text, words",
    [
        ('msg_timeout = "60"', r"failed parsing msg_timeout '60': missing unit in duration '60'"),
        ("deflate = 0", "failed parsing deflate 0: give true or false"),
        ("tls_required = 2", "failed parsing tls_required 2: "),
        ('log_level = "loud"', "failed parsing log_level 'loud': invalid log level 'loud'"),
        ("msg_timeout = ", "Invalid value"),
        ("x = 1\nx = 2", "Cannot overwrite a value"),
    ],
)
def test_config_file_is_refused_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    """A value that is none is named with its key, and a file that is no TOML with the place."""
    with pytest.raises(ConfigFileError, match=words) as raised:
        read(tmp_path, text)

    assert str(raised.value).startswith(f"failed to load config file {tmp_path}/nsqd.cfg - ")


def test_token_is_not_told(tmp_path: Path) -> None:
    """A secret that is of the wrong type does not reach the log."""
    with pytest.raises(ConfigFileError, match=r"failed parsing http_token \.\.\.: give a string"):
        read(tmp_path, "http_token = 1234567")


def test_missing_config_file_is_told_as_nsqd_does(tmp_path: Path) -> None:
    """In the words that Go has for it."""
    path = f"{tmp_path}/nonesuch"

    with pytest.raises(ConfigFileError) as raised:
        read_config_file(path, SETTINGS)

    assert str(raised.value) == f"failed to load config file {path} - open {path}: no such file or directory"


def test_config_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are an error like any other."""
    (tmp_path / "nsqd.cfg").write_bytes(b"x = '\xff'")

    with pytest.raises(ConfigFileError, match="utf-8"):
        read_config_file(str(tmp_path / "nsqd.cfg"), SETTINGS)
