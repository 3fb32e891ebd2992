"""`nsqlite nsqd`, in a process of its own where signals and locks are the point."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import nsqlite
from nsqlite.daemon import nsqd
from nsqlite.daemon.foreground import FAILED, MISUSED, OK
from tests.daemon.daemons import ANY_PORTS, COMMAND, ROOT, Daemon, daemon
from tests.fakes.nsqd_files import record, write_nsqd_dat, write_queue


def exchange(port: int, request: bytes, size: int) -> bytes:
    """Send over TCP, and read as many bytes of the answer."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request)
        return client.recv(size, socket.MSG_WAITALL)


def asked(port: int, path: str, body: bytes | None = None) -> bytes:
    """The answer over HTTP; with a body it is a PUT."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method="PUT" if body else "GET")
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What it says last when it cannot start."""
    assert nsqd.main([*ANY_PORTS, *flags]) == FAILED
    return capsys.readouterr().err.splitlines()[-1].partition(" FATAL: ")[2]


def run_to_end(*flags: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one that ends by itself."""
    command = [*COMMAND, "nsqd", *ANY_PORTS, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, check=False)


# -- a whole life --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nsqd_serves_until_it_is_told_to_end(tmp_path: Path, number: int) -> None:
    """It says where it listens, serves TCP and HTTP there, and ends with 0 and all it promised."""
    with daemon("nsqd", cwd=tmp_path) as running:
        tcp, http = running.port("TCP"), running.port("HTTP")
        assert exchange(tcp, b"  V2PUB orders\n\x00\x00\x00\x03one", 10).endswith(b"OK")
        assert asked(http, "/ping") == b"OK"
        code = running.end(number)

    assert code == OK
    assert running.lines[-1].endswith(" INFO: NSQ: bye")
    with nsqlite.open(tmp_path) as node:
        assert node.topic("orders").channel("billing").depth == 1


def test_nsqd_imports_before_it_serves(tmp_path: Path) -> None:
    """Who connects first finds what nsqd left."""
    write_nsqd_dat(tmp_path, {"orders": {"channels": {"billing": False}}})
    write_queue(tmp_path, "orders:billing", [record(b"one"), record(b"two")])

    with daemon("nsqd", cwd=tmp_path) as running:
        running.port("TCP")
        stats = json.loads(asked(running.port("HTTP"), "/stats?format=json"))
        code = running.end(signal.SIGTERM)

    assert code == OK
    assert stats["topics"][0]["channels"][0]["depth"] == 2


def test_second_nsqd_on_a_data_path_is_refused(tmp_path: Path) -> None:
    """It ends with 1 and nsqd's words, and the first one goes on."""
    with daemon("nsqd", cwd=tmp_path) as running:
        http = running.port("HTTP")
        second = run_to_end(f"--data-path={tmp_path}", cwd=ROOT)
        assert asked(http, "/ping") == b"OK"
        running.end(signal.SIGTERM)

    assert second.returncode == FAILED
    told = f"FATAL: failed to instantiate nsqd - failed to lock data-path: cannot flock directory {tmp_path} - "
    assert told in second.stderr.splitlines()[-1]
    assert second.stderr.endswith(
        f"(possibly in use by another instance of nsqd): process {running.process.pid} holds it\n"
    )


def test_nsqd_in_memory_leaves_nothing(tmp_path: Path) -> None:
    """At "memory" the data path is not touched."""
    with daemon("nsqd", "--durability=memory", cwd=tmp_path) as running:
        assert exchange(running.port("TCP"), b"  V2PUB orders\n\x00\x00\x00\x03one", 10).endswith(b"OK")
        code = running.end(signal.SIGTERM)

    assert code == OK
    assert list(tmp_path.iterdir()) == []


def test_nsqd_reads_its_config_file(tmp_path: Path) -> None:
    """The file's values hold where the command line has none."""
    (tmp_path / "nsqd.cfg").write_text('id = 5\nlog_prefix = "[file] "\nmax_msg_size = 3\n')

    with daemon("nsqd", "-config=nsqd.cfg", "-max-msg-size", "4", cwd=tmp_path) as running:
        running.says(r"\[file\] .* ID: 5$")
        tcp = running.port("TCP")
        too_long = exchange(tcp, b"  V2PUB orders\n\x00\x00\x00\x05three", 100)
        assert exchange(tcp, b"  V2PUB orders\n\x00\x00\x00\x04four", 10).endswith(b"OK")
        running.end(signal.SIGTERM)

    assert b"E_BAD_MESSAGE" in too_long


# The command, which writes to a descriptor once it listens with HTTP.
WITHOUT_DESCRIPTORS = """
import logging, os, sys
class Told(logging.Handler):
    said = set()
    def emit(self, record):
        self.said.add(record.getMessage()[:8])
        if {"TCP: lis", "HTTP: li"} <= self.said:
            self.said.clear()
            os.write(int(sys.argv[1]), b".")
logging.getLogger("nsqlite").addHandler(Told())
from nsqlite.cli import main
sys.exit(main(sys.argv[2:]))
"""


def values(running: Daemon, *names: str) -> list[Any]:
    """What GET /config says of these."""
    http = running.port("HTTP")
    return [asked(http, f"/config/{name}").decode() for name in names]


def test_nsqd_tells_its_options(tmp_path: Path) -> None:
    """GET /config has what only the command knows, in nsqd's forms."""
    with daemon("nsqd", "-sync-timeout=3s", "-data-path=.", "-lookupd-tcp-address=127.0.0.1:1", cwd=tmp_path) as it:
        found = values(it, "sync_timeout", "data_path", "https_address", "log_prefix", "log_level", "mem_queue_size")
        it.end(signal.SIGTERM)

    assert found == ["3000000000", ".", "0.0.0.0:4152", "[nsqd] ", "2", "10000"]


def test_nsqd_changes_its_log_level(tmp_path: Path) -> None:
    """PUT /config/log_level holds for the lines from then on."""
    with daemon("nsqd", "-durability=memory", cwd=tmp_path) as running:
        assert asked(running.port("HTTP"), "/config/log_level", b"error") == b"4"
        before = len(running.lines)
        assert running.end(signal.SIGTERM) == OK

    assert running.lines[before:] == []


# -- what it refuses -----------------------------------------------------------------------


def test_unknown_option_ends_with_two(tmp_path: Path) -> None:
    """Its name comes first, all options follow."""
    done = run_to_end("--nonesuch=1", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (MISUSED, "")
    assert done.stderr.startswith(
        "flag provided but not defined: -nonesuch\nUsage of nsqd:\n  -allow-network-filesystem"
    )


@pytest.mark.parametrize(
    "flag, given, wanted",
    [
        ("lookupd-tcp-address", "a:1,b:2", "give several of host:port, by repeating the option"),
        ("auth-http-address", "a:1,b:2", "give several of host:port or http(s)://..., by repeating the option"),
        (
            "http-allowed-host",
            "a,b",
            "give several host names, by repeating the option: the name only, without http:// and port",
        ),
    ],
)
def test_list_on_a_command_line_is_an_option_that_is_repeated(
    flag: str,
    given: str,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who has put commas between is told so."""
    monkeypatch.chdir(tmp_path)

    told = refused(capsys, f"--{flag}={given}")

    assert told.startswith(f"failed to instantiate nsqd - --{flag}: option ")
    assert told.endswith(f"=('{given}',) is not valid: {wanted}")


@pytest.mark.parametrize("flag, what", [("http-token", "an empty token"), ("auth-http-address", "an empty address")])
def test_protection_that_is_empty_is_refused(flag: str, what: str, tmp_path: Path) -> None:
    """A variable that is empty opens nothing to everybody."""
    done = run_to_end(f"--{flag}=", cwd=tmp_path)
    (tmp_path / "nsqd.cfg").write_text('http_token = ""\n')
    by_file = run_to_end("--config=nsqd.cfg", cwd=tmp_path)

    told = f'invalid value "" for flag -{flag}: {what} would let everybody in: leave the option out'
    assert (done.returncode, done.stderr.splitlines()[0]) == (MISUSED, told)
    assert by_file.returncode == FAILED
    assert "an empty token would let everybody in" in by_file.stderr


def test_empty_list_is_passed_over(tmp_path: Path) -> None:
    """A unit file's variable may be empty, which is said."""
    with daemon("nsqd", "--lookupd-tcp-address=", "--durability=memory", cwd=tmp_path) as running:
        running.says(r" WARNING: --lookupd-tcp-address is empty, which is taken as not given$")
        running.port("HTTP")
        assert running.end(signal.SIGTERM) == OK


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("verb", ["nsqd", "nsqlookupd"])
def test_daemon_without_descriptors_runs_and_ends_as_ever(verb: str, closed: str, tmp_path: Path) -> None:
    """What it would say goes nowhere, least of all into its files."""
    reader, writer = os.pipe()
    line = f'exec "$0" -c "$1" "$2" "$3" "$4" "$5" {closed}'
    arguments = [*COMMAND[:1], WITHOUT_DESCRIPTORS, str(writer), verb, *ANY_PORTS]

    with subprocess.Popen(
        ["sh", "-c", line, *arguments], pass_fds=[writer], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        os.close(writer)
        assert os.read(reader, 1) == b"."  # it listens
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    os.close(reader)

    assert code == OK
    assert [each for each in tmp_path.rglob("*") if each.is_file() and b"INFO" in each.read_bytes()] == []


@pytest.mark.parametrize(
    "flag, words",
    [
        ("-max-deflate-level=0", "failed to instantiate nsqd - --max-deflate-level must be [1,9]"),
        ("-node-id=1024", "failed to instantiate nsqd - --node-id must be [0,1024)"),
        (
            "-tls-required=true",
            "failed to instantiate nsqd - cannot require TLS client connections without TLS key and cert",
        ),
        (
            "-tls-client-auth-policy=require",
            "failed to instantiate nsqd - cannot require TLS client connections without TLS key and cert",
        ),
        (
            "-e2e-processing-latency-percentile=2",
            "failed to instantiate nsqd - invalid E2E processing latency percentile: ",
        ),
        ("-statsd-interval=1s", "failed to instantiate nsqd - --statsd-interval: option statsd_interval=1.0 is not"),
        ("-tls-key=k", "failed to instantiate nsqd - --tls-cert: option tls_cert='' is not"),
        ("-data-path=/nonesuch", "failed to instantiate nsqd - failed to lock data-path: open /nonesuch: no such file"),
        ("-config=/nonesuch", "failed to load config file /nonesuch - open /nonesuch: no such file or directory"),
    ],
)
def test_nsqd_refuses_in_nsqds_words(
    flag: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts look for them; where nsqd has none, the option is named."""
    monkeypatch.chdir(tmp_path)

    assert refused(capsys, flag).startswith(words)


def test_address_in_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the address, and the store is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused(capsys, f"-data-path={tmp_path}", f"-tcp-address={address}")

    assert told.startswith(f"failed to instantiate nsqd - listen ({address}) failed - ")
    with nsqlite.open(tmp_path):
        pass


def test_metadata_that_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As nsqd does, and nothing is put aside."""
    (tmp_path / "nsqd.dat").write_text("{")

    told = refused(capsys, f"-data-path={tmp_path}")

    assert told.startswith(f"failed to load metadata - failed to parse metadata in {tmp_path}/nsqd.dat - ")
    assert (tmp_path / "nsqd.dat").read_text() == "{"


def test_store_that_cannot_be_opened_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the sentence that the library has for it."""
    (tmp_path / "lmdb").write_text("x")

    assert "what is called 'lmdb' there is no store's" in refused(capsys, f"-data-path={tmp_path}")
