"""nsqd.dat, in which nsqd keeps what topics and channels it has and which of them are paused. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from nsqlite.net.protocol.go_json import JsonError, Value, decode, flag, read_fields, text


@attrs.frozen
class NsqdChannel:
    """A channel that nsqd had."""

    name: str = ""
    paused: bool = False


@attrs.frozen
class NsqdTopic:
    """A topic that nsqd had."""

    name: str = ""
    paused: bool = False
    channels: tuple[NsqdChannel, ...] = ()


def parse_nsqd_dat(document: bytes) -> tuple[NsqdTopic, ...]:
    """The topics, read as nsqd reads them: what it does not know is ignored. Names are not checked.

    Raises:
        ValueError: It is no JSON, or has something else where a name, a flag or a list belongs.
    """
    found = read_fields(decode(document), {"topics": _topics, "version": text})
    topics: tuple[NsqdTopic, ...] = found.get("topics", ())
    return topics


def _topics(value: Value) -> tuple[NsqdTopic, ...]:
    readers = {"name": text, "paused": flag, "channels": _channels}
    return tuple(NsqdTopic(**read_fields(each, readers)) for each in _elements(value))


def _channels(value: Value) -> tuple[NsqdChannel, ...]:
    return tuple(NsqdChannel(**read_fields(each, {"name": text, "paused": flag})) for each in _elements(value))


def _elements(value: Value) -> list[Any]:
    if not isinstance(value, list):
        raise JsonError("not a list")
    return value
