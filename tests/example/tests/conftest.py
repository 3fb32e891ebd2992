"""What the shop's tests share."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from shop.mailer import Mailer
from shop.post import PostOffice

from nsqlite.testing import Nsqd


@pytest.fixture
def office() -> PostOffice:
    """An open post office."""
    return PostOffice()


@pytest.fixture
def start_mailer(nsqd: Nsqd, office: PostOffice) -> Iterator[Callable[[], Mailer]]:
    """Start mailers as in production, but for a shorter patience: each in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mailer")
    thread.start()
    mailers = []

    def start() -> Mailer:
        mailer = Mailer(nsqd.tcp_address, office.post, max_attempts=3, max_backoff_seconds=0.1, reconnect_seconds=0.01)
        asyncio.run_coroutine_threadsafe(mailer.start(), loop).result(timeout=5)
        mailers.append(mailer)
        return mailer

    yield start

    for mailer in mailers:
        asyncio.run_coroutine_threadsafe(mailer.stop(), loop).result(timeout=5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def mailer(start_mailer: Callable[[], Mailer]) -> Mailer:
    """A mailer at work."""
    return start_mailer()
