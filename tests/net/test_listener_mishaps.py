"""Listeners that were interrupted, cancelled, misused or left without what they need."""

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import nsqlite
import nsqlite.net
from nsqlite.net.listener import Complaints
from nsqlite.net.options import ListenerOptions
from nsqlite.net.tcp_server import TcpServer
from tests.interop.transcripts.auth_server import auth_server
from tests.net.rig import rigged

PATIENCE_SECONDS = 20.0


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def test_interrupted_start_leaves_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while `listen` waits for its thread ends the thread and frees the port: nobody else could."""
    port = free_port()
    wait = threading.Event.wait

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        is_set = wait(event, timeout)
        if any(each.name == "nsqlite-listener" for each in threading.enumerate()):
            monkeypatch.undo()
            raise KeyboardInterrupt
        return is_set

    with nsqlite.open() as node:
        monkeypatch.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nsqlite.net.listen(node, tcp_address=f"127.0.0.1:{port}")

        assert not is_taken(port)
        assert not any(each.name == "nsqlite-listener" for each in threading.enumerate())


@pytest.mark.parametrize("rounds", range(8))
async def test_cancelled_start_leaves_no_listener(rounds: int) -> None:
    """At whatever moment of its start a listener is cancelled, its port is free afterwards."""
    port = free_port()
    with nsqlite.open() as node:

        async def serve() -> None:
            async with nsqlite.net.serve(node, tcp_address=f"127.0.0.1:{port}"):
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        for _ in range(rounds):
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

        assert not is_taken(port)
        assert node.engine.producers == []


@pytest.mark.parametrize("thing", [None, 3, "node"])
def test_what_is_no_node_is_refused(thing: object) -> None:
    """Both ways to listen say what they want to be given."""
    for listen in (nsqlite.net.listen, nsqlite.net.serve):
        with pytest.raises(nsqlite.InvalidOptionError, match="give"):
            listen(thing)


def test_loop_complains_of_each_thing_once(caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors a loop complains at every turn; the log hears of it once."""
    loop = asyncio.new_event_loop()
    complaints = Complaints()

    for message in ("socket.accept() out of system resource", "something else") * 3:
        complaints.hear(loop, {"message": message})
    loop.close()

    assert len(caplog.records) == 2


def test_full_store_lets_consumers_in(tmp_path: Path) -> None:
    """Who would make room may subscribe to what is there, and to an ephemeral channel, which needs no room."""
    clock = nsqlite.VirtualClock()
    node = nsqlite.open(tmp_path / "store", clock=clock, max_store_bytes=8 << 20, full_timeout=0.0)
    with node, rigged(node, clock) as rig:
        rig.node.topic("t").channel("c")
        with suppress(nsqlite.StoreFullError):
            while True:
                rig.node.topic("t").publish(b"x" * 100_000)

        for channel in ("c", "new#ephemeral"):
            assert rig.connect().ask(b"SUB t %s\n" % channel.encode()) == (0, b"OK")


async def test_failing_auth_servers_are_told_to_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    """The client hears AUTH failed, the operator why; and again only after it went well."""
    with nsqlite.open() as node, auth_server() as auth, caplog.at_level(logging.WARNING):
        server = TcpServer(node.engine, ListenerOptions(auth_http_addresses=[auth.address]))
        for _ in range(3):
            server.auth_failed(nsqlite.NsqliteError("no answer"))
        server.is_auth_told = False
        server.auth_failed(nsqlite.NsqliteError("no answer"))

        assert [record.getMessage() for record in caplog.records] == ["no answer"] * 2
        await server.close()
