"""Listeners with too many connections, that close at the worst moment, or want the same address."""

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsqlite
import nsqlite.net
from nsqlite.errors import ListenError
from nsqlite.net import tcp_server
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS
from tests.interop.transcripts.wire import identify, mpub, pub, u32
from tests.net.conftest import PemFiles
from tests.net.rig import HEARTBEAT, OK, Client, Rig, rigged

MANY = 1000
IDLE_BYTES = 16 * 1024  # of one idle connection: the server's objects, and the test's own socket
LOOPS = pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A listener on a node in memory, in either loop."""
    with rigged(uvloop=request.param) as made:
        yield made


# -- how many ----------------------------------------------------------------------------------------------------------


@LOOPS
def test_connections_beyond_the_limit_are_closed_at_once_and_told_of_once(uvloop: bool) -> None:
    """However many come and go at the limit, there is one line in the log, and those inside are served."""
    with rigged(uvloop=uvloop, max_connections=4) as rig:
        inside = [rig.connect() for _ in range(4)]
        for _ in range(5):
            assert rig.connect(magic=False).rest() == b""
            inside.pop(0).close()
            rig.until(lambda: len(rig.peers()) == 3)
            inside.append(rig.connect())
        assert [client.ask(pub("t", b"x")) for client in inside] == [OK] * 4
        assert rig.lines == ["refusing connections: max_connections=4 are open"]

        for client in inside:
            client.close()
        rig.until(lambda: not rig.peers())
        rig.is_served()


def test_thousand_idle_connections_are_heard_and_cost_little(rig: Rig) -> None:
    """Each gets its heartbeat, holds no buffer, and leaves nothing behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))
    before = _resident_bytes()
    clients = [rig.connect() for _ in range(MANY)]
    rig.until(lambda: len(rig.peers()) == MANY and all(peer.connection.has_magic for peer in rig.peers()))
    grown = _resident_bytes() - before
    assert grown < MANY * IDLE_BYTES
    rig.is_served()

    rig.advance(30)

    assert all(client.frame() == HEARTBEAT for client in clients)
    for client in clients:
        client.send(b"NOP\n")
    rig.settle()
    assert sum(peer.connection.buffered_bytes for peer in rig.peers()) == 0
    rig.advance(30)
    assert all(client.frame() == HEARTBEAT for client in clients)
    rig.advance(30)
    assert all(peer.is_closing for peer in rig.peers())
    rig.advance(1)
    assert rig.peers() == []
    assert rig.lines == []


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


# -- the listener ends -------------------------------------------------------------------------------------------------

MOMENTS: dict[str, Callable[[Rig], None]] = {
    "silent": lambda rig: rig.connect(magic=False).send(b""),
    "half a magic": lambda rig: rig.connect(magic=False).send(b"  "),
    "half a line": lambda rig: rig.connect().send(b"PU"),
    "half a body": lambda rig: rig.connect().send(b"PUB t\n" + u32(5) + b"x"),
    "half a batch": lambda rig: rig.connect().send(mpub("t", b"a", b"b")[:-1]),
    "in a handshake": lambda rig: rig.connect().send(identify(feature_negotiation=True, tls_v1=True)),
    "in deflate": lambda rig: rig.connect().send(identify(feature_negotiation=True, deflate=True)),
    "subscribing": lambda rig: rig.connect().send(b"SUB t c#ephemeral\n"),
    "subscribed": lambda rig: rig.subscriber("t", "c#ephemeral", rdy=0).send(b""),
    "waiting": lambda rig: rig.subscriber("t", "c", rdy=5).send(b"FIN"),
    "after an error": lambda rig: rig.connect().send(b"ASDF\n"),
    "half closed": lambda rig: rig.connect().half_close(),
    "reset": lambda rig: rig.connect().reset(),
    "many commands": lambda rig: rig.connect().send(b"NOP\n" * 100_000),
}


@LOOPS
@pytest.mark.parametrize("moment", MOMENTS)
def test_listener_may_close_at_any_moment(uvloop: bool, moment: str, server_certificate: PemFiles) -> None:
    """Five clients are where nobody expects it, and the listener closes without a complaint."""
    with rigged(uvloop=uvloop, tls_cert=server_certificate.cert, tls_key=server_certificate.key) as rig:
        rig.node.topic("t").publish(b"x")
        for _ in range(5):
            MOMENTS[moment](rig)
        closing = threading.Thread(target=rig.listener.close)
        closing.start()
        closing.join(PATIENCE_SECONDS)
        assert not closing.is_alive()
        assert rig.node.topic("t").channels in ([], ["c"])
        rig.clock.advance(3600)  # nothing is left that would ring in a loop that is closed


@LOOPS
def test_connections_that_come_while_the_listener_closes_are_refused(uvloop: bool) -> None:
    """Who is accepted at the last moment is let go like the rest."""
    with rigged(uvloop=uvloop) as rig:
        address = rig.listener.tcp_address
        with rig.stopped():
            clients = [Client(address, magic=False) for _ in range(50)]
            closing = Caller(rig.listener.close)
        closing.outcome()
        for client in clients:
            assert client.rest() == b""
            client.close()


@LOOPS
def test_consumer_that_never_reads_does_not_keep_a_listener_open(
    uvloop: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did not take is in flight until its time is over."""
    monkeypatch.setattr(tcp_server, "DRAIN_SECONDS", 0.1)
    with rigged(uvloop=uvloop, tcp_address=str(tmp_path / "nsq.sock")) as rig:
        topic = rig.node.topic("t")
        channel = topic.channel("c")
        rig.subscriber("t", "c", rdy=2500)
        topic.publish_many([b"x" * 5000] * 300)
        rig.until(lambda: any(peer.is_choked for peer in rig.peers()))

        rig.listener.close()

        rig.clock.advance(60)
        assert channel.depth + channel.in_flight_count == 300
        assert len(channel.receive_many(300, timeout=0)) == 300


# -- several of everything ---------------------------------------------------------------------------------------------


def test_two_listeners_share_a_node(rig: Rig) -> None:
    """What is published at one is consumed at the other, and one may go without the other."""
    other = nsqlite.net.listen(rig.node, tcp_address="127.0.0.1:0", uvloop=False)
    try:
        there = Client(other.tcp_address)
        here = rig.subscriber("t", "c", rdy=1)
        assert there.ask(pub("t", b"x")) == OK
        assert here.message()[1] == b"x"
        assert there.ask(b"SUB t d\n") == OK
        assert here.ask(pub("t", b"y")) == OK
        assert {client.remote_address for client in rig.node.stats().producers} == {
            peer.remote_address for peer in (*rig.peers(), *_peers_of(rig, 1)) if peer.session.pub_counts
        }
    finally:
        other.close()
    assert there.rest() == b""
    there.close()
    rig.is_served()
    assert rig.node.topic("t").channel("d").depth == 1


def _peers_of(rig: Rig, index: int) -> list[tcp_server.Peer]:
    return list(rig.node.engine.producers[index].__self__._peers)  # type: ignore[attr-defined]


def test_unix_socket_of_the_dead_is_replaced_and_of_the_living_is_not(rig: Rig, tmp_path: Path) -> None:
    """A file that a crash left is no hindrance; another listener, or a file that is no socket, is."""
    path = tmp_path / "nsq.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()

    with nsqlite.net.listen(rig.node, tcp_address=str(path)):
        client = Client(str(path))
        assert client.ask(pub("t", b"x")) == OK
        client.close()
        with pytest.raises(ListenError):
            nsqlite.net.listen(rig.node, tcp_address=str(path))
        assert path.exists()
    assert not path.exists()
    path.write_bytes(b"mine")
    with pytest.raises(ListenError):
        nsqlite.net.listen(rig.node, tcp_address=str(path))
    assert path.read_bytes() == b"mine"
