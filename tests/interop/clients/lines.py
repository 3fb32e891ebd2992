"""What the two programs in Python share: their command line, what they print, when they stop."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

Options = dict[str, Any]
Action = dict[str, Any]


def tell(**line: Any) -> None:
    """Print one line, at once."""
    print(json.dumps(line), flush=True)


def tell_message(message: Any) -> None:
    """Print what was handed over, and when."""
    tell(
        body=message.body.hex(),
        attempts=message.attempts,
        id=message.id if isinstance(message.id, str) else message.id.decode(),
        timestamp=message.timestamp,
        at=time.time(),
    )


def action_for(message: Any, options: Options) -> Action:
    """What the plan says about this attempt of this message."""
    steps = options.get("plan", {}).get(message.body.hex(), [])
    return steps[message.attempts - 1] if message.attempts <= len(steps) else {"do": "finish"}


async def told_to_stop() -> None:
    """Return when standard input is closed."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, daemon=True).start()
    await stop.wait()


def run(*roles: Callable[[str, int, Options], Coroutine[Any, Any, None]]) -> None:
    """Do what the command line asks: one of the roles, by its name."""
    host, port, role = sys.argv[1:]
    chosen = next(each for each in roles if each.__name__ == role)
    asyncio.run(chosen(host, int(port), json.loads(sys.stdin.buffer.readline())))
