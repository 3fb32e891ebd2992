"""Tests of /config."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

import nsqlite
from nsqlite.net.http_api.configuration import LOG_LEVELS, MAX_LOOKUPDS, WITHOUT_EFFECT, values_of
from nsqlite.net.nsqd import Nsqd
from nsqlite.net.options import ListenerOptions
from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import HttpClient, http
from tests.net.rig import Rig, rigged

TOKEN = "s3cret-token"


@pytest.fixture
def level() -> Iterator[logging.Logger]:
    """The logger, whose level is put back."""
    logger = logging.getLogger("nsqlite")
    was = logger.level
    yield logger
    logger.setLevel(was)


@pytest.mark.parametrize(
    "name,value",
    [
        ("max_msg_size", 1000),
        ("max_body_size", 5000),
        ("msg_timeout", 60_000_000_000),
        ("max_req_timeout", 3_600_000_000_000),
        ("max_heartbeat_interval", 60_000_000_000),
        ("snappy", True),
        ("deflate", True),
        ("tls_required", 0),
        ("tls_min_version", 771),
        ("e2e_processing_latency_percentiles", []),
        ("nsqlookupd_tcp_addresses", []),
        ("sync_every", 2500),
        ("max_bytes_per_file", 104_857_600),
    ],
)
def test_option_is_told(client: HttpClient, name: str, value: object) -> None:
    """Under nsqd's name and in nsqd's unit: times are nanoseconds."""
    answer = client.get(f"/config/{name}")

    assert (answer.status, answer.json) == (200, value)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_text_is_told_as_it_is(rig: Rig, client: HttpClient) -> None:
    """Without quotes; an empty one is an empty answer."""
    assert client.get("/config/http_address").body == b"127.0.0.1:0"
    assert client.get("/config/tls_cert").body == b""
    assert client.get("/config/data_path").body == b""
    assert client.get("/config/log_prefix").body == b"[nsqd] "


def test_options_that_are_none_are_refused(client: HttpClient) -> None:
    """Our own are none of nsqd's, and a secret is none at all."""
    for name in ("nonsense", "http_token", "max_http_connections", "__class__", "%00"):
        answer = client.get(f"/config/{name}")
        assert (answer.status, answer.code) == (400, "INVALID_OPTION")


def test_token_is_told_nowhere() -> None:
    """Neither by any option nor by any page that knows them, nor in the log."""
    with rigged(http_address=LOCAL, http_token=TOKEN) as rig:
        client = http(rig)
        shown = {"Authorization": f"Bearer {TOKEN}"}
        for target in ("/config/http_token", "/info", "/stats", "/stats?format=json", "/metrics", "/", "/page/data"):
            answer = client.get(target, **shown)
            assert TOKEN.encode() not in answer.body
            assert TOKEN not in str(answer.headers)
        assert TOKEN not in repr(rig.listener.options)
        assert TOKEN not in "".join(rig.lines)


@pytest.mark.parametrize("word", ["debug", "info", "warn", "error", "fatal", "DEBUG", "Warn"])
def test_log_level_is_set(client: HttpClient, level: logging.Logger, word: str) -> None:
    """By nsqd's words in any case; it is told as a number from 1."""
    answer = client.call("PUT", "/config/log_level", word.encode())

    assert (answer.status, answer.json) == (200, 1 + list(LOG_LEVELS).index(word.lower()))
    assert level.level == LOG_LEVELS[word.lower()]
    assert client.get("/config/log_level").json == answer.json


@pytest.mark.parametrize("word", [b"", b"warning", b"3", b"\xff", b"info\n"])
def test_log_level_that_is_none_is_refused(client: HttpClient, level: logging.Logger, word: bytes) -> None:
    """And the level stays."""
    was = level.level
    answer = client.call("PUT", "/config/log_level", word)

    assert (answer.status, answer.code) == ((400 if word else 413), "INVALID_VALUE")
    assert level.level == was


@pytest.mark.parametrize("name", ["msg_timeout", "nonsense", "http_token"])
def test_other_options_are_not_set(client: HttpClient, name: str) -> None:
    """As in nsqd."""
    answer = client.call("PUT", f"/config/{name}", b"1")

    assert (answer.status, answer.code) == (400, "INVALID_OPTION")


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"1",
        b'"a:1"',
        b"{}",
        b"[1]",
        b'["a"]',
        b'["a:0"]',
        b'[["a:1"]]',
        b'["a:99999"]',
        b"[" * 900,
        b"\xff",
    ],
)
def test_lookupds_that_are_none_are_refused(rig: Rig, client: HttpClient, body: bytes) -> None:
    """Anything but a list of host:port; those that are set stay."""
    answer = client.call("PUT", "/config/nsqlookupd_tcp_addresses", body)

    assert (answer.status, answer.code) == (400, "INVALID_VALUE")
    assert client.get("/config/nsqlookupd_tcp_addresses").json == []
    assert rig.lines == []


def test_lookupds_are_not_set_by_the_thousand() -> None:
    """Each is a connection; nor is a list in a list in a list taken apart for ever."""
    with rigged(http_address=LOCAL) as rig:
        client = http(rig)
        for body in (json.dumps(["a:1"] * (MAX_LOOKUPDS + 1)).encode(), b"[" * 500_000):
            answer = client.call("PUT", "/config/nsqlookupd_tcp_addresses", body)
            assert (answer.status, answer.code) == (400, "INVALID_VALUE")
        assert rig.lines == []


def test_no_lookupds_may_be_set(client: HttpClient) -> None:
    """By an empty list, or null."""
    for body in (b"[]", b"null"):
        answer = client.call("PUT", "/config/nsqlookupd_tcp_addresses", body)
        assert (answer.status, answer.json) == (200, [])


@pytest.mark.parametrize("size,status", [(1000, 400), (1001, 413)])
def test_value_is_no_longer_than_a_message(client: HttpClient, size: int, status: int) -> None:
    """As in nsqd."""
    assert client.call("PUT", "/config/log_level", b"x" * size).status == status
    assert client.call("PUT", "/config/log_level", chunks=(b"x" * size,)).status == status


async def test_command_tells_what_it_was_told() -> None:
    """Options without effect are shown with the values that somebody gave them."""
    with nsqlite.open() as node:
        nsqd = Nsqd(node.engine, ListenerOptions(), config={"sync_every": 7})
        values = values_of(nsqd)
        nsqd.tcp.door.close()

    assert values["sync_every"] == 7
    assert set(WITHOUT_EFFECT) <= set(values)
