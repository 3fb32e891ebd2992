"""A client pulls what its RDY allows and its socket takes, and is woken for more."""

import asyncio
import random
from pathlib import Path

import nsqlite
from nsqlite.net.subscription import Waker
from tests.fakes.caller import Caller
from tests.interop.transcripts.wire import identify
from tests.net.client import attempts, bodies, choke, fin, identified, is_silent
from tests.net.rig import HEARTBEAT, OK, rigged

# -- being woken ---------------------------------------------------------------------------


async def test_many_calls_in_one_round_are_one_look() -> None:
    """However often a waker is called, its subscription looks once, and again the next time."""
    looks: list[None] = []
    waker = Waker(asyncio.get_running_loop(), lambda: looks.append(None), lambda: None)

    for expected in (1, 2):
        for _ in range(5):
            waker.wake()
        assert len(looks) == expected - 1
        await asyncio.sleep(0)

        assert len(looks) == expected


async def test_waker_is_called_from_any_thread() -> None:
    """What happens in other threads is looked at in the loop's."""
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    waker = Waker(loop, looked.set, lambda: None)

    Caller(waker.wake).outcome()
    async with asyncio.timeout(20):
        await looked.wait()


def test_waker_of_a_closed_loop_passes_the_wake_up_on() -> None:
    """A program may end its loop with a listener open: whoever publishes is not told, and others get the message."""
    passed_on: list[None] = []
    loop = asyncio.new_event_loop()
    waker = Waker(loop, lambda: None, lambda: passed_on.append(None))
    loop.close()

    Caller(waker.wake).outcome()
    Caller(waker.wake).outcome()

    assert len(passed_on) == 2


# -- messages out --------------------------------------------------------------------------


def test_ready_count_is_a_ceiling() -> None:
    """A client holds as many as its RDY says; each answer makes room for another."""
    with rigged() as rig:
        client = rig.subscriber(rdy=2)
        rig.node.publish_many("t", [b"%d" % number for number in range(5)])
        first, second = client.message(), client.message()
        rig.settle()
        is_over = not is_silent(client)

        client.send(fin(first[0]))

        assert not is_over
        assert client.message()[1] == b"2"
        client.send(b"REQ " + second[0] + b" 60000\n")
        assert client.message()[1] == b"3"


def test_ready_count_of_nought_stops() -> None:
    """Nothing comes until the client is ready again."""
    with rigged() as rig:
        client = rig.subscriber(rdy=5)
        client.send(b"RDY 0\n")
        rig.settle()
        rig.node.publish("t", b"x")
        rig.settle()
        is_early = not is_silent(client)

        client.send(b"RDY 1\n")

        assert not is_early
        assert bodies(client, 1) == [b"x"]


def test_messages_come_again_with_their_attempts() -> None:
    """A requeue and a timeout are each one attempt more, in the frame and for the same message."""
    with rigged() as rig:
        client = rig.subscriber(rdy=1)
        rig.node.publish("t", b"x")
        first = client.frame()
        client.send(b"REQ " + first[1][10:26] + b" 0\n")
        second = client.frame()

        rig.advance(30)
        assert client.frame() == HEARTBEAT
        client.send(b"NOP\n")
        rig.advance(30)
        third = next(frame for frame in iter(client.frame, None) if frame != HEARTBEAT)

        assert [attempts(each) for each in (first, second, third)] == [1, 2, 3]
        assert first[1][10:] == second[1][10:] == third[1][10:]


def test_timeout_is_the_clients_own() -> None:
    """A client that asked for a message timeout has its messages for so long."""
    with rigged() as rig:
        client = identified(rig, identify(msg_timeout=2000))
        assert client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 1\n")
        rig.node.publish("t", b"x")
        assert attempts(client.frame()) == 1

        rig.advance(1.999)
        is_early = not is_silent(client)
        rig.advance(0.001)

        assert not is_early
        assert attempts(client.frame()) == 2


def test_delayed_message_comes_at_its_time() -> None:
    """A client that waits gets it when it is due, and an earlier one earlier, whichever came first."""
    with rigged() as rig:
        client = rig.subscriber(rdy=1)
        for seconds in (20, 5, 10):
            rig.node.publish("t", b"%d" % seconds, delay=seconds)
            rig.settle()

        for passed, seconds in ((5, 5), (5, 10), (10, 20)):
            rig.advance(passed - 0.001)
            is_early = not is_silent(client)
            rig.advance(0.001)

            assert not is_early
            message_id, body = client.message()
            assert body == b"%d" % seconds
            client.send(fin(message_id))


def test_settled_messages_are_read_from_disk(tmp_path: Path) -> None:
    """What left memory comes as it was published, in order, with what is in memory behind it."""
    clock = nsqlite.VirtualClock()
    node = nsqlite.open(tmp_path / "store", durability="commit", clock=clock, cache_bytes=0)
    node.topic("t").channel("c")
    wanted = [b"%03d" % number + b"." * 5000 for number in range(200)]
    with rigged(node, clock) as rig:
        node.publish_many("t", wanted[:150])
        node.engine.background.settle_now()
        node.publish_many("t", wanted[150:])

        client = identified(rig, identify(output_buffer_size=-1))
        assert client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 20\n")

        found = []
        while len(found) < len(wanted):
            message_id, body = client.message()
            found.append(body)
            client.send(fin(message_id))
        assert found == wanted


def test_damaged_stretch_is_logged_and_the_rest_comes(tmp_path: Path) -> None:
    """What cannot be read is named once, and costs its own messages alone."""
    clock = nsqlite.VirtualClock()
    with nsqlite.open(tmp_path / "store", clock=clock) as node:
        node.topic("t").channel("c")
        node.publish_many("t", [b"%02d" % number + b"." * 30_000 for number in range(20)])
    data = tmp_path / "store" / "lmdb" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"07......", b"07..:..."))
    node = nsqlite.open(tmp_path / "store", clock=clock)
    with rigged(node, clock) as rig:
        client = rig.subscriber(rdy=1)

        found = []
        while not found or found[-1] != 19:
            message_id, body = client.message()
            found.append(int(body[:2]))
            client.send(fin(message_id))

        lost = sorted({*range(20)} - {*found})
        assert 7 in lost
        assert len(lost) <= 2
        assert len(rig.lines) == 1
        assert "'t'" in rig.lines[0]


def test_client_that_takes_nothing_more_is_in_nobodys_way() -> None:
    """While one client's socket is full its channel's messages go to others, and none wakes it in vain."""
    with rigged() as rig:
        stuck = rig.subscriber(rdy=2500)
        rig.settle()
        choke(rig, stuck)
        left = rig.node.topic("t").channel("c").depth
        other = rig.subscriber(rdy=left + 1)

        rig.node.publish("t", b"for the other")

        assert bodies(other, left + 1)[-1] == b"for the other"


def test_backlog_is_shared() -> None:
    """Of two clients with much room neither gets all of a long backlog before the other has had its turn."""
    with rigged() as rig:
        topic = rig.node.topic("t")
        topic.channel("c").pause()
        clients = [rig.subscriber(rdy=2500) for _ in range(2)]
        for _ in range(20):
            topic.publish_many([b"x" * 1000] * 50)

        topic.channel("c").unpause()
        rig.settle()

        counts = [each.in_flight_count for each in rig.node.stats().topics[0].channels[0].clients]
        assert sum(counts) == 1000
        assert min(counts) >= 200
        assert len(clients) == 2


def test_sampling_client_gets_a_part_and_leaves_nothing() -> None:
    """What is not in the sample is gone for the channel; what is in it is answered as always."""
    random.seed(3)
    with rigged() as rig:
        client = identified(rig, identify(sample_rate=30))
        assert client.ask(b"SUB t c\n") == OK
        client.send(b"RDY 2500\n")
        rig.node.publish_many("t", [b"%04d" % number for number in range(1000)])
        rig.settle()
        rig.advance(0.25)

        (stats,) = rig.node.stats().topics[0].channels[0].clients
        messages = [client.message() for _ in range(stats.in_flight_count)]
        client.send(fin(*[each for each, _ in messages]))
        rig.settle()

        assert 200 < len(messages) < 400
        assert [body for _, body in messages] == sorted({body for _, body in messages})
        channel = rig.node.stats().topics[0].channels[0]
        assert (channel.depth, channel.in_flight_count, channel.finish_count) == (0, 0, len(messages))
        assert channel.clients[0].message_count == len(messages)
        assert is_silent(client)
