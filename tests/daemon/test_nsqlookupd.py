"""`nsqlite nsqlookupd`, in a process of its own where signals are the point."""

import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from nsqlite.daemon import nsqlookupd
from nsqlite.daemon.foreground import FAILED, OK
from tests.daemon.daemons import ANY_PORTS, daemon


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nsqlookupd_serves_until_it_is_told_to_end(tmp_path: Path, number: int) -> None:
    """It says where it listens, serves there, and ends with 0."""
    with daemon("nsqlookupd", cwd=tmp_path) as running:
        http, _ = running.port("HTTP"), running.port("TCP")
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/topics") as answer:
            assert json.load(answer) == {"topics": []}
        code = running.end(number)

    assert code == OK
    assert all(line.startswith("[nsqlookupd] ") for line in running.lines)


@pytest.mark.parametrize(
    "flag, words",
    [
        ("-tcp-address=x", "failed to instantiate nsqlookupd - --tcp-address: option tcp_address='x' is not valid"),
        ("-config=/nonesuch", "failed to load config file /nonesuch - open /nonesuch: no such file or directory"),
    ],
)
def test_nsqlookupd_refuses_by_name(flag: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that is out of its range is named."""
    assert nsqlookupd.main([*ANY_PORTS, flag]) == FAILED

    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("[nsqlookupd] ")
    assert last.partition(" FATAL: ")[2].startswith(words)


def test_address_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With the address, in nsqlookupd's words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert nsqlookupd.main([*ANY_PORTS, f"-http-address={address}"]) == FAILED

    told = f" FATAL: failed to instantiate nsqlookupd - listen ({address}) failed - "
    assert told in capsys.readouterr().err.splitlines()[-1]
