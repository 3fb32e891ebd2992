"""Tests of a request's topic and channel."""

from collections.abc import Callable, Iterator

import pytest

import nsqlite
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http_api import arguments

Params = dict[str, str]


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """How a call refuses."""
    with pytest.raises(HttpError) as raised:
        call()
    return raised.value.status, raised.value.code


@pytest.fixture
def node() -> Iterator[nsqlite.Node]:
    """A node with one topic and one channel."""
    with nsqlite.open() as made:
        made.topic("t").channel("c")
        yield made


@pytest.mark.parametrize("name", ["t", "a" * 64, "a.b-c_1", "t#ephemeral"])
def test_names_are_taken(name: str) -> None:
    """Those that NSQ takes."""
    assert arguments.topic_name({"topic": name}) == name
    assert arguments.topic_and_channel_name({"topic": name, "channel": name}) == (name, name)


@pytest.mark.parametrize("name", ["", " ", "a b", "a" * 65, "a\n", "#ephemeral", "a/b", "\ufffd"])
def test_names_that_are_none_are_refused(name: str) -> None:
    """With the words that nsqd has for them, which differ from endpoint to endpoint."""
    assert refused(lambda: arguments.topic_name({"topic": name})) == (400, "INVALID_TOPIC")
    params = {"topic": name, "channel": "c"}
    assert refused(lambda: arguments.topic_and_channel_name(params)) == (400, "INVALID_ARG_TOPIC")
    params = {"topic": "t", "channel": name}
    assert refused(lambda: arguments.topic_and_channel_name(params)) == (400, "INVALID_ARG_CHANNEL")
    assert arguments.given_topic({"topic": name}) == name


def test_what_is_missing_is_named() -> None:
    """The topic first."""
    for function in (arguments.topic_name, arguments.given_topic, arguments.topic_and_channel_name):
        assert refused(lambda function=function: function({"channel": "c"})) == (400, "MISSING_ARG_TOPIC")  # type: ignore[misc]
    assert refused(lambda: arguments.topic_and_channel_name({"topic": "t"})) == (400, "MISSING_ARG_CHANNEL")


def test_what_is_there_is_found(node: nsqlite.Node) -> None:
    """By its name, and nothing is made."""
    engine = node.engine

    assert arguments.existing_topic(engine, "t") is node.topic("t")._core
    assert arguments.existing_channel(engine, "t", "c").name == "c"
    assert refused(lambda: arguments.existing_topic(engine, "u")) == (404, "TOPIC_NOT_FOUND")
    assert refused(lambda: arguments.existing_channel(engine, "u", "c")) == (404, "TOPIC_NOT_FOUND")
    assert refused(lambda: arguments.existing_channel(engine, "t", "d")) == (404, "CHANNEL_NOT_FOUND")
    assert list(engine.broker.topics) == ["t"]
