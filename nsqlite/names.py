"""What NSQ allows as a topic or channel name (its protocol reference, section on names)."""

from __future__ import annotations

import re
from typing import Final

from nsqlite.errors import InvalidNameError

EPHEMERAL_SUFFIX: Final = "#ephemeral"
MAX_NAME_BYTES: Final = 64
_NAME: Final = re.compile(r"[.a-zA-Z0-9_-]+(#ephemeral)?")


def is_valid_name(name: object) -> bool:
    """Whether this is a str that NSQ accepts: 1 to 64 bytes, the suffix included."""
    return isinstance(name, str) and len(name) <= MAX_NAME_BYTES and _NAME.fullmatch(name) is not None


def check_topic_name(name: object) -> str:
    """Return the name, or raise InvalidNameError."""
    return _checked("topic", name)


def check_channel_name(name: object) -> str:
    """Return the name, or raise InvalidNameError."""
    return _checked("channel", name)


def is_ephemeral(name: str) -> bool:
    """Whether what bears this name keeps nothing on disk and goes with its last user."""
    return name.endswith(EPHEMERAL_SUFFIX)


def _checked(kind: str, name: object) -> str:
    if not is_valid_name(name):
        raise InvalidNameError(kind, name)
    return str(name)
