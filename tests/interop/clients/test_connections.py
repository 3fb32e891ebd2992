"""Other people's clients keep, upgrade and authorize their connections to the real nsqd, and to a node."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.interop.clients.programs import consuming, produce
from tests.interop.clients.steps import CLIENTS, UPGRADING, Guarded, dpub, hexed, mpub, pub, settled, subscribed
from tests.interop.servers import Certificate, Server
from tests.interop.tap import tapped

TRANSPORTS: Final = {
    "tls": {"ca"},
    "snappy": {"snappy"},
    "deflate": {"deflate"},
    "tls and snappy": {"ca", "snappy"},
    "tls and deflate": {"ca", "deflate"},
}


@pytest.mark.parametrize("client", CLIENTS)
def test_heartbeats_keep_an_idle_consumer(server: Server, client: str, topic: str) -> None:
    """A consumer that has nothing to do answers heartbeats, and its first connection is still good later."""
    options = {"topic": topic, "channel": "ch", "heartbeat_ms": 1000}

    with tapped(server.host, server.port) as tap, consuming(client, "127.0.0.1", tap.port, **options) as consumer:
        subscribed(server, topic)
        produce(client, server.host, server.port, [dpub(b"at last", 3300)], topic=topic)
        got = consumer.messages(1)
        settled(server, topic, 1)

        assert got[0]["body"] == b"at last".hex()
        assert tap.connections == 1
        assert tap.from_server.count(b"_heartbeat_") >= 3
        assert tap.from_clients.count(b"NOP\n") >= 3


@pytest.mark.parametrize("transport", list(TRANSPORTS))
@pytest.mark.parametrize("client", UPGRADING)
def test_upgraded_connection_carries_all_hidden(
    server: Server, certificate: Certificate, client: str, transport: str, topic: str
) -> None:
    """Over TLS, snappy, deflate, and TLS with either, all comes as over a plain connection, and nothing in clear."""
    wanted = TRANSPORTS[transport]
    upgrade = {name: certificate.authority if name == "ca" else True for name in wanted}
    marked = b"in clear, again and again, " * 200
    bodies = [b"short", marked, bytes(range(256)) * 100]
    batch = [b"%d of many, again and again, " % number * 20 for number in range(50)]
    plan = {batch[7].hex(): [{"do": "requeue", "ms": 0}]}
    both: dict[str, Any] = {"topic": topic, **upgrade}

    with tapped(server.host, server.port) as tap:
        with consuming(client, "127.0.0.1", tap.port, channel="ch", in_flight=9, plan=plan, **both) as consumer:
            subscribed(server, topic)
            answers = produce(client, "127.0.0.1", tap.port, [*map(pub, bodies), mpub(*batch)], **both)
            got = consumer.messages(len(bodies) + len(batch) + 1)
            stats = settled(server, topic, len(bodies) + len(batch))

        assert answers == ["OK"] * (len(bodies) + 1)
        assert sorted(each["body"] for each in got) == sorted(hexed(*bodies, *batch, batch[7]))
        assert [each["body"] for each in got if each["attempts"] == 2] == hexed(batch[7])
        assert stats["requeue_count"] == 1
        size = sum(map(len, [*bodies, *batch]))
        for sent in (tap.from_clients, tap.from_server):
            assert marked[:200] not in sent
            assert "ca" not in wanted or topic.encode() not in sent  # snappy leaves short pieces as they are
            assert wanted == {"ca"} or len(sent) < size / 2


@pytest.mark.parametrize("client", CLIENTS)
def test_auth_lets_in_who_is_known(guarded: Guarded, client: str, topic: str) -> None:
    """A client with a secret that may do all publishes and consumes, and the auth server was asked for it."""
    server = guarded.server
    both: dict[str, Any] = {"topic": topic, "secret": "s3 &=cret"}

    with consuming(client, server.host, server.port, channel="ch", **both) as consumer:
        subscribed(server, topic)
        answers = produce(client, server.host, server.port, [pub(b"one"), mpub(b"two", b"three")], **both)
        got = consumer.messages(3)
        settled(server, topic, 3)

    assert answers == ["OK", "OK"]
    assert [each["body"] for each in got] == hexed(b"one", b"two", b"three")
    wanted = {"secret": "s3 &=cret", "remote_ip": "127.0.0.1", "tls": "false", "common_name": ""}
    assert wanted in guarded.auth.asked


@pytest.mark.parametrize("secret, error", [("reader", "E_UNAUTHORIZED"), ("nobody", "E_AUTH_FAILED")])
@pytest.mark.parametrize("client", CLIENTS)
def test_auth_keeps_out_who_is_not(guarded: Guarded, client: str, secret: str, error: str, topic: str) -> None:
    """A client that may not publish, or that nobody knows, is told so in NSQ's words, and nothing is kept."""
    server = guarded.server

    answers = produce(client, server.host, server.port, [pub(b"forbidden")], topic=topic, secret=secret)

    assert len(answers) == 1
    assert error in answers[0]
    assert [each for each in server.stats()["topics"] or () if each["topic_name"] == topic] == []
