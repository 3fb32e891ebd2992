"""What happened, as a table for people: printed when an assertion does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from nsqlite.testing.events import Event

BODY_CHARACTERS: Final = 40
MAX_ROWS: Final = 60
_HEADS: Final = ("TIME", "EVENT", "TOPIC", "CHANNEL", "ATTEMPTS", "DELAY", "BODY")


def full_body(body: bytes) -> str:
    """A body, whole."""
    return repr(body)[1:]


def shown_body(body: bytes) -> str:
    """A body in one short piece."""
    text = full_body(body)
    return text if len(text) <= BODY_CHARACTERS else f"{text[: BODY_CHARACTERS - 3]}..."


def shown_seconds(seconds: float) -> str:
    """Seconds without more digits than they need."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def table(events: Iterable[Event], owed: Mapping[tuple[str, str], tuple[int, int, int]]) -> str:
    """What happened, the last rows if there are many, and what channels owe now."""
    every = list(events)
    rows = [_row(each) for each in every[-MAX_ROWS:]]
    lines = [] if len(every) <= MAX_ROWS else [f"... {len(every) - MAX_ROWS} more before"]
    lines += _aligned([_HEADS, *rows]) if rows else ["nothing happened"]
    if owed:
        lines.append("")
        heads = ("TOPIC", "CHANNEL", "WAITING", "IN FLIGHT", "DEFERRED")
        lines += _aligned([heads, *((*names, *map(str, counts)) for names, counts in sorted(owed.items()))])
    return "\n".join(lines)


def _row(event: Event) -> tuple[str, ...]:
    return (
        shown_seconds(event.at),
        event.kind,
        event.topic,
        event.channel,
        str(event.attempts) if event.attempts else "",
        shown_seconds(event.delay) if event.delay else "",
        shown_body(event.body),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
