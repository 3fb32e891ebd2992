"""Topics and channels made, deleted, emptied, paused: all POST, and answered with nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.door import Door
from nsqlite.engine import Engine
from nsqlite.errors import ChannelDeletedError, ClosedError, NodeFailedError, StoreError, TopicDeletedError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError
from nsqlite.net.http.router import Call, Endpoint, Routes
from nsqlite.net.http_api.arguments import (
    existing_channel,
    existing_topic,
    given_topic,
    topic_and_channel_name,
    topic_name,
)
from nsqlite.net.topics import Topics
from nsqlite.ops import ChangeChannel, ChangeTopic, Op
from nsqlite.storage import layout

OnTopic = Callable[[Topic], Op]
OnChannel = Callable[[Channel], Op]


def _delete_topic(topic: Topic) -> Op:
    return ChangeTopic(topic, layout.TOPIC_DELETED)


def _empty_topic(topic: Topic) -> Op:
    return ChangeTopic(topic, layout.TOPIC_EMPTIED)


def _pause_topic(topic: Topic) -> Op:
    return ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=True)


def _unpause_topic(topic: Topic) -> Op:
    return ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=False)


_ON_CHANNELS: Final[dict[str, OnChannel]] = {
    "/channel/delete": lambda channel: ChangeChannel(channel, layout.CHANNEL_DELETED),
    "/channel/empty": lambda channel: ChangeChannel(channel, layout.CHANNEL_EMPTIED),
    "/channel/pause": lambda channel: ChangeChannel(channel, layout.CHANNEL_PAUSED, is_paused=True),
    "/channel/unpause": lambda channel: ChangeChannel(channel, layout.CHANNEL_PAUSED, is_paused=False),
}


class Administration:
    """All of these endpoints of one server."""

    def __init__(self, engine: Engine, door: Door, topics: Topics) -> None:
        self._engine = engine
        self._door = door
        self._topics = topics

    def routes(self) -> Routes:
        """See Router."""
        endpoints: dict[str, Endpoint] = {
            "/topic/create": self.create_topic,
            "/topic/delete": self._on_topic(_delete_topic, given_topic),
            "/topic/empty": self._on_topic(_empty_topic, topic_name),
            "/topic/pause": self._on_topic(_pause_topic, given_topic),
            "/topic/unpause": self._on_topic(_unpause_topic, given_topic),
            "/channel/create": self.create_channel,
        }
        endpoints |= {path: self._on_channel(change) for path, change in _ON_CHANNELS.items()}
        return {path: {"POST": endpoint} for path, endpoint in endpoints.items()}

    async def create_topic(self, call: Call) -> web.Response:
        """A topic that is there already is left as it is."""
        name = topic_name(call.params())
        await _done(self._topics.get(name))
        return answers.empty()

    async def create_channel(self, call: Call) -> web.Response:
        """A channel that is there already is left as it is; its topic has to be there."""
        topic, name = topic_and_channel_name(call.params())
        core = existing_topic(self._engine, topic)
        engine = self._engine
        try:
            await _done(self._door.work(lambda: engine.run(engine.make_channel(core, name))))
        except TopicDeletedError as error:
            raise HttpError(404, "TOPIC_NOT_FOUND") from error
        return answers.empty()

    def _on_topic(self, change: OnTopic, name_of: Callable[[dict[str, str]], str]) -> Endpoint:
        async def endpoint(call: Call) -> web.Response:
            core = existing_topic(self._engine, name_of(call.params()))
            with suppress(TopicDeletedError):  # somebody else was first
                await _done(self._door.run(lambda: change(core)))
            return answers.empty()

        return endpoint

    def _on_channel(self, change: OnChannel) -> Endpoint:
        async def endpoint(call: Call) -> web.Response:
            topic, name = topic_and_channel_name(call.params())
            core = existing_channel(self._engine, topic, name)
            with suppress(TopicDeletedError, ChannelDeletedError):
                await _done(self._door.run(lambda: change(core)))
            return answers.empty()

        return endpoint


async def _done(work: Awaitable[object]) -> None:
    """Wait for a change.

    Raises:
        HttpError: 500; it was not made. What was deleted meanwhile is the caller's to judge.
    """
    try:
        await work
    except (TopicDeletedError, ChannelDeletedError):
        raise
    except (StoreError, ClosedError, NodeFailedError) as error:
        raise HttpError(500, "INTERNAL_ERROR") from error
