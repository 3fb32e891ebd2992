"""Other people's clients move messages through the real nsqd, which proves the test, and through a node."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.interop.clients.programs import consuming, produce
from tests.interop.clients.steps import BACKING_OFF, CLIENTS, CLOCK_SECONDS, dpub, hexed, mpub, pub, settled, subscribed
from tests.interop.servers import SERVERS, Server, node

REST_SECONDS: Final = 0.5


@pytest.mark.parametrize("client", CLIENTS)
def test_publish_and_consume_carry_every_body(server: Server, client: str, topic: str) -> None:
    """What a client publishes, alone or together, comes whole, in order and once to its consumer."""
    bodies = [b"x", b"\0\n\r\xff  V2", bytes(range(256)) * 1000, b'{"a": 1}']
    batch = [b"number %d" % number for number in range(100)]

    with consuming(client, server.host, server.port, topic=topic, channel="ch", in_flight=20) as consumer:
        subscribed(server, topic)
        answers = produce(client, server.host, server.port, [*map(pub, bodies), mpub(*batch)], topic=topic)
        got = consumer.messages(len(bodies) + len(batch))
        stats = settled(server, topic, len(got))

    assert answers == ["OK"] * (len(bodies) + 1)
    assert [each["body"] for each in got] == hexed(*bodies, *batch)
    assert {each["attempts"] for each in got} == {1}
    assert len({each["id"] for each in got}) == len(got)
    assert (stats["requeue_count"], stats["timeout_count"]) == (0, 0)


@pytest.mark.parametrize("client", CLIENTS)
def test_backlog_waits_for_the_first_consumer(server: Server, client: str, topic: str) -> None:
    """What was published before there was a channel comes to the first consumer, and not to a later channel."""
    batch = [b"early %d" % number for number in range(300)]
    produce(client, server.host, server.port, [mpub(*batch)], topic=topic)

    with consuming(client, server.host, server.port, topic=topic, channel="ch", in_flight=7) as consumer:
        got = consumer.messages(len(batch))
        settled(server, topic, len(batch))
    with consuming(client, server.host, server.port, topic=topic, channel="later") as later:
        subscribed(server, topic, "later")
        produce(client, server.host, server.port, [pub(b"late")], topic=topic)
        seen_later = later.messages(1)

    assert [each["body"] for each in got] == hexed(*batch)
    assert [each["body"] for each in seen_later] == hexed(b"late")


@pytest.mark.parametrize("client", CLIENTS)
def test_deferred_publish_comes_no_sooner(server: Server, client: str, topic: str) -> None:
    """A deferred message comes after its delay, and those without a delay before it."""
    with consuming(client, server.host, server.port, topic=topic, channel="ch", in_flight=5) as consumer:
        subscribed(server, topic)
        steps = [dpub(b"deferred", 700), pub(b"at once")]
        answers = produce(client, server.host, server.port, steps, topic=topic)
        got = consumer.messages(2)
        settled(server, topic, 2)

    assert answers == ["OK", "OK"]
    assert [each["body"] for each in got] == hexed(b"at once", b"deferred")
    assert got[1]["at"] - got[1]["timestamp"] / 1e9 >= 0.7 - CLOCK_SECONDS
    assert got[1]["attempts"] == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_requeue_comes_again_after_its_delay(server: Server, client: str, topic: str) -> None:
    """A requeued message has its id, body and timestamp, one attempt more, and keeps its delay."""
    plan = {b"again".hex(): [{"do": "requeue", "ms": 0}, {"do": "requeue", "ms": 400}]}

    with consuming(client, server.host, server.port, topic=topic, channel="ch", plan=plan) as consumer:
        subscribed(server, topic)
        produce(client, server.host, server.port, [pub(b"again")], topic=topic)
        got = consumer.messages(3)
        stats = settled(server, topic, 1)

    assert [each["attempts"] for each in got] == [1, 2, 3]
    assert len({(each["id"], each["body"], each["timestamp"]) for each in got}) == 1
    assert got[2]["at"] - got[1]["at"] >= 0.4 - CLOCK_SECONDS
    assert (stats["requeue_count"], stats["timeout_count"]) == (2, 0)


@pytest.mark.parametrize("client", BACKING_OFF)
def test_backoff_stops_the_flow(server: Server, client: str, topic: str) -> None:
    """A consumer that backs off says RDY 0 and is handed nothing until it says RDY 1, then all the rest."""
    bodies = [b"fails once", *(b"good %d" % number for number in range(10))]
    plan = {bodies[0].hex(): [{"do": "backoff", "ms": 0}]}
    options = {"topic": topic, "channel": "ch", "plan": plan, "backoff_ms": round(REST_SECONDS * 1000)}

    with consuming(client, server.host, server.port, **options) as consumer:
        subscribed(server, topic)
        produce(client, server.host, server.port, [mpub(*bodies)], topic=topic)
        got = consumer.messages(len(bodies) + 1)
        stats = settled(server, topic, len(bodies))

    assert got[0]["body"] == bodies[0].hex()
    assert got[1]["at"] - got[0]["at"] >= REST_SECONDS - 0.02
    assert sorted(each["body"] for each in got[1:]) == sorted(hexed(*bodies))
    assert {each["body"]: each["attempts"] for each in got} == dict.fromkeys(hexed(*bodies), 1) | {bodies[0].hex(): 2}
    assert stats["requeue_count"] == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_touch_postpones_the_timeout(server: Server, client: str, topic: str) -> None:
    """A message that is touched again and again outlives its timeout several times.

    Longer than five seconds, since nsqd looks at the timeouts of a new channel only then.
    """
    plan = {b"slow".hex(): [{"do": "touch", "ms": 400, "times": 17}]}
    options = {"topic": topic, "channel": "ch", "plan": plan, "msg_timeout_ms": 1000}

    with consuming(client, server.host, server.port, **options) as consumer:
        subscribed(server, topic)
        produce(client, server.host, server.port, [pub(b"slow"), pub(b"next")], topic=topic)
        got = consumer.messages(2)
        stats = settled(server, topic, 2)

    assert [(each["body"], each["attempts"]) for each in got] == [(b"slow".hex(), 1), (b"next".hex(), 1)]
    assert got[1]["at"] - got[0]["at"] >= 17 * 0.4
    assert (stats["requeue_count"], stats["timeout_count"]) == (0, 0)


# ansq handles one message after another here, so it would never get to the second.
@pytest.mark.parametrize("client", ["pynsq", "nsqjs", "gonsq"])
def test_unanswered_message_comes_again(server: Server, client: str, topic: str) -> None:
    """A message without an answer comes again, not before its timeout, with one attempt more."""
    plan = {b"lost".hex(): [{"do": "ignore"}]}
    options = {"topic": topic, "channel": "ch", "plan": plan, "msg_timeout_ms": 1000, "in_flight": 2}

    with consuming(client, server.host, server.port, **options) as consumer:
        subscribed(server, topic)
        produce(client, server.host, server.port, [pub(b"lost")], topic=topic)
        got = consumer.messages(2)
        stats = settled(server, topic, 1)

    assert [each["attempts"] for each in got] == [1, 2]
    assert got[0]["id"] == got[1]["id"]
    assert got[1]["at"] - got[0]["at"] >= 1.0 - 0.05  # the first may have been handed over a little later
    assert (stats["requeue_count"], stats["timeout_count"]) == (0, 1)


@pytest.mark.parametrize("kind", list(SERVERS))
@pytest.mark.parametrize("client", CLIENTS)
def test_refused_publish_is_told(client: str, kind: str) -> None:
    """A client that publishes too much at once reads NSQ's error, after its answers to what was good."""
    steps = [pub(b"good"), pub(b"x" * 1025), pub(b"never sent")]

    # Small enough to be read with its command: nsqd hangs up on what it has not read, and the error may be lost.
    with SERVERS[kind](max_msg_size=1024) as server:
        answers = produce(client, server.host, server.port, steps, topic="topic")

    assert answers[0] == "OK"
    assert len(answers) == 2
    assert "E_BAD_MESSAGE" in answers[1]
    assert "PUB message too big 1025 > 1024" in answers[1]


def test_clients_of_all_languages_share_a_channel(server: Server, topic: str) -> None:
    """Consumers of every client on one channel get each message once between them, and each gets some."""
    bodies = [b"shared %d" % number for number in range(600)]
    with ExitStack() as stack:
        consumers = [
            stack.enter_context(consuming(client, server.host, server.port, topic=topic, channel="ch"))
            for client in CLIENTS
        ]
        subscribed(server, topic, count=len(CLIENTS))

        produce("gonsq", server.host, server.port, [mpub(*bodies)], topic=topic)
        stats = settled(server, topic, len(bodies))
        first = [consumer.messages(1)[0] for consumer in consumers]

    assert (stats["requeue_count"], stats["timeout_count"]) == (0, 0)
    assert len({each["body"] for each in first}) == len(CLIENTS)


def test_clients_survive_a_restart_of_the_path(tmp_path: Path) -> None:
    """What one client published to a node with a store is consumed by another after the node came up again."""
    bodies = [b"kept %d" % number for number in range(50)]
    with node(path=tmp_path / "store") as server:
        produce("gonsq", server.host, server.port, [mpub(*bodies)], topic="t")

    with (
        node(path=tmp_path / "store") as server,
        consuming("nsqjs", server.host, server.port, topic="t", channel="ch", in_flight=10) as consumer,
    ):
        got = consumer.messages(len(bodies))
        settled(server, "t", len(bodies))

    assert [each["body"] for each in got] == hexed(*bodies)
