"""The config file: TOML, with the keys and the forms of values that nsqd takes.

A key that is no option's is passed over, as nsqd does; the caller may say so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from nsqlite.daemon.settings import Setting
from nsqlite.errors import InvalidInputError


class ConfigFileError(InvalidInputError):
    """A config file that cannot be read, or has a value that is none."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"failed to load config file {path} - {why}")


def read_config_file(path: str, settings: Sequence[Setting]) -> tuple[dict[str, Any], list[str]]:
    """Values by flag name, and the keys that are no option's.

    Raises:
        ConfigFileError: It is not there, no TOML, or names a value that its key cannot have.
    """
    document = _document(path)
    by_key = {setting.key: setting for setting in settings if setting.has_key}
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for key, raw in document.items():
        setting = by_key.get(key)
        if setting is None:
            unknown.append(key)
            continue
        try:
            values[setting.name] = setting.kind.coerce(raw)
        except (TypeError, ValueError) as error:
            # a token is a secret, and this is logged
            told = "..." if "token" in key else repr(raw)
            raise ConfigFileError(path, f"failed parsing {key} {told}: {error}") from error
    return values, unknown


def _document(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigFileError(path, f"open {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigFileError(path, str(error)) from error
