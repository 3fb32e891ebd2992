"""Log lines as nsqd's."""

import io
import logging
import re

import pytest

from nsqlite.daemon.log_lines import LOGGER, logging_to

LINE = re.compile(r"\[nsqd\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} ([A-Z]+): (.*)")


def said(stream: io.StringIO) -> list[tuple[str, str]]:
    """Level and message of each line, all of which must be nsqd's."""
    found = [LINE.fullmatch(line) for line in stream.getvalue().splitlines()]
    assert all(found)
    return [(each[1], each[2]) for each in found]


def test_lines_are_nsqds() -> None:
    """Prefix, local time with microseconds, nsqd's word for the level, and the message."""
    stream = io.StringIO()

    with logging_to(stream, "[nsqd] ", 1):
        LOGGER.debug("a")
        LOGGER.info("b %d", 1)
        logging.getLogger("nsqlite.net").warning("c")
        LOGGER.error("d")
        LOGGER.critical("e")

    assert said(stream) == [("DEBUG", "a"), ("INFO", "b 1"), ("WARNING", "c"), ("ERROR", "d"), ("FATAL", "e")]


@pytest.mark.parametrize("level, count", [(1, 4), (2, 3), (3, 2), (4, 1), (5, 0)])
def test_level_is_nsqds(level: int, count: int) -> None:
    """Lines below the level are not written."""
    stream = io.StringIO()

    with logging_to(stream, "[nsqd] ", level):
        for log in (LOGGER.debug, LOGGER.info, LOGGER.warning, LOGGER.error):
            log("a")

    assert len(said(stream)) == count


def test_level_can_be_changed_meanwhile() -> None:
    """The logger has it, which is what PUT /config/log_level sets."""
    stream = io.StringIO()

    with logging_to(stream, "[nsqd] ", 2):
        LOGGER.setLevel(logging.DEBUG)
        LOGGER.debug("a")

    assert said(stream) == [("DEBUG", "a")]


def test_warnings_of_others_are_lines_too() -> None:
    """What the loop complains about is written; what a library chats is not."""
    stream = io.StringIO()

    with logging_to(stream, "[nsqd] ", 2):
        logging.getLogger("asyncio").error("a")
        logging.getLogger("asyncio").info("b")

    assert said(stream) == [("ERROR", "a")]


def test_logging_is_as_before_afterwards() -> None:
    """Level and handlers are put back."""
    before = LOGGER.level, list(logging.getLogger().handlers)

    with logging_to(io.StringIO(), "", 1):
        pass

    assert (LOGGER.level, list(logging.getLogger().handlers)) == before
