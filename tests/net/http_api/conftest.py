"""A listener that serves HTTP, on virtual time, and a client of it."""

from collections.abc import Iterator

import pytest

from tests.net.raw_http import HttpClient, http
from tests.net.rig import Rig, rigged

LOCAL = "127.0.0.1:0"


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A node in memory with small limits."""
    import nsqlite

    clock = nsqlite.VirtualClock()
    node = nsqlite.open(clock=clock, max_msg_size=1000, max_body_size=5000)
    with rigged(node, clock, http_address=LOCAL) as made:
        yield made


@pytest.fixture
def client(rig: Rig) -> HttpClient:
    """A client of its HTTP address."""
    return http(rig)
