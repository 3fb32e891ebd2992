"""A connection carries out what arrives in order, reads no further ahead than it can work, and ends politely."""

import threading
from collections.abc import Callable, Iterator

import pytest

from nsqlite.net.peer import COMMANDS_A_TURN, READ_AHEAD_BYTES
from tests.fakes.clock import PATIENCE_SECONDS
from tests.fakes.gated import GatedStorage
from tests.interop.transcripts.wire import identify, pub
from tests.net.client import bodies, choke, fin, frames, is_silent
from tests.net.rig import ERROR, MESSAGE, OK, RESPONSE, Rig, rigged

ONE_READ_BYTES = 256 * 1024  # the most that a loop reads at once


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A listener at a node in memory, on either loop."""
    with rigged(uvloop=request.param) as made:
        yield made


def while_held(rig: Rig, act: Callable[[], None]) -> None:
    """Do something while the listener's loop does nothing, so that it then finds all of it at once."""
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        free.wait(PATIENCE_SECONDS)

    rig.loop.call_soon_threadsafe(hold)
    assert held.wait(PATIENCE_SECONDS)
    act()
    free.set()


# -- commands ------------------------------------------------------------------------------


def test_pipelined_commands_are_answered_in_order(rig: Rig) -> None:
    """A thousand commands in one piece are a thousand answers, each in its place."""
    client = rig.connect()

    client.send(b"".join(pub("t", b"%d" % number) + b"NOP\n" for number in range(1000)) + b"SUB t c\nCLS\n")

    assert frames(client, 1001) == [OK] * 1001
    assert client.frame() == (RESPONSE, b"CLOSE_WAIT")
    messages = rig.node.topic("t").channel("c").receive_many(2000, timeout=0)
    assert [message.body for message in messages] == [b"%d" % number for number in range(1000)]


def test_commands_may_arrive_in_any_pieces(rig: Rig) -> None:
    """A byte at a time, or two commands and a half: it is the same."""
    client = rig.connect(magic=False)
    said = b"  V2" + identify() + pub("t", b"abc") + b"SUB t c\r\nRDY 1\n"

    for byte in said:
        client.send(bytes([byte]))

    assert frames(client, 3) == [OK] * 3
    assert bodies(client, 1) == [b"abc"]


def test_one_clients_commands_do_not_keep_others_waiting(rig: Rig) -> None:
    """Of many commands that have arrived so many are done, and then it is the next connection's turn."""
    greedy, modest = rig.connect(), rig.connect()
    rig.node.topic("t")
    rig.settle()

    def send() -> None:
        greedy.send(pub("t", b"greedy") * 2000)
        modest.send(pub("t", b"modest"))

    while_held(rig, send)

    assert modest.frame() == OK
    assert frames(greedy, 2000) == [OK] * 2000
    channel = rig.node.topic("t").channel("c")
    order = [message.body for message in channel.receive_many(3000, timeout=0)]
    assert order.index(b"modest") <= 2 * COMMANDS_A_TURN


def test_refusal_that_is_not_fatal_lets_the_client_go_on(rig: Rig) -> None:
    """Behind an answer that came too late the next command is carried out."""
    client = rig.subscriber()

    client.send(fin(b"0123456789abcdef") + pub("t", b"x"))

    assert client.frame()[0] == ERROR
    assert client.frame() == OK


def test_fatal_refusal_is_the_last_word(rig: Rig) -> None:
    """Nothing behind it is carried out, whether it has arrived or not."""
    client = rig.connect()

    client.send(pub("t", b"a") + b"NONSENSE\n" + pub("t", b"b"))
    client.try_send(pub("t", b"c"))

    assert client.frame() == OK
    assert client.frame() == (ERROR, b"E_INVALID invalid command NONSENSE")
    assert client.rest() == b""
    assert rig.node.topic("t").depth == 1


def test_line_without_end_is_cut_off(rig: Rig) -> None:
    """A line longer than any command ends the connection without a word."""
    client = rig.connect()

    client.try_send(b"PUB " + b"x" * 20_000)

    assert client.rest() == b""


# -- reading ahead -------------------------------------------------------------------------


def test_client_that_waits_is_not_read_far_ahead(gated: tuple[Rig, GatedStorage]) -> None:
    """While a publish is synced little of what follows is taken in; then all of it is answered."""
    rig, storage = gated
    client = rig.connect()
    peer = rig.only_peer()
    storage.sync_gate.shut()
    client.send(pub("t", b"first"))
    storage.sync_gate.await_arrival()
    one = pub("t", b"x" * 100_000)
    said = one * 400

    sent = client.try_send(said)
    rig.until(lambda: peer._is_reading_paused)
    for _ in range(10):
        sent += client.try_send(said[sent:])
        rig.settle()
    held = peer.connection.buffered_bytes
    storage.sync_gate.open()

    assert READ_AHEAD_BYTES < held <= READ_AHEAD_BYTES + ONE_READ_BYTES
    assert sent < len(said)
    count = -(-sent // len(one))
    client.send(said[sent : count * len(one)])
    assert frames(client, 1 + count) == [OK] * (1 + count)
    rig.settle()
    assert not peer._is_reading_paused


def test_client_that_does_not_read_is_not_read(rig: Rig) -> None:
    """Who does not take its answers has its commands wait, and done when it reads again."""
    client = rig.subscriber(rdy=2500)
    rig.settle()
    choke(rig, client)
    held = rig.node.topic("t").channel("c").in_flight_count

    client.send(pub("later", b"x"))
    rig.settle()

    assert rig.node.topics == ["t"]
    kinds = [client.frame()[0] for _ in range(held)]
    assert kinds == [MESSAGE] * held
    rig.until(lambda: rig.node.topics == ["later", "t"])


# -- the end -------------------------------------------------------------------------------


def test_what_came_before_the_end_is_answered(rig: Rig) -> None:
    """A client that sends no more gets all its answers, and then the server hangs up."""
    client = rig.connect()

    client.send(pub("t", b"x") * 600)
    client.half_close()

    assert frames(client, 600) == [OK] * 600
    assert client.rest() == b""
    assert rig.node.topic("t").depth == 600


def test_what_is_synced_at_the_end_is_answered(gated: tuple[Rig, GatedStorage]) -> None:
    """The end of the stream does not overtake an answer that waits for the disk."""
    rig, storage = gated
    client = rig.connect()
    storage.sync_gate.shut()
    client.send(pub("t", b"a") + pub("t", b"b"))
    client.half_close()
    storage.sync_gate.await_arrival()
    rig.settle()
    is_early = not is_silent(client)

    storage.sync_gate.open()

    assert not is_early
    assert frames(client, 2) == [OK] * 2
    assert client.rest() == b""


@pytest.mark.parametrize(
    "begun, answer",
    [
        (b"", None),
        (b"NO", None),
        (b"PUB t\n", b"E_BAD_MESSAGE PUB failed to read message body size"),
        (pub("t", b"abc")[:-1], b"E_BAD_MESSAGE PUB failed to read message body"),
        (b"MPUB t\n\0\0", b"E_BAD_BODY MPUB failed to read body size"),
    ],
)
def test_half_a_command_at_the_end_is_named(rig: Rig, begun: bytes, answer: bytes | None) -> None:
    """A body that is cut off is told so, a line is not."""
    client = rig.connect()
    client.send(begun)

    client.half_close()

    if answer is not None:
        assert client.frame() == (ERROR, answer)
    assert client.rest() == b""


def test_last_word_reaches_who_is_still_writing(rig: Rig) -> None:
    """An error is not lost because the client's next bytes found the door closed."""
    client = rig.connect()
    client.send(b"NONSENSE\n")
    rig.settle()

    for _ in range(5):
        client.try_send(b"x" * 100_000)
        rig.settle()

    assert client.frame()[0] == ERROR
    assert client.rest() == b""


def test_client_that_stays_after_the_last_word_is_given_up(rig: Rig) -> None:
    """It has a second to hang up."""
    client = rig.connect()
    client.send(b"NONSENSE\n")
    rig.settle()
    rig.advance(0.999)
    is_early = not rig.peers()

    rig.advance(0.001)

    assert not is_early
    assert rig.peers() == []


def test_client_that_hangs_up_after_the_last_word_is_gone_at_once(rig: Rig) -> None:
    """Nobody waits for time to pass."""
    client = rig.connect()
    client.send(b"NONSENSE\n")
    assert client.frame()[0] == ERROR

    client.close()

    rig.until(lambda: not rig.peers())


def test_peer_knows_where_its_client_is(rig: Rig) -> None:
    """Address and port, as the statistics show them."""
    client = rig.connect()

    peer = rig.only_peer()

    host, port = client.socket.getsockname()
    assert (peer.remote_ip, peer.remote_address) == (host, f"{host}:{port}")
