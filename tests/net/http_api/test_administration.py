"""Tests of topics and channels that are made and changed over HTTP."""

from __future__ import annotations

import pytest

from tests.net.http_api.conftest import LOCAL
from tests.net.raw_http import HttpClient, http
from tests.net.rig import Rig, rigged

ON_TOPIC = ("delete", "empty", "pause", "unpause")
ON_CHANNEL = ("create", "delete", "empty", "pause", "unpause")


def done(client: HttpClient, target: str) -> None:
    """POST, which is answered with nothing."""
    answer = client.post(target)
    assert (answer.status, answer.body, answer.headers["x-nsq-content-type"]) == (200, b"", "nsq; version=1.0")
    assert "content-type" not in answer.headers


def refused(client: HttpClient, target: str) -> tuple[int, str]:
    """POST, which is refused."""
    answer = client.post(target)
    return answer.status, answer.code


def test_topic_is_made_and_deleted(rig: Rig, client: HttpClient) -> None:
    """Twice is fine for the one, and not for the other."""
    done(client, "/topic/create?topic=t")
    rig.node.topic("t").publish(b"x")
    done(client, "/topic/create?topic=t")

    assert rig.node.topic("t").depth == 1

    done(client, "/topic/delete?topic=t")

    assert refused(client, "/topic/delete?topic=t") == (404, "TOPIC_NOT_FOUND")
    assert list(rig.node.engine.broker.topics) == []


def test_channel_is_made_and_deleted(rig: Rig, client: HttpClient) -> None:
    """In a topic that is there."""
    assert refused(client, "/channel/create?topic=t&channel=c") == (404, "TOPIC_NOT_FOUND")

    done(client, "/topic/create?topic=t")
    done(client, "/channel/create?topic=t&channel=c")
    done(client, "/channel/create?topic=t&channel=c")
    rig.node.topic("t").publish(b"x")

    assert rig.node.topic("t").channel("c").depth == 1

    done(client, "/channel/delete?topic=t&channel=c")

    assert refused(client, "/channel/delete?topic=t&channel=c") == (404, "CHANNEL_NOT_FOUND")


def test_topic_is_emptied_and_paused(rig: Rig, client: HttpClient) -> None:
    """What waits in it is gone, what waits in its channels is not."""
    topic = rig.node.topic("t")
    topic.publish(b"x")
    done(client, "/topic/empty?topic=t")

    assert topic.depth == 0

    done(client, "/topic/pause?topic=t")
    done(client, "/topic/pause?topic=t")

    assert topic.is_paused

    done(client, "/topic/unpause?topic=t")

    assert not topic.is_paused


def test_channel_is_emptied_and_paused(rig: Rig, client: HttpClient) -> None:
    """A paused one hands nothing out until it goes on."""
    rig.node.topic("t").channel("c")
    rig.node.topic("t").publish(b"x")
    done(client, "/channel/empty?topic=t&channel=c")

    assert rig.node.topic("t").channel("c").depth == 0

    done(client, "/channel/pause?topic=t&channel=c")
    client.post("/pub?topic=t", b"later")
    consumer = rig.subscriber(rdy=1)
    rig.settle()

    assert rig.node.topic("t").channel("c").depth == 1

    done(client, "/channel/unpause?topic=t&channel=c")

    assert consumer.message()[1] == b"later"


def test_consumers_of_what_is_deleted_are_sent_away(rig: Rig, client: HttpClient) -> None:
    """As if somebody in the process had deleted it."""
    consumer = rig.subscriber(rdy=1)
    done(client, "/channel/delete?topic=t&channel=c")

    assert consumer.rest() == b""


@pytest.mark.parametrize("action", ON_TOPIC)
def test_topic_must_be_there(client: HttpClient, action: str) -> None:
    """Only `empty` looks whether its name is one."""
    assert refused(client, f"/topic/{action}?topic=t") == (404, "TOPIC_NOT_FOUND")
    assert refused(client, f"/topic/{action}") == (400, "MISSING_ARG_TOPIC")
    assert refused(client, f"/topic/{action}?topic=%") == (400, "INVALID_REQUEST")
    expected = (400, "INVALID_TOPIC") if action == "empty" else (404, "TOPIC_NOT_FOUND")
    assert refused(client, f"/topic/{action}?topic=a+b") == expected


@pytest.mark.parametrize("action", ON_CHANNEL)
def test_channel_must_be_named(rig: Rig, client: HttpClient, action: str) -> None:
    """And its topic be there."""
    path = f"/channel/{action}"

    assert refused(client, path) == (400, "MISSING_ARG_TOPIC")
    assert refused(client, f"{path}?topic=a+b") == (400, "INVALID_ARG_TOPIC")
    assert refused(client, f"{path}?topic=t") == (400, "MISSING_ARG_CHANNEL")
    assert refused(client, f"{path}?topic=t&channel=") == (400, "INVALID_ARG_CHANNEL")
    assert refused(client, f"{path}?topic=t&channel=c") == (404, "TOPIC_NOT_FOUND")

    rig.node.topic("t")
    if action != "create":
        assert refused(client, f"{path}?topic=t&channel=c") == (404, "CHANNEL_NOT_FOUND")


def test_topic_to_create_must_have_a_name(client: HttpClient) -> None:
    """One of NSQ's."""
    assert refused(client, "/topic/create") == (400, "MISSING_ARG_TOPIC")
    assert refused(client, "/topic/create?topic=a+b") == (400, "INVALID_TOPIC")


def test_ephemeral_topic_goes_with_its_last_channel(rig: Rig, client: HttpClient) -> None:
    """Also when it goes over HTTP."""
    done(client, "/topic/create?topic=t%23ephemeral")
    done(client, "/channel/create?topic=t%23ephemeral&channel=c")
    done(client, "/channel/delete?topic=t%23ephemeral&channel=c")

    assert list(rig.node.engine.broker.topics) == []


@pytest.mark.parametrize(
    "target", ["/topic/create?topic=u", "/topic/pause?topic=t", "/channel/create?topic=t&channel=c"]
)
def test_closed_node_changes_nothing(target: str) -> None:
    """It says that it is exiting, or that it failed, and the log is quiet."""
    with rigged(http_address=LOCAL) as rig:
        rig.node.topic("t")
        client = http(rig)
        client.get("/ping")
        rig.node.close()
        answer = client.post(target)

        assert answer.status in (500, 503)
        assert answer.code in ("INTERNAL_ERROR", "EXITING")
        assert rig.lines == []
