"""An nsqlookupd under test: it tells of every change, and comes back at the same ports."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsqlite.clock import VirtualClock
from nsqlite.net.lookupd.registry import Producer
from nsqlite.testing.lookupd import Lookupd, WatchedRegistry
from tests.fakes.caller import Caller
from tests.net.rig import Client

NODE = Producer("127.0.0.1:1", "host", "127.0.0.1", 4150, 4151, "1.3.0")
IDENTIFY = {"broadcast_address": "127.0.0.1", "hostname": "host", "tcp_port": 4150, "http_port": 4151, "version": "1"}


@pytest.fixture
def lookupd() -> Iterator[Lookupd]:
    """A running one."""
    made = Lookupd(VirtualClock())
    yield made
    made.close()


def identified(lookupd: Lookupd) -> Client:
    """An nsqd that has said who it is."""
    client = Client((lookupd.tcp_address.host, lookupd.tcp_address.port), magic=False)
    body = json.dumps(IDENTIFY).encode()
    client.send(b"  V1IDENTIFY\n" + len(body).to_bytes(4, "big") + body)
    answered(client)
    return client


def answered(client: Client) -> bytes:
    """The next answer."""
    return client._exactly(int.from_bytes(client._exactly(4), "big"))


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.identify(Producer("127.0.0.1:2", "host", "127.0.0.1", 1, 2, "1"), 0, 0),
        lambda it: it.register(NODE, "orders", "billing"),
        lambda it: it.unregister(NODE, "mail"),
        lambda it: it.forget(NODE),
        lambda it: it.create("orders"),
        lambda it: it.delete_topic("mail"),
        lambda it: it.delete_channel("mail", "sender"),
        lambda it: it.tombstone("mail", "127.0.0.1:4151", 0, 0),
    ],
)
def test_registry_tells_of_every_change(change: Callable[[WatchedRegistry], object]) -> None:
    """Whoever waits for a change is woken by any, and it has been made by then."""
    changed = threading.Condition()
    limits: dict[str, Any] = {"max_registrations": 100, "max_producer_registrations": 100}
    registry = WatchedRegistry(changed, inactive_producer_timeout_ns=1, tombstone_lifetime_ns=1, **limits)
    NODE.topics.clear()
    NODE.channels.clear()
    registry.identify(NODE, 0, 0)
    registry.register(NODE, "mail", "sender")
    before = snapshot(registry)
    is_waiting = threading.Event()

    def wait() -> bool:
        with changed:
            is_waiting.set()
            return changed.wait(20)

    waiting = Caller(wait)
    is_waiting.wait()
    change(registry)

    assert waiting.outcome()
    assert snapshot(registry) != before
    registry.check()


def snapshot(registry: WatchedRegistry) -> list[str]:
    """All that it knows."""
    return [f"{key} {producers}" for key, producers in registry.registrations()]


def test_what_nsqds_say_is_known(lookupd: Lookupd) -> None:
    """Nodes, their topics and their channels are known as soon as they are said."""
    client = identified(lookupd)

    client.send(b"REGISTER orders billing\n")

    assert answered(client) == b"OK"
    assert lookupd.nodes() == ["127.0.0.1:4150"]
    assert lookupd.producers("orders") == lookupd.producers("orders", "billing") == ["127.0.0.1:4150"]
    assert lookupd.producers("orders", "audit") == lookupd.producers("mail") == []
    client.close()
    assert lookupd.wait_for(lambda: not lookupd._nodes(), 20)


def test_stop_forgets_and_start_begins_anew(lookupd: Lookupd) -> None:
    """Stopped, it knows nothing and is refused; started, it is at the same ports, and knows nothing yet."""
    url = f"http://{lookupd.http_address}/ping"
    client = identified(lookupd)

    lookupd.stop()
    lookupd.stop()

    assert client.rest() == b""
    assert (lookupd.nodes(), lookupd.producers("orders")) == ([], [])
    with pytest.raises(OSError):
        urllib.request.urlopen(url)

    lookupd.start()
    lookupd.start()

    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"OK"
    assert lookupd.nodes() == []
    client.close()


def test_wait_ends_at_its_timeout(lookupd: Lookupd) -> None:
    """What does not come about is not waited for any longer."""
    assert not lookupd.wait_for(lambda: False, 0)
