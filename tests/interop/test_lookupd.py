"""Our nsqlookupd beside the real one: the same is said to both, and both answer the same.

Each check of the protocol runs against either; then a seeded stream of TCP commands and HTTP
requests, valid and not, goes to both at once, and after each step all that they know is compared.
What differs on purpose is `DIFFERENCES`, each with its reason, and is tested to differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import pytest

import nsqlite.net.lookupd
from nsqlite.net.protocol import go_json
from tests.interop.servers import Lookupd, nsqd, nsqlookupd, until
from tests.net.lookupd.client import MAGIC, OK, Answer, LookupdClient, identify, identify_body, request

SHORT_SECONDS: Final = 1.5  # of inactivity, and of tombstones
SEEDS: Final = [int(os.environ["LOOKUPD_SEED"])] if "LOOKUPD_SEED" in os.environ else range(3)
STEPS: Final = 250


@contextlib.contextmanager
def ours(**options: Any) -> Iterator[Lookupd]:
    """Ours, on free ports."""
    addresses = {"tcp_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    with nsqlite.net.lookupd.listen(**addresses | options) as lookupd:
        yield Lookupd(lookupd.tcp_address[1], lookupd.http_address[1])


KINDS: Final[dict[str, Callable[..., contextlib.AbstractContextManager[Lookupd]]]] = {"real": nsqlookupd, "ours": ours}


@attrs.define
class Peer:
    """One of the two, and those who are connected to it.

    Attributes:
        lookupd: Where it is.
        clients: Its connections, by a name that both have in common.
    """

    lookupd: Lookupd
    clients: dict[str, LookupdClient] = attrs.field(factory=dict)
    _names: dict[str, str] = attrs.field(factory=dict)

    def connect(self, name: str = "a", magic: bytes = MAGIC) -> LookupdClient:
        """A new connection."""
        client = LookupdClient((self.lookupd.host, self.lookupd.tcp_port), magic)
        self.clients[name] = client
        self._names[client.name] = name
        return client

    def producer(self, name: str, *registrations: str, **fields: Any) -> LookupdClient:
        """A new connection that has identified and registered these."""
        client = self.connect(name)
        client.ask(identify(**fields))
        for each in registrations:
            assert client.ask(f"REGISTER {each}\n".encode()) == OK
        return client

    def hang_up(self, name: str) -> None:
        """Close a connection, and return when that was noticed."""
        client = self.clients.pop(name)
        address = client.name.encode()
        client.close()
        until(lambda: address not in self.http("/debug").body, "the connection is forgotten")

    def http(self, target: str, method: str = "GET", **more: Any) -> Answer:
        """One request."""
        return request((self.lookupd.host, self.lookupd.http_port), target, method, **more)

    def plain(self, answer: Answer) -> dict[str, Any]:
        """An answer without what must differ: ports, times, and the order in which Go goes through a map."""
        headers = ("content-type", "x-nsq-content-type", "allow", "location", "content-length")
        told = {name: answer.headers[name] for name in headers if name in answer.headers}
        if answer.headers.get("content-type", "").startswith("application/json") and answer.body:
            told.pop(
                "content-length", None
            )  # it counts the digits of ports, and the real one leaves it out above 2 KiB
            assert go_json.encode(answer.json) == answer.body  # compact, and escaped as Go does
            return told | {"status": answer.status, "json": self._plain_json(answer.json)}
        return told | {"status": answer.status, "body": answer.body}

    def _plain_json(self, found: Any) -> Any:
        if isinstance(found, dict):
            if "topics" in found and "tombstones" in found:
                assert len(found["topics"]) == len(found["tombstones"])
                pairs = sorted(zip(found["topics"], found["tombstones"], strict=True))
                found = found | {"topics": [pair[0] for pair in pairs], "tombstones": [pair[1] for pair in pairs]}
            return [[key, self._plain_value(key, value)] for key, value in found.items()]  # their order counts
        if isinstance(found, list):
            return sorted((self._plain_json(each) for each in found), key=repr)
        return found

    def _plain_value(self, key: str, value: Any) -> Any:
        if key in ("remote_address", "id"):
            return self._names[value]
        if key in ("last_update", "tombstoned_at"):
            return value if value < 0 else "some time"
        return value if key == "tombstones" else self._plain_json(value)

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self.clients.values():
            client.close()


@contextlib.contextmanager
def peer(kind: str, **options: Any) -> Iterator[Peer]:
    """One of the two."""
    with KINDS[kind](broadcast_address="lookupd.example", **options) as lookupd:
        made = Peer(lookupd)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two."""
    return str(request.param)


@pytest.fixture
def one(kind: str) -> Iterator[Peer]:
    """One of the two, with little patience."""
    with peer(kind, inactive_producer_timeout=SHORT_SECONDS, tombstone_lifetime=SHORT_SECONDS) as made:
        yield made


def ended(client: LookupdClient, data: bytes) -> bytes:
    """The only answer to something after which the connection is closed."""
    client.send(data)
    answer = client.answer()
    assert client.rest() == b""
    return answer


# -- the checks of the reference, against both ---------------------------------------------


def test_160_other_magic_is_refused(one: Peer) -> None:
    """nsqd's own magic is none here."""
    assert one.connect(magic=b"  V2").rest() == b"\x00\x00\x00\x0eE_BAD_PROTOCOL"


def test_161_ping_needs_no_identify(one: Peer) -> None:
    """OK has a size and no type."""
    client = one.connect()
    client.send(b"PING\n")
    client.half_close()

    assert client.rest() == b"\x00\x00\x00\x02OK"


def test_162_register_needs_identify(one: Peer) -> None:
    """And says so, before it looks at the name."""
    assert ended(one.connect(), b"REGISTER a\n") == b"E_INVALID client must IDENTIFY"


def test_163_identify_needs_its_fields(one: Peer) -> None:
    """An empty object lacks them."""
    assert ended(one.connect(), identify_body(b"{}")) == b"E_BAD_BODY IDENTIFY missing fields"


def test_164_identify_is_answered(one: Peer) -> None:
    """With all that an nsqd needs to ask by HTTP."""
    answer = one.connect().ask(identify())

    assert (
        answer
        == json.dumps(
            {
                "broadcast_address": "lookupd.example",
                "hostname": socket.gethostname(),
                "http_port": one.lookupd.http_port,
                "tcp_port": one.lookupd.tcp_port,
                "version": "1.3.0",
            },
            separators=(",", ":"),
        ).encode()
    )


def test_165_identify_comes_once(one: Peer) -> None:
    """The second is refused."""
    assert ended(one.producer("a"), identify()) == b"E_INVALID cannot IDENTIFY again"


def test_166_names_are_checked(one: Peer) -> None:
    """In single quotes."""
    first, second = one.producer("a"), one.producer("b")

    assert ended(first, b"REGISTER b$\n") == b"E_BAD_TOPIC REGISTER topic name 'b$' is not valid"
    assert ended(second, b"REGISTER b c$\n") == b"E_BAD_CHANNEL REGISTER channel name 'c$' is not valid"


def test_167_registered_topic_is_found(one: Peer) -> None:
    """With its channel and its producer; an unknown one is 404."""
    client = one.producer("a", "t c")

    found = one.http("/lookup?topic=t")
    missing = one.http("/lookup?topic=u")

    assert found.body == (
        b'{"channels":["c"],"producers":[{"remote_address":"%s","hostname":"host","broadcast_address":"here",'
        b'"tcp_port":4150,"http_port":4151,"version":"1.3.0"}]}' % client.name.encode()
    )
    assert (missing.status, missing.body) == (404, b'{"message":"TOPIC_NOT_FOUND"}')


def test_168_lost_connection_leaves_the_channels(one: Peer) -> None:
    """And no producer."""
    one.producer("a", "t c")

    one.hang_up("a")

    assert one.http("/lookup?topic=t").body == b'{"channels":["c"],"producers":[]}'


def test_169_unregistered_channel_stays_unless_ephemeral(one: Peer) -> None:
    """Since consumers will come back to it."""
    client = one.producer("a", "t c", "t e#ephemeral")

    assert client.ask(b"UNREGISTER t c\n") == client.ask(b"UNREGISTER t e#ephemeral\n") == OK

    assert one.http("/channels?topic=t").body == b'{"channels":["c"]}'


def test_170_tombstone_hides_for_its_lifetime(one: Peer) -> None:
    """From lookup; nodes has it flagged."""
    client = one.producer("a", "t c")

    assert one.http("/topic/tombstone?topic=t&node=here:4151", "POST").status == 200

    assert one.http("/lookup?topic=t").json == {"channels": ["c"], "producers": []}
    assert one.http("/nodes").json["producers"][0]["tombstones"] == [True]

    def is_back() -> bool:
        assert client.ask(b"PING\n") == OK  # or it would be hidden for its silence
        return bool(one.http("/lookup?topic=t").json["producers"])

    until(is_back, "the tombstone's end")
    assert one.http("/nodes").json["producers"][0]["tombstones"] == [False]


def test_171_silence_hides_until_a_ping(one: Peer) -> None:
    """From lookup and from nodes."""
    client = one.producer("a", "t c")
    assert len(one.http("/nodes").json["producers"]) == 1

    until(lambda: not one.http("/nodes").json["producers"], "the producer is hidden")

    assert one.http("/lookup?topic=t").body == b'{"channels":["c"],"producers":[]}'
    assert client.ask(b"REGISTER t d\n") == OK
    assert one.http("/nodes").body == b'{"producers":[]}'
    assert client.ask(b"PING\n") == OK
    assert len(one.http("/nodes").json["producers"]) == len(one.http("/lookup?topic=t").json["producers"]) == 1


def test_real_nsqd_registers(kind: str) -> None:
    """It makes a new topic's channels as they are listed, ephemeral ones left out, and is gone when it ends."""
    with KINDS[kind](broadcast_address="127.0.0.1") as lookupd:  # nsqd asks for the channels under this address
        it = Peer(lookupd)
        for channel in ("pre1", "pre%23ephemeral"):
            it.http(f"/channel/create?topic=t&channel={channel}", "POST")
        with nsqd(nsqlookupd_tcp_addresses=(lookupd.tcp_address,)) as server:
            address = server.host, server.http_port
            assert request(address, "/topic/create?topic=first", "POST").status == 200
            # It registers nothing before it knows where to ask for channels; /nodes lists it earlier.
            until(lambda: "topic:first:" in it.http("/debug").json, "the nsqd has identified")

            assert request(address, "/pub?topic=t", "POST", body=b"x").status == 200

            until(lambda: len(it.http("/debug").json) == 4, "topic and channel are registered")
            assert set(it.http("/debug").json) == {"client::", "topic:first:", "topic:t:", "channel:t:pre1"}
            (found,) = it.http("/nodes").json["producers"]
            assert (found["http_port"], sorted(found["topics"])) == (server.http_port, ["first", "t"])
            assert server.channel("t", "pre1")["depth"] == 1
        until(lambda: it.http("/debug").body == b"{}", "the nsqd is forgotten")


# -- a stream of anything, to both at once -------------------------------------------------


TOPICS: Final = ["a", "b", "c#ephemeral", "d.1", "x" * 64]
CHANNELS: Final = ["x", "y", "z#ephemeral"]
BAD_NAMES: Final = ["", "a$", "x" * 65, "a b", "#ephemeral", "\u00e9", "a#ephemeral#ephemeral"]
HOSTS: Final = ["one", "two", "::1", "<&>"]
BAD_BYTES: Final = [
    b"\n",
    b"ping\n",
    b"\xffPING\n",
    b"\x1cPING\n",
    b"REGISTER\n",
    b"REGISTER  a\n",
    b"REGISTER \xff\n",
    b"UNREGISTER a x$\n",
    b"UNREGISTER *\n",
    b"SUB a x\n",
    b"IDENTIFY\n\x00\x00\x00\x00",
    b"IDENTIFY\n\x00\x00\x00\x04null",
    b"IDENTIFY\n\x00\x00\x00\x02[]",
    b'IDENTIFY\n\x00\x00\x00\x10{"tcp_port":1.5}',
    b'IDENTIFY\n\x00\x00\x00\x0e{"hostname":1}',
    b"IDENTIFY\n\x00\x00\x00\x03{}",
    b"IDENTIFY\n\x00\x00",
    b"PING",
]
GOOD_LINES: Final = [
    b"PING\n",
    b"  PING x\r\n",
    b"\xc2\xa0PING\xe2\x80\xa8\n",
    b"UNREGISTER never x\n",
    b"REGISTER a  x\n",
]
TARGETS: Final = [
    "/ping", "/info", "/topics", "/nodes", "/debug", "/lookup", "/channels", "/topic/create", "/topic/delete",
    "/topic/tombstone", "/channel/create", "/channel/delete", "/", "/stats", "/PING", "/ping/", "/Topic/Create",
    "/topics?x=%zz", "/lookup?topic=%zz", "/lookup?topic=a;b", "/channels?topic=a&topic=b", "/lookup?Topic=a",
    "/channels?topic=%61", "/lookup?topic=a+b", "/topic/create?topic", "/lookup?&topic=a&", "/channel/create?topic=b=c",
]  # fmt: skip
METHODS: Final = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]


class Story:
    """A seeded stream of steps, told to both."""

    def __init__(self, seed: int, peers: list[Peer]) -> None:
        self.draw = random.Random(seed)
        self.peers = peers
        self.names: list[str] = []
        self.count = 0

    def step(self) -> str:
        """Do one thing to both, compare what they answer, and say what it was."""
        kinds = [self.request, self.administer, self.request_anything]
        if len(self.names) < 4:
            kinds += [self.connect]
        if self.names:
            kinds += [self.register, self.register, self.register, self.line, self.leave, self.misbehave]
        return self.draw.choice(kinds)()

    def connect(self) -> str:
        """Somebody comes."""
        self.count += 1
        name = f"client {self.count}"
        self.names.append(name)
        body = identify(broadcast_address=self.draw.choice(HOSTS), http_port=self.draw.choice([1, 2]))
        for each in self.peers:
            assert each.connect(name).ask(body).startswith(b'{"broadcast_address":"lookupd.example"')
        return f"{name} identifies"

    def register(self) -> str:
        """Somebody has, or has no longer."""
        command = self.draw.choice(["REGISTER", "REGISTER", "UNREGISTER"])
        words = [command, self.draw.choice(TOPICS), *self.draw.choice([[], [self.draw.choice(CHANNELS)]])]
        return self._ask(" ".join(words).encode() + b"\n")

    def line(self) -> str:
        """Somebody says something odd that is allowed."""
        return self._ask(self.draw.choice(GOOD_LINES))

    def _ask(self, data: bytes) -> str:
        name = self.draw.choice(self.names)
        answers = [each.clients[name].ask(data) for each in self.peers]
        assert answers == [OK, OK], (data, answers)
        return f"{name} says {data!r}"

    def misbehave(self) -> str:
        """Somebody says what is refused, and is left; a newcomer or one who has identified."""
        data = self.draw.choice([*BAD_BYTES, *(f"REGISTER {each}\n".encode() for each in BAD_NAMES)])
        is_new = self.draw.random() < 0.5
        name = "newcomer" if is_new else self.draw.choice(self.names)
        answers = []
        for each in self.peers:
            client = each.connect(name) if is_new else each.clients[name]
            client.send(data)
            client.half_close()
            answers.append(client.rest())
            each.hang_up(name)
        assert answers[0] == answers[1], (data, answers)
        if not is_new:
            self.names.remove(name)
        return f"{name} misbehaves with {data!r}"

    def leave(self) -> str:
        """Somebody goes."""
        name = self.names.pop(self.draw.randrange(len(self.names)))
        for each in self.peers:
            each.hang_up(name)
        return f"{name} leaves"

    def request(self) -> str:
        """Somebody asks."""
        topic = self.draw.choice([*TOPICS, "never"]).replace("#", "%23")
        return self._request(self.draw.choice(["/lookup", "/channels"]) + f"?topic={topic}", "GET")

    def administer(self) -> str:
        """Somebody changes something, with names that are fine, or not, or not there."""
        names = {"topic": [*TOPICS, *TOPICS, *BAD_NAMES, None], "channel": [*CHANNELS, *CHANNELS, *BAD_NAMES, None]}
        names["node"] = [f"{host}:{port}" for host in HOSTS for port in (1, 2)] + [None]
        path = self.draw.choice(
            ["/topic/create", "/topic/delete", "/channel/create", "/channel/delete"] + 3 * ["/topic/tombstone"]
        )
        drawn = {name: self.draw.choice(values) for name, values in names.items()}
        query = urlencode({name: value for name, value in drawn.items() if value is not None})
        return self._request(f"{path}?{query}", "POST")

    def request_anything(self) -> str:
        """Somebody sends any method to anywhere."""
        return self._request(self.draw.choice(TARGETS), self.draw.choice(METHODS))

    def _request(self, target: str, method: str) -> str:
        first, second = (each.plain(each.http(target, method)) for each in self.peers)
        assert first == second, f"{method} {target}"
        return f"{method} {target}"

    def compare(self) -> None:
        """All that they know is the same."""
        for target in ("/debug", "/nodes", "/topics"):
            self._request(target, "GET")


@pytest.mark.parametrize("seed", SEEDS)
def test_both_answer_alike(seed: int) -> None:
    """Whatever is said: status, body, headers that matter, and all that is known afterwards."""
    with peer("real") as real, peer("ours") as our:
        story, told = Story(seed, [real, our]), list[str]()
        try:
            for _ in range(STEPS):
                told.append(story.step())
                story.compare()
        except BaseException as error:
            error.add_note(f"LOOKUPD_SEED={seed}; before: " + "; ".join(told[-8:]))
            raise


# -- what differs on purpose ---------------------------------------------------------------


@attrs.frozen
class Difference:
    """Something that is said to both, and that they answer differently.

    Attributes:
        reason: Why ours does.
        ask: Says it.
        real: What the real one answers.
        ours: What ours does.
    """

    reason: str
    ask: Callable[[Peer], Any]
    real: Any
    ours: Any


def _raw(data: bytes) -> Callable[[Peer], bytes]:
    def ask(to: Peer) -> bytes:
        client = to.connect()
        client.send(data)
        client.half_close()
        return client.rest()[:60]

    return ask


def _statuses(*requests: str) -> Callable[[Peer], list[int]]:
    def ask(to: Peer) -> list[int]:
        to.producer("a", "t c")
        answers = [to.http(target, method) for method, target in (each.split() for each in requests)]
        return [each.status for each in answers]

    return ask


def _foreign_page(to: Peer) -> int:
    return to.http("/topic/create?topic=t", "POST", headers={"Origin": "http://evil.example"}).status


def _star(to: Peer) -> Any:
    to.producer("a", "t c")
    to.http("/topic/delete?topic=*", "POST")
    return to.http("/topics").json


def _padded_identify() -> bytes:
    return identify(hostname="x" * 10_000)


LONG_LINE: Final = b"PING " + b"x" * 20_000 + b"\n"
DIFFERENCES: Final = {
    "star_finds": Difference(
        "`*` is no name, so nobody has it", _statuses("GET /lookup?topic=*"), real=[200], ours=[404]
    ),
    "star_deletes": Difference(
        "one request should not delete every topic", _star, real={"topics": []}, ours={"topics": ["t"]}
    ),
    "long_line": Difference(
        "a line is held until it ends, so it is bounded",
        _raw(LONG_LINE),
        real=b"\x00\x00\x00\x02OK",
        ours=b"\x00\x00\x00\x2bE_INVALID a line is longer than 16384 bytes",
    ),
    "long_identify": Difference(
        "a body is held until it is whole, and its strings while the nsqd is connected",
        lambda to: _raw(_padded_identify())(to)[4:30],
        real=b'{"broadcast_address":"look',
        ours=b"E_BAD_BODY IDENTIFY failed",
    ),
    "pprof": Difference(
        "there is no Go in it to be profiled", _statuses("GET /debug/pprof"), real=[200], ours=[404]
    ),
    "foreign_page": Difference(
        "a page of another site, in a browser of this network, changes nothing", _foreign_page, real=200, ours=403
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences_are_known(name: str) -> None:
    """Each is as it is described: the list has nothing that is no difference any more."""
    difference = DIFFERENCES[name]
    with peer("real") as real, peer("ours") as our:
        assert (difference.ask(real), difference.ask(our)) == (difference.real, difference.ours), difference.reason


def test_negative_size_ends_only_the_connection() -> None:
    """The real one ends as a whole, which is the worst of its faults."""
    data = b"IDENTIFY\n" + struct.pack(">i", -1)
    with peer("real") as real, peer("ours") as our:
        assert _raw(data)(our)[4:] == b"E_BAD_BODY IDENTIFY failed to read body size"
        assert our.connect("b").ask(b"PING\n") == OK

        assert _raw(data)(real) == b""
        with pytest.raises(OSError, match="refused"):
            until(lambda: real.connect("b").close(), "the real one has ended")
