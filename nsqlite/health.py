"""Whether the last write to the store went well (NSQ reference: one flag, the last error)."""

from __future__ import annotations


class Health:
    """One flag: the error of the most recent write, cleared by the next that succeeds."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error = ""

    def failed(self, why: str) -> None:
        """Note an error."""
        self.error = why

    def succeeded(self) -> None:
        """A later write went well."""
        self.error = ""

    @property
    def text(self) -> str:
        """The word OK, or "NOK - " and the error."""
        return f"NOK - {self.error}" if self.error else "OK"
