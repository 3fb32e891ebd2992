"""Log lines as nsqd writes them: `[nsqd] 2026/11/24 19:00:00.000000 INFO: TCP: listening on ...`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from nsqlite.daemon.beginning import stamp
from nsqlite.daemon.kinds import LEVEL_NAMES

LOGGER: Final = logging.getLogger("nsqlite")
# nsqd's number of a level, and Python's.
PYTHON_LEVELS: Final = {
    1: logging.DEBUG,
    2: logging.INFO,
    3: logging.WARNING,
    4: logging.ERROR,
    5: logging.CRITICAL,
}
_WORDS: Final = {PYTHON_LEVELS[number]: word for number, word in LEVEL_NAMES.items()}


class LineFormatter(logging.Formatter):
    """One line a record, in local time; a traceback stands below it."""

    def __init__(self, prefix: str) -> None:
        super().__init__("%(message)s")
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        word = _WORDS.get(record.levelno, record.levelname)
        return f"{self._prefix}{stamp(record.created)} {word}: {super().format(record)}"


@contextmanager
def logging_to(stream: TextIO, prefix: str, level: int) -> Iterator[None]:
    """Write what the package logs, and warnings of others, for as long as the body runs.

    Args:
        level: nsqd's number of the lowest level; the logger `nsqlite` has it, so setting that
            logger's level changes it.
    """
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(prefix))
    before = LOGGER.level
    root.addHandler(handler)
    LOGGER.setLevel(PYTHON_LEVELS[level])
    try:
        yield
    finally:
        LOGGER.setLevel(before)
        root.removeHandler(handler)
