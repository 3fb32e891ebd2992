"""A request's topic and channel, and nsqd's words for what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.engine import Engine
from nsqlite.names import is_valid_name
from nsqlite.net.http.answers import HttpError

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def topic_name(params: Mapping[str, str]) -> str:
    """The topic, as it is named to publish to, to create or to empty.

    Raises:
        HttpError: 400; there is none, or it is no name.
    """
    name = given_topic(params)
    if not is_valid_name(name):
        raise HttpError(400, "INVALID_TOPIC")
    return name


def given_topic(params: Mapping[str, str]) -> str:
    """The topic, whatever it is.

    Raises:
        HttpError: 400; there is none.
    """
    if "topic" not in params:
        raise HttpError(400, "MISSING_ARG_TOPIC")
    return params["topic"]


def topic_and_channel_name(params: Mapping[str, str]) -> tuple[str, str]:
    """Both, as the endpoints of channels take them.

    Raises:
        HttpError: 400; one is missing, or is no name.
    """
    topic = given_topic(params)
    if not is_valid_name(topic):
        raise HttpError(400, "INVALID_ARG_TOPIC")
    if "channel" not in params:
        raise HttpError(400, "MISSING_ARG_CHANNEL")
    channel = params["channel"]
    if not is_valid_name(channel):
        raise HttpError(400, "INVALID_ARG_CHANNEL")
    return topic, channel


def existing_topic(engine: Engine, name: str) -> Topic:
    """A topic that is there.

    Raises:
        HttpError: 404; it is not.
    """
    topic: Topic | None = engine.locked(lambda broker: broker.topics.get(name))
    if topic is None:
        raise HttpError(404, "TOPIC_NOT_FOUND")
    return topic


def existing_channel(engine: Engine, topic_name: str, name: str) -> Channel:
    """A channel that is there.

    Raises:
        HttpError: 404; it, or its topic, is not.
    """
    topic = existing_topic(engine, topic_name)
    channel: Channel | None = engine.locked(lambda _: topic.channels.get(name))
    if channel is None:
        raise HttpError(404, "CHANNEL_NOT_FOUND")
    return channel
