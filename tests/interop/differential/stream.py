"""The stream: what is sent to both servers, made from a seed and from what both have in common so far."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from tests.interop.transcripts.http_steps import Request
from tests.interop.transcripts.wire import batch, sized, u32

MAX_MSG_BYTES: Final = 2000
MAX_BODY_BYTES: Final = 5000
LONG_MS: Final = 600_000  # a delay that does not end within a run
TOPICS: Final = ("t1", "t2", "t3", "e#ephemeral")
OFTEN: Final = (6, 1, 1, 2)  # so that publishers and consumers meet
# Who may subscribe to what. A asks for all there is, so that the order in which requeued and fresh
# messages come does not matter; B takes them one by one, and never requeues to the front.
CHANNELS: Final = {"A": ("a", "a#ephemeral"), "B": ("b", "b#ephemeral")}
BAD_NAMES: Final = ("", "a$", "a b", "#ephemeral", "x" * 65, "\u00e9", "a\n", "*")
ODD_QUERIES: Final = ("%zz", "%", "a;b", "a=%4", "&&", "=", "?", "%00=1", "topic", "+=+", "a=b=c")
ODD_PATHS: Final = ("/nope", "/put", "/Pub", "/pub/", "//stats", "/topic", "/topic/", "/config", "/config/", "/stats/x")
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
# How often what is asked for: most of the time messages should flow.
ACTIONS: Final = {"create": 4, "delete": 1, "empty": 1, "pause": 1, "unpause": 3}
ADMINISTRATION: Final = {
    f"/{kind}/{action}": often for kind in ("topic", "channel") for action, often in ACTIONS.items()
}
READABLE: Final = (
    "max_msg_size",
    "max_body_size",
    "msg_timeout",
    "max_req_timeout",
    "max_rdy_count",
    "mem_queue_size",
    "tcp_address",
    "http_address",
    "log_level",
    "nsqlookupd_tcp_addresses",
    "deflate",
    "tls_required",
    "node_id",
    "nonsense",
    "e2e_processing_latency_percentiles",
)
SAFE: Final = frozenset(string.ascii_letters + string.digits + "$*'(),/:@")
DEFERS: Final = (
    "0",
    "-0",
    "000",
    "%2B0",
    str(LONG_MS),
    "3600000",
    "3600001",
    "-1",
    "",
    "abc",
    "1.5",
    "+1",
    "0x1",
    "1_0",
)


@attrs.frozen
class Http:
    """A request."""

    request: Request

    @classmethod
    def get(cls, target: str) -> Http:
        """GET without a body."""
        return cls(Request("GET", target))

    @property
    def is_of(self) -> str:
        """The path."""
        return self.request.target.partition("?")[0]


@attrs.frozen
class Tcp:
    """A command on one connection.

    Attributes:
        by: Which connection.
        data: Its bytes; ``{id}`` stands for the id of a message.
        message: The body of that message.
        of: Who has that message, if it is somebody else.
        needs_barrier: Whether it is not answered if it is all right.
        settles: Whether the message is no longer held afterwards.
        subscribes: Whether it is SUB.
        is_last: Whether its client sends nothing more.
    """

    by: str
    data: bytes
    message: bytes = b""
    of: str = ""
    needs_barrier: bool = False
    settles: bool = False
    subscribes: bool = False
    is_last: bool = False


@attrs.frozen
class HangUp:
    """A connection is closed by its client."""

    by: str


Step = Http | Tcp | HangUp


class Stream:
    """Makes one step after the other."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._held: Mapping[str, list[bytes]] = {}
        self._kinds: tuple[tuple[int, Callable[[], Step]], ...] = (
            (14, self._pub),
            (8, self._mpub),
            (14, self._administer),
            (10, self._stats),
            (3, self._config),
            (4, self._other_http),
            (12, self._tcp_publish),
            (40, self._consume),
            (1, lambda: HangUp(self._random.choice([*self._held] or [""]))),
        )

    def next(self, held: Mapping[str, list[bytes]]) -> Step:
        """The next step.

        Args:
            held: Which messages every connection has, by their bodies.
        """
        self._held = held
        kinds = [make for _, make in self._kinds]
        while True:
            step = self._random.choices(kinds, [weight for weight, _ in self._kinds])[0]()
            if not isinstance(step, HangUp) or step.by in held:
                return step

    # ---------------------------------------------------------------------------------------------------------- pieces

    def _seldom(self, one_in: int = 12) -> bool:
        return self._random.randrange(one_in) == 0

    def _body(self) -> bytes:
        """A body that no other message has."""
        self._count += 1
        body = b"message %d " % self._count
        body += bytes(self._random.choices(b"xyz\r\0\xff<&", k=self._random.choice((0, 0, 9))))
        return body.ljust(self._random.choice((0, 0, 0, 500, MAX_MSG_BYTES)), b"=")

    def _topic(self) -> str:
        return self._random.choice(BAD_NAMES) if self._seldom(20) else self._random.choices(TOPICS, OFTEN)[0]

    def _channel(self) -> str:
        names = ("c", *CHANNELS["A"], *CHANNELS["B"])
        return self._random.choice(BAD_NAMES if self._seldom(20) else names)

    def _query(self, **params: Any) -> str:
        """Parameters in any order, some of them missing, doubled, or damaged."""
        pairs = [f"{name}={_escaped(value)}" for name, value in params.items()]
        if self._seldom():
            pairs.append(self._random.choice(ODD_QUERIES))
        if pairs and self._seldom():
            pairs.remove(self._random.choice(pairs))
        if pairs and self._seldom():
            pairs.append(self._random.choice(pairs).partition("=")[0] + "=t2")
        self._random.shuffle(pairs)
        text = "&".join(pairs)
        return f"?{text}" if text else ""

    def _post(self, target: str, body: bytes) -> Http:
        method = self._random.choice(METHODS) if self._seldom(25) else "POST"
        if body and self._seldom(3):
            cut = self._random.randrange(1, len(body) + 1)
            return Http(Request(method, target, chunks=tuple(each for each in (body[:cut], body[cut:]) if each)))
        return Http(Request(method, target, body))

    # ------------------------------------------------------------------------------------------------------------ HTTP

    def _pub(self) -> Step:
        body = b"" if self._seldom(20) else b"x" * (MAX_MSG_BYTES + 1) if self._seldom(20) else self._body()
        params = {"topic": self._topic()}
        if self._seldom(3):
            params["defer"] = Raw(self._random.choice(DEFERS))
        return self._post("/pub" + self._query(**params), body)

    def _mpub(self) -> Step:
        bodies = [self._body() for _ in range(self._random.randrange(4))]
        if self._seldom(2):
            lines = [body.replace(b"\n", b"") for body in bodies]
            body = b"\n".join(lines) + self._random.choice((b"", b"\n", b"\n\n"))
            if self._seldom(15):
                body += b"y" * self._random.choice((MAX_MSG_BYTES + 1, MAX_BODY_BYTES + 1))
            binary = self._random.choice(({}, {"binary": "false"}, {"binary": "0"}))
        else:
            body = self._damaged(batch(*bodies))[:MAX_BODY_BYTES]  # in chunks nsqd takes more, a node does not
            binary = {"binary": self._random.choice(("true", "1", "", "no", "TRUE"))}
        if self._seldom():
            binary["defer"] = "nonsense"
        return self._post("/mpub" + self._query(topic=self._topic(), **binary), body)

    def _damaged(self, data: bytes) -> bytes:
        """A batch, sometimes cut, lengthened, or with another number in it."""
        damage = self._random.randrange(12)
        if damage == 0:
            return data[: self._random.randrange(len(data) + 1)]
        if damage == 1:
            return data + b"more"
        if damage == 2:
            at = self._random.choice((0, 4)) if len(data) > 4 else 0
            return data[:at] + u32(self._random.choice((0, -1, 1, 7, 1001, MAX_MSG_BYTES + 1))) + data[at + 4 :]
        return data

    def _administer(self) -> Step:
        (path,) = self._random.choices([*ADMINISTRATION], [*ADMINISTRATION.values()])
        params = {"topic": self._topic()}
        if path.startswith("/channel") or self._seldom():
            params["channel"] = self._channel()
        return self._post(path + self._query(**params), b"ignored" if self._seldom() else b"")

    def _stats(self) -> Step:
        params = {"format": self._random.choice(("json", "json", "json", "text", "JSON", ""))}
        booleans = ("true", "false", "1", "0", "", "no")
        for name in ("include_clients", "include_mem"):
            if self._seldom(2):
                params[name] = self._random.choice(booleans)
        if self._seldom(2):
            params["topic"] = self._random.choice((*TOPICS, "unknown", ""))
        if self._seldom(3):
            params["channel"] = self._channel()
        return Http(Request("GET", "/stats" + self._query(**params)))

    def _config(self) -> Step:
        option = self._random.choice(READABLE)
        if self._seldom(3):
            values = (b"", b"info", b"WARN", b"nonsense", b"[]", b"[1]", b'"info"', b"x" * (MAX_MSG_BYTES + 1))
            return Http(Request("PUT", f"/config/{option}", self._random.choice(values)))
        return Http.get(f"/config/{option}" + self._query())

    def _other_http(self) -> Step:
        path = self._random.choice((*ODD_PATHS, "/ping", "/info", "/pub", "/stats", *ADMINISTRATION))
        return Http(Request(self._random.choice(METHODS), path + self._query(topic=self._topic())))

    # ------------------------------------------------------------------------------------------------------------- TCP

    def _tcp_publish(self) -> Step:
        topic, kind = self._topic(), self._random.randrange(4)
        if kind == 0:
            whole = batch(*(self._body() for _ in range(self._random.randrange(1, 4))))
            sent = self._damaged(whole)
            return Tcp("P", b"MPUB %s\n" % topic.encode() + sized(sent), is_last=sent != whole)
        if kind == 1:
            delay = self._random.choice(("0", str(LONG_MS), "3600001", "-1", "x", ""))
            data = f"DPUB {topic} {delay}\n".encode() + sized(self._body())
        else:
            data = f"PUB {topic}\n".encode() + (u32(MAX_MSG_BYTES + 1) if self._seldom(20) else sized(self._body()))
        if self._seldom(30):
            data = b"PUB\n"
        return Tcp("P", data)

    def _consume(self) -> Step:
        name = self._random.choice(("A", "B"))
        if name not in self._held or self._seldom(60):
            return self._subscribe(name)
        held = self._held[name]
        if not held or self._seldom(3):
            return self._ready(name)
        if self._seldom(12):
            return self._wrong(name)
        body = self._random.choice(held)
        kind = self._random.randrange(4)
        if kind == 0:
            return Tcp(name, b"TOUCH {id}\n", body, needs_barrier=True)
        if kind == 1:
            delay = self._random.choice((LONG_MS, 3_600_000, *((0,) if name == "A" else ())))
            return Tcp(name, b"REQ {id} %d\n" % delay, body, needs_barrier=True, settles=True)
        return Tcp(name, b"FIN {id}\n", body, needs_barrier=True, settles=True)

    def _subscribe(self, name: str) -> Step:
        channel = self._random.choice(BAD_NAMES if self._seldom(20) else CHANNELS[name])
        names = f"{self._topic()} {channel}"
        if len(names.split()) > 2:  # the first two of three words may be names of others
            names = "a$ b"
        return Tcp(name, f"SUB {names}\n".encode(), subscribes=True)

    def _ready(self, name: str) -> Step:
        counts = ("0", "200", "200", "200") if name == "A" else ("0", "1", "2", "3")
        count = self._random.choice(("-1", "2501", "x", "")) if self._seldom(40) else self._random.choice(counts)
        return Tcp(name, f"RDY {count}\n".encode(), needs_barrier=True)

    def _wrong(self, name: str) -> Step:
        """An answer for a message that this connection has not, or one that is none."""
        other = "A" if name == "B" else "B"
        if self._held.get(other) and self._seldom(2):
            body = self._random.choice(self._held[other])
            command = self._random.choice((b"FIN {id}\n", b"REQ {id} %d\n" % LONG_MS, b"TOUCH {id}\n"))
            return Tcp(name, command, body, of=other, needs_barrier=True)
        commands = (
            b"FIN 0123456789abcdef\n",
            b"REQ 0123456789abcdef 0\n",
            b"TOUCH 0123456789abcdef\n",
            b"FIN short\n",
            b"FIN\n",
            b"REQ 0123456789abcdef\n",
            b"REQ 0123456789abcdef x\n",
            b"TOUCH\n",
            b"NOP\n",
            b"NONSENSE\n",
            b"CLS\n",
        )
        command = self._random.choice(commands)
        return Tcp(name, command, needs_barrier=command != b"CLS\n")


class Raw(str):
    """A value that is escaped already."""

    __slots__ = ()


def _escaped(value: str) -> str:
    """A value as it stands in a query; what need not be escaped is not."""
    if isinstance(value, Raw):
        return value
    return "".join(each if each in SAFE else _percent(each) for each in value)


def _percent(each: str) -> str:
    return "".join(f"%{byte:02X}" for byte in each.encode())
