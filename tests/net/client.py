"""What a test's client says and hears beyond frames; its socket is that of `tests.net.rig`."""

import select
from collections.abc import Iterable

from tests.net.rig import MESSAGE, OK, RESPONSE, Client, Rig


def is_silent(client: Client) -> bool:
    """Whether nothing has arrived by now that was not read, not even the end."""
    return not select.select([client.socket], [], [], 0)[0]


def frames(client: Client, count: int) -> list[tuple[int, bytes]]:
    """The next frames."""
    return [client.frame() for _ in range(count)]


def bodies(client: Client, count: int) -> list[bytes]:
    """The bodies of the next frames; they are messages."""
    return [client.message()[1] for _ in range(count)]


def attempts(message: tuple[int, bytes]) -> int:
    """How often a message was handed over."""
    assert message[0] == MESSAGE
    return int.from_bytes(message[1][8:10], "big")


def fin(*message_ids: bytes) -> bytes:
    """FIN for each."""
    return b"".join(b"FIN " + each + b"\n" for each in message_ids)


def identified(rig: Rig, identify: bytes) -> Client:
    """A client whose IDENTIFY was answered."""
    client = rig.connect()
    kind, _ = client.ask(identify)
    assert kind == RESPONSE
    return client


def ask_all(client: Client, requests: Iterable[bytes]) -> None:
    """Send them one after another; each is answered OK."""
    for request in requests:
        assert client.ask(request) == OK


def choke(rig: Rig, client: Client, topic: str = "t") -> None:
    """Publish to a subscriber that does not read until its socket takes nothing more."""
    (peer,) = [each for each in rig.peers() if each.session.subscription is not None]
    for _ in range(200):
        rig.node.publish(topic, b"x" * 200_000)
        rig.settle()
        if peer.is_choked:
            return
    raise AssertionError("the socket takes everything")
